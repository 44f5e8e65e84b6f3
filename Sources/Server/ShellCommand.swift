// A command for whose life a server serves: `--run`, sh(1), posix_spawn(3).

import Glibc
import IOUring

/// A command of the shell for whose life a server serves. The shell begins with this value, so that it has all rights
/// that the server may give up; the command begins with ``begin()``, and not at all if the server ends before.
public struct ShellCommand: Sendable {
    /// The shell, which may become the command.
    public let process: pid_t
    /// Where it waits for a line.
    private let gate: Int32
    /// The highest descriptor that every shell can name.
    private static let gateDescriptor: Int32 = 9

    /// Starts the shell, with the standard streams of this process.
    ///
    /// - Parameter variables: what is different in its environment from that of this process; nil for what is not
    ///   there.
    public init(_ text: String, variables: [String: String?]) throws(ServerError) {
        var ends: [Int32] = [0, 0]
        guard unsafe pipe(&ends) == 0 else { throw .command(reason: errorText(errno)) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let waiting =
            "read -r spindle <&\(Self.gateDescriptor) || exit; unset spindle; exec \(Self.gateDescriptor)<&-; "
        do throws(ServerError) {
            process = try Self.spawn(waiting + text, variables, gate: ends[0])
        } catch {
            close(ends[1])
            throw error
        }
        gate = ends[1]
    }

    private static func spawn(
        _ text: String, _ variables: [String: String?], gate: Int32
    ) throws(ServerError) -> pid_t {
        var process: pid_t = 0
        let arguments = CStrings(["sh", "-c", text])
        let environment = CStrings(environmentEntries(variables))
        // The command does not inherit the signals that this process blocks or ignores.
        var (none, usual) = (SignalSet().set, SignalSet([SIGPIPE, SIGXFSZ]).set)
        var attributes = posix_spawnattr_t()
        var actions = unsafe posix_spawn_file_actions_t()
        let code = {
            unsafe posix_spawnattr_init(&attributes)
            defer { unsafe posix_spawnattr_destroy(&attributes) }
            unsafe posix_spawnattr_setsigmask(&attributes, &none)
            unsafe posix_spawnattr_setsigdefault(&attributes, &usual)
            unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
            unsafe posix_spawn_file_actions_init(&actions)
            defer { unsafe posix_spawn_file_actions_destroy(&actions) }
            unsafe posix_spawn_file_actions_adddup2(&actions, gate, gateDescriptor)
            return unsafe posix_spawn(
                &process, "/bin/sh", &actions, &attributes, arguments.pointers, environment.pointers)
        }()
        guard code == 0 else { throw .command(reason: "cannot start /bin/sh: \(errorText(code))") }
        return process
    }

    /// The environment of this process, but for what its service manager has told it alone.
    private static func environmentEntries(_ variables: [String: String?]) -> [String] {
        let replaced = Set(variables.keys).union(["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"])
        var entries = variables.compactMap { name, value in value.map { "\(name)=\($0)" } }
        var next = unsafe environ
        while let text = unsafe next.pointee.map({ unsafe String(cString: $0) }) {
            if !replaced.contains(String(text.prefix { $0 != "=" })) { entries.append(text) }
            unsafe next += 1
        }
        return entries
    }

    /// Lets the command begin.
    func begin() {
        _ = unsafe write(gate, "\n", 1)
        close(gate)
    }

    /// Sends it a signal.
    func signal(_ number: Int32) {
        kill(process, number)
    }

    /// Its exit status once it has ended, 128 and its number for a signal; nil before, and when that was asked before.
    func status() -> Int32? {
        var status: Int32 = 0
        guard unsafe waitpid(process, &status, WNOHANG) == process else { return nil }
        // As <sys/wait.h> has WIFSIGNALED, WTERMSIG and WEXITSTATUS.
        let signal = status & 0x7F
        return signal == 0 ? status >> 8 & 0xFF : 128 + signal
    }
}

/// Copies of texts for C, with nil at their end: argv and environ (execve(2)).
@safe
private struct CStrings: ~Copyable {
    /// To be used for no longer than this value.
    let pointers: [UnsafeMutablePointer<CChar>?]

    init(_ texts: [String]) {
        unsafe pointers = texts.map { unsafe strdup($0) } + [nil]
    }

    deinit {
        unsafe pointers.forEach { unsafe free($0) }
    }
}
