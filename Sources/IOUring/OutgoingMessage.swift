// The gathered bytes of one send: headers and data by turns, from where they are. sendmsg(2).

import CLibURing
import Glibc

/// The parts of a message, and what is left of it to be sent. The bytes stay where they are until then.
@safe
public struct OutgoingMessage: ~Copyable {
    /// The most parts of one send.
    public static var capacity: Int { 256 }

    @usableFromInline var vectors = unsafe FixedList<iovec>(capacity: 256)
    /// The first part that is left.
    private var first = 0
    @usableFromInline var bytesLeft = 0

    /// An empty message.
    public init() {}

    /// How many bytes are left.
    @inlinable public var byteCount: Int { bytesLeft }

    /// Begins a message, and forgets the rest of the last one.
    public mutating func clear() {
        first = 0
        unsafe vectors.removeAll()
        bytesLeft = 0
    }

    /// So many more parts fit in.
    @inlinable public func hasRoom(for parts: Int) -> Bool { unsafe vectors.count + parts <= Self.capacity }

    /// Adds bytes.
    @inlinable public mutating func append(_ bytes: MemoryRange) {
        unsafe vectors.append(iovec(iov_base: bytes.start, iov_len: bytes.count))
        bytesLeft += bytes.count
    }

    /// The first bytes have been sent: the message is what is left.
    public mutating func skip(_ count: Int) {
        precondition(count >= 0 && count <= bytesLeft, "no more is sent than there is")
        bytesLeft -= count
        var skipped = count
        while unsafe first < vectors.count, self[first].count <= skipped {
            skipped -= self[first].count
            first += 1
        }
        guard skipped > 0 else { return }
        let rest = self[first].dropFirst(skipped)
        unsafe vectors[first] = iovec(iov_base: rest.start, iov_len: rest.count)
    }

    /// Sends as much as the socket takes at once, of which ``skip(_:)`` is not told. SIGPIPE is not raised.
    ///
    /// - Returns: of sendmsg(2).
    public func sendNow(to socket: Int32) -> Int {
        var message = unsafe msghdr()
        unsafe message.msg_iov = vectors.base + first
        unsafe message.msg_iovlen = vectors.count - first
        return unsafe sendmsg(socket, &message, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }

    /// Has the ring send it.
    public mutating func submit(to socket: Int32, ring: inout Ring, userData: UInt64) {
        unsafe ring.send(socket, vectors.base + first, count: vectors.count - first, userData: userData)
    }

    /// The parts that are left, by number.
    public var parts: Range<Int> { unsafe first..<vectors.count }

    /// The bytes of a part.
    public subscript(part: Int) -> MemoryRange {
        precondition(part >= first, "the part has been sent")
        return unsafe MemoryRange(vectors[part].iov_base, count: vectors[part].iov_len)
    }
}
