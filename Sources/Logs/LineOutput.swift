// Lines into a descriptor: each with one write(2), none waited for for long.

import Glibc

/// The end of a log.
///
/// Nothing is buffered, so nothing is lost at the end of the program. A reader that does not read (a full pipe, a
/// stopped terminal) must not stop the drives: the first line that has no room waits for a moment, the next ones do not
/// wait, and when there is room again, the log says how many were lost.
struct LineOutput: ~Copyable {
    /// How long a line waits for room. A reader that is alive has made some by then.
    static let patienceMilliseconds = 50

    let descriptor: Int32
    /// Lines that were lost since the last one that was written.
    var lostLines = 0
    /// The last line was written in part.
    private var isInLine = false

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Writes a line.
    ///
    /// - Parameter milliseconds: how long it may wait for room.
    /// - Returns: false if the line, or a part of it, was lost.
    mutating func write(_ line: [UInt8], waiting milliseconds: Int) -> Bool {
        let deadline = monotonicMilliseconds() + milliseconds
        var rest = (isInLine ? [UInt8(ascii: "\n")] + line : line)[...]
        while !rest.isEmpty {
            // A descriptor that blocks is asked first. Others that write to the same pipe can take the room meanwhile,
            // but no other thread of this process can.
            guard hasRoom(until: deadline) else { return false }
            let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
                if count > 0 { isInLine = !rest.isEmpty }
            } else if errno != EINTR && errno != EAGAIN {
                return false
            } else if monotonicMilliseconds() >= deadline {
                return false
            }
        }
        return true
    }

    private func hasRoom(until deadline: Int) -> Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while true {
            let left = max(0, deadline - monotonicMilliseconds())
            let count = unsafe poll(&request, 1, Int32(left))
            // An error, too, is something that the write will tell.
            if count > 0 { return true }
            guard count < 0, errno == EINTR, left > 0 else { return false }
        }
    }
}
