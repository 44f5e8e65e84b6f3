// A socket whose every wait has an end: recv(2), send(2) and poll(2) with a deadline.

import Glibc

/// A point in time (CLOCK_MONOTONIC).
struct Deadline {
    private let milliseconds: Int

    init(seconds: Int) {
        milliseconds = Self.now + seconds * 1000
    }

    /// The time for poll(2); 0 when it has passed.
    var remainingMilliseconds: Int32 { Int32(max(0, min(milliseconds - Self.now, Int(Int32.max)))) }

    private static var now: Int {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}

/// A connected stream socket that never keeps its thread longer than a deadline.
struct TimedSocket {
    private static let chunkBytes = 4096

    let descriptor: Int32

    /// The result of waiting for bytes.
    enum Received {
        case bytes([UInt8])
        /// There will be no more: the peer has ended its direction, or the connection failed.
        case end
        case timeout
    }

    /// Waits for bytes.
    func receive(before deadline: Deadline) -> Received {
        var bytes = [UInt8](repeating: 0, count: Self.chunkBytes)
        while wait(for: POLLIN, before: deadline) {
            let count = unsafe recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count > 0 { return .bytes(Array(bytes.prefix(count))) }
            if count == 0 || errno != EAGAIN && errno != EINTR { return .end }
        }
        return .timeout
    }

    /// Sends bytes.
    ///
    /// - Returns: false when the peer is gone or did not take them all in time.
    @discardableResult
    func send(_ bytes: [UInt8], before deadline: Deadline) -> Bool {
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, flags)
            }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno != EAGAIN && errno != EINTR || !wait(for: POLLOUT, before: deadline) {
                return false
            }
        }
        return true
    }

    private func wait(for events: Int32, before deadline: Deadline) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while true {
            let count = unsafe poll(&entry, 1, deadline.remainingMilliseconds)
            if count >= 0 || errno != EINTR { return count > 0 }
        }
    }
}
