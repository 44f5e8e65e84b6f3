// A user's check of an overlay: a command of the shell, whose exit status is the verdict.

import Glibc

/// A command that gets the path of an overlay as `$1`, and ends with 0 if all is well there.
public struct OverlayCheck {
    /// The command.
    let command: String

    /// A check.
    public init(_ command: String) {
        self.command = command
    }

    /// Runs it. What it prints goes to standard error, for reports are on standard output.
    ///
    /// - Returns: whether it found nothing wrong.
    func isPassed(_ overlay: String) throws(RecordingsError) -> Bool {
        let arguments = ["sh", "-c", command, "sh", overlay]
        var pointers: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { unsafe pointers.forEach { unsafe free($0) } }
        var process: pid_t = 0
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)
        let code = unsafe posix_spawn(&process, "/bin/sh", &actions, nil, &pointers, environ)
        guard code == 0 else { throw RecordingsError("start", "/bin/sh", errno: code) }
        var status: Int32 = 0
        while unsafe waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw RecordingsError("wait for", command, errno: errno) }
        }
        // As <sys/wait.h> has WIFSIGNALED, WTERMSIG and WEXITSTATUS.
        let signal = status & 0x7F
        guard signal == 0 else { throw RecordingsError("the check was ended by signal \(signal)") }
        switch status >> 8 & 0xFF {
        case 0: return true
        case 126, 127: throw RecordingsError("the check could not be run: '\(command)'")
        default: return false
        }
    }
}
