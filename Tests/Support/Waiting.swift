// Waiting for an event, with a limit.

import Foundation

/// Waits until something is so; `what` says what was waited for in vain.
public func waitUntil(
    _ what: @autoclosure () -> String, limitSeconds: Double = 60, _ condition: () throws -> Bool
) throws {
    let deadline = Date(timeIntervalSinceNow: limitSeconds)
    while try !condition() {
        guard Date() < deadline else { throw ProgramFailure("waited in vain until \(what())") }
        usleep(2000)
    }
}

/// A process has ended, whether or not its parent has asked how: the first process of a container may never ask.
public func hasEnded(_ process: Int32) -> Bool {
    let state = processState("/proc/\(process)/stat")
    return state == nil || state == "Z" || state == "X"
}

/// A process has been stopped by a signal.
func isStopped(_ process: Int32) -> Bool { processState("/proc/\(process)/stat") == "T" }

/// A thread waits in the kernel for something that no signal ends; `thread` is its path in /proc.
public func waitsUninterruptibly(thread: String) -> Bool { processState("/proc/\(thread)/stat") == "D" }

/// The third field of a process or thread (proc_pid_stat(5)).
private func processState(_ path: String) -> Character? {
    guard let line = kernelFile(path) else { return nil }
    // The second field, the program's name, ends with the last parenthesis.
    return line[(line.lastIndex(of: ")") ?? line.startIndex)...].dropFirst(2).first
}

/// Somebody listens on the Unix socket with this path, as far as the kernel shows (proc_net(5)). Its file alone is
/// there between bind(2) and listen(2), too.
public func isListening(_ path: String) -> Bool {
    // Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON is a flag.
    let sockets = kernelFile("/proc/net/unix") ?? ""
    return sockets.split(separator: "\n").contains {
        let fields = $0.split(separator: " ", maxSplits: 7)
        return fields.count == 8 && fields[3] == "00010000" && fields[7] == path
    }
}
