// Waiting for an event, with a limit.

import Foundation

/// Waits until something is so; `what` says what was waited for in vain.
public func waitUntil(
    _ what: @autoclosure () -> String, limitSeconds: Double = 20, _ condition: () throws -> Bool
) throws {
    let deadline = Date(timeIntervalSinceNow: limitSeconds)
    while try !condition() {
        guard Date() < deadline else { throw ProgramFailure("waited in vain until \(what())") }
        usleep(2000)
    }
}

/// Somebody listens on the Unix socket with this path, as far as the kernel shows (proc_net(5)). Its file alone is there
/// between bind(2) and listen(2), too.
public func isListening(_ path: String) -> Bool {
    // Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON is a flag.
    let sockets = (try? String(contentsOfFile: "/proc/net/unix", encoding: .utf8)) ?? ""
    return sockets.split(separator: "\n").contains {
        let fields = $0.split(separator: " ", maxSplits: 7)
        return fields.count == 8 && fields[3] == "00010000" && fields[7] == path
    }
}
