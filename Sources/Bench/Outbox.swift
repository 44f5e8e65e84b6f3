// Requests that have not been sent yet, as sendmsg(2) takes them.

import Glibc
import NBD

/// A queue of headers and payloads. Headers that follow each other are one piece; payloads stay where they are.
@safe
struct Outbox: ~Copyable {
    static let headerBytes = MessageStyle.simple.requestHeaderBytes

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
        vectorCapacity = requestCapacity * 2
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
        headerTail + Self.headerBytes <= headerCapacity && tail + 2 <= vectorCapacity
    }

    /// Appends a request's header, for which there must be room.
    mutating func append(_ request: PlannedRequest, _ cookie: Cookie) {
        precondition(hasRoom, "who appends looks for room before")
        let header = unsafe headers + headerTail
        headerTail += Self.headerBytes
        // Inside the area, as `hasRoom` says; none of the fields is aligned.
        unsafe header.storeBytes(of: Magic.request.bigEndian, as: UInt32.self)
        unsafe header.storeBytes(of: UInt32(request.command.rawValue).bigEndian, toByteOffset: 4, as: UInt32.self)
        unsafe header.storeBytes(of: cookie.rawValue.bigEndian, toByteOffset: 8, as: UInt64.self)
        unsafe header.storeBytes(of: request.offsetBytes.bigEndian, toByteOffset: 16, as: UInt64.self)
        unsafe header.storeBytes(of: request.lengthBytes.bigEndian, toByteOffset: 24, as: UInt32.self)
        if tail > head, unsafe vectors[tail - 1].iov_base + vectors[tail - 1].iov_len == header {
            unsafe vectors[tail - 1].iov_len += Self.headerBytes
        } else {
            unsafe appendVector(header, Self.headerBytes)
        }
    }

    /// Appends the payload of the request whose header was appended last. It has to stay as it is until it is sent.
    mutating func appendPayload(_ payload: UnsafeRawBufferPointer) {
        guard let start = payload.baseAddress else { return }
        unsafe appendVector(UnsafeMutableRawPointer(mutating: start), payload.count)
    }

    private mutating func appendVector(_ start: UnsafeMutableRawPointer, _ count: Int) {
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
