// Pages on their way from a file into a socket, or from a socket towards a file, without being copied: splice(2),
// pipe(7).

import CLibURing
import Glibc

/// A pipe through which pages of the page cache go into sockets, and what sockets have received goes to files: it holds
/// references to pages, not bytes.
///
/// A socket shares bytes taken this way with the file until its reader has them: a write to the file in the meantime
/// shows.
public struct PagePipe: ~Copyable {
    private let readEnd: Int32
    private let writeEnd: Int32
    /// Where what a socket does not take goes.
    private let nothing: Int32
    /// Bytes in it.
    public private(set) var byteCount = 0

    /// As much as an unprivileged process may have (`pipe-max-size`).
    public static let largestBytes: Int32 = 1 << 20

    /// Why no more bytes have gone into a socket.
    public enum End: Equatable, Sendable {
        /// All have.
        case done
        /// The socket has no more room now.
        case full
        /// This kind of socket cannot do it.
        case unable
        /// The socket is of no more use; the errno.
        case lost(Int32)
    }

    /// How far bytes have been added.
    public enum Filling: Equatable, Sendable {
        /// All have.
        case complete
        /// The pipe has no more room.
        case full
        /// The file ends, or its medium fails.
        case missing
    }

    /// Makes a pipe with a page for each 4 KiB of `byteCount`, or the smaller one that the system grants.
    public init(byteCount: Int32 = largestBytes) throws(RingError) {
        var ends: (Int32, Int32) = (-1, -1)
        let result = unsafe withUnsafeMutableBytes(of: &ends) {
            unsafe pipe2($0.baseAddress?.assumingMemoryBound(to: Int32.self), O_CLOEXEC | O_NONBLOCK)
        }
        guard result == 0 else { throw .descriptor(errno: errno) }
        let nothing = unsafe open("/dev/null", O_WRONLY | O_CLOEXEC)
        guard nothing >= 0 else {
            let code = errno
            close(ends.0)
            close(ends.1)
            throw .descriptor(errno: code)
        }
        (readEnd, writeEnd) = ends
        self.nothing = nothing
        // A smaller one does it, too, in more steps.
        _ = fcntl(writeEnd, Int32(LINUX_F_SETPIPE_SZ), byteCount)
    }

    deinit {
        close(readEnd)
        close(writeEnd)
        close(nothing)
    }

    /// Adds bytes of a file, without copying them where they are in its page cache. For others the call waits.
    ///
    /// - Parameters:
    ///   - offset: where they begin, in bytes.
    ///   - count: how many, above zero.
    public mutating func add(_ file: Int32, offset: UInt64, count: Int) -> Filling {
        var offset = off_t(clamping: offset)
        var left = count
        while left > 0 {
            let added = unsafe Self.move(file, &offset, to: writeEnd, left)
            guard added > 0 else { return added < 0 && errno == EAGAIN ? .full : .missing }
            left -= added
            byteCount += added
        }
        return .complete
    }

    /// Adds a copy of bytes, as far as there is room.
    public mutating func add(_ bytes: MemoryRange) -> Filling {
        let added = max(0, unsafe Glibc.write(writeEnd, bytes.start, bytes.count))
        byteCount += added
        return added == bytes.count ? .complete : .full
    }

    /// Sends the pipe's content. Bytes that the socket does not take are forgotten.
    ///
    /// SIGPIPE has to be ignored. The socket, which blocks otherwise, does not for as long as this takes: splice(2)
    /// tells it nothing of a flag of its own. (It cannot be so for ever: a ring that has a thread wait for a socket, as
    /// it does for a send to a client that sends no more, takes EAGAIN for an answer.)
    ///
    /// - Returns: how many bytes the socket has taken, and why not more.
    public mutating func send(to socket: Int32) -> (sentBytes: Int, end: End) {
        _ = fcntl(socket, F_SETFL, O_NONBLOCK)
        defer { _ = fcntl(socket, F_SETFL, 0) }
        let total = byteCount
        while byteCount > 0 {
            let moved = unsafe Self.move(readEnd, nil, to: socket, byteCount)
            guard moved > 0 else {
                let code = moved < 0 ? errno : EPIPE
                let sent = total - byteCount
                empty()
                switch code {
                case EAGAIN: return (sent, .full)
                case EINVAL, EOPNOTSUPP: return (sent, .unable)
                default: return (sent, .lost(code))
                }
            }
            byteCount -= moved
        }
        return (total, .done)
    }

    /// Adds bytes that a socket has received, without copying them: no more than are there, or the call waits
    /// (``LinuxFile/receivedBytes(_:)``).
    ///
    /// - Returns: how many it was: fewer where the pipe is full.
    public mutating func add(socket: Int32, count: Int) -> Int {
        let added = max(0, unsafe Self.move(socket, nil, to: writeEnd, count))
        byteCount += added
        return added
    }

    /// Writes what is first in the pipe to a file, waiting for it.
    ///
    /// - Returns: how many bytes it was, or a negative errno.
    public mutating func write(to file: Int32, offset: UInt64, count: Int) -> Int {
        var offset = off_t(clamping: offset)
        let written = unsafe splice(readEnd, nil, file, &offset, count, UInt32(LINUX_SPLICE_F_NONBLOCK))
        guard written >= 0 else { return -Int(errno) }
        byteCount -= written
        return written
    }

    /// Takes all that is in the pipe out of it, to where there is room for it.
    public mutating func empty(into target: MemoryRange) {
        precondition(byteCount <= target.count, "there is room for what is in the pipe")
        guard let start = unsafe target.start else { return }
        var taken = 0
        while byteCount > 0 {
            let count = unsafe read(readEnd, start + taken, byteCount)
            if count < 0 && errno == EINTR { continue }
            precondition(count > 0, "a pipe gives what is in it")
            taken += count
            byteCount -= count
        }
    }

    /// Forgets what is in the pipe.
    public mutating func empty() {
        while byteCount > 0 {
            let moved = unsafe Self.move(readEnd, nil, to: nothing, byteCount)
            precondition(moved > 0, "a pipe gives what is in it")
            byteCount -= moved
        }
    }

    /// splice(2), which does not wait for the pipe.
    private static func move(
        _ source: Int32, _ offset: UnsafeMutablePointer<off_t>?, to target: Int32, _ count: Int
    ) -> Int {
        while true {
            let moved = unsafe splice(source, offset, target, nil, count, UInt32(LINUX_SPLICE_F_NONBLOCK))
            guard moved < 0 && errno == EINTR else { return moved }
        }
    }
}
