// Requests that have not been sent yet, as sendmsg(2) takes them.

import Glibc

/// A queue of headers and payloads. Headers that follow each other are one piece; payloads stay where they are.
@safe
struct Outbox: ~Copyable {
    /// The longest header: a basic header segment of iSCSI, its digest, and the padding and digest behind its data.
    static let headerBytes = 64

    private let headers: UnsafeMutableRawPointer
    private let headerCapacity: Int
    private var headerTail = 0
    private let vectors: UnsafeMutablePointer<iovec>
    private let vectorCapacity: Int
    private var head = 0
    private var tail = 0

    /// A queue for so many requests.
    init(requestCapacity: Int) {
        headerCapacity = requestCapacity * Self.headerBytes
        // Header, payload, and what stands behind the payload.
        vectorCapacity = requestCapacity * 3
        unsafe headers = UnsafeMutableRawPointer.allocate(byteCount: headerCapacity, alignment: 64)
        unsafe vectors = UnsafeMutablePointer<iovec>.allocate(capacity: vectorCapacity)
    }

    deinit {
        unsafe headers.deallocate()
        unsafe vectors.deallocate()
    }

    var isEmpty: Bool { head == tail }

    /// Another request fits. Room comes back when all has been sent.
    var hasRoom: Bool {
        headerTail + Self.headerBytes <= headerCapacity && tail + 3 <= vectorCapacity
    }

    /// Appends a header of so many bytes, at most ``headerBytes`` for each request, for which there must be room.
    mutating func appendHeader(_ byteCount: Int, encode: (inout MutableRawSpan) -> Void) {
        precondition(headerTail + byteCount <= headerCapacity, "who appends looks for room before")
        let header = unsafe headers + headerTail
        headerTail += byteCount
        if tail > head, unsafe vectors[tail - 1].iov_base + vectors[tail - 1].iov_len == header {
            unsafe vectors[tail - 1].iov_len += byteCount
        } else {
            unsafe appendVector(header, byteCount)
        }
        // Inside the area, which lives as long as the queue.
        var span = unsafe MutableRawSpan(_unsafeStart: header, byteCount: byteCount)
        encode(&span)
    }

    /// Appends the payload of the request whose header was appended last. It has to stay as it is until it is sent.
    mutating func appendPayload(_ payload: UnsafeRawBufferPointer) {
        guard let start = payload.baseAddress else { return }
        unsafe appendVector(UnsafeMutableRawPointer(mutating: start), payload.count)
    }

    private mutating func appendVector(_ start: UnsafeMutableRawPointer, _ count: Int) {
        precondition(tail < vectorCapacity, "who appends looks for room before")
        unsafe vectors[tail] = iovec(iov_base: start, iov_len: count)
        tail += 1
    }

    /// The next bytes to be sent, as far as one call takes them.
    var pending: UnsafeMutableBufferPointer<iovec> {
        // IOV_MAX
        unsafe UnsafeMutableBufferPointer(start: vectors + head, count: min(tail - head, 1024))
    }

    /// So many bytes of it have been sent.
    mutating func consume(_ byteCount: Int) {
        var left = byteCount
        while head < tail, unsafe vectors[head].iov_len <= left {
            left -= unsafe vectors[head].iov_len
            head += 1
        }
        if left > 0 {
            precondition(head < tail, "no more can be sent than there is")
            unsafe vectors[head].iov_base += left
            unsafe vectors[head].iov_len -= left
        }
        if head == tail {
            head = 0
            tail = 0
            headerTail = 0
        }
    }
}
