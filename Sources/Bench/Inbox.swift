// Bytes that have come and are not read yet.

/// A buffer that is filled behind its rest.
@safe
struct Inbox: ~Copyable {
    /// Data of a READ that have come are only passed over, so they need no more room than a processor's cache has. All
    /// that a session waits for as a whole is shorter.
    static let capacity = 256 << 10

    private let buffer: UnsafeMutableRawBufferPointer
    private(set) var byteCount = 0

    init() {
        unsafe buffer = .allocate(byteCount: Self.capacity, alignment: 4096)
    }

    deinit {
        unsafe buffer.deallocate()
    }

    /// Receives what there is.
    ///
    /// - Returns: how many bytes; 0 when there are none yet.
    mutating func receive(from link: inout Link, waits: Bool) throws(BenchError) -> Int {
        let count = try unsafe link.receive(into: .init(rebasing: buffer[byteCount...]), waits: waits)
        byteCount += count
        return count
    }

    /// Receives at least one byte.
    mutating func receiveMore(from link: inout Link) throws(BenchError) {
        for _ in 0..<10 where try receive(from: &link, waits: true) > 0 { return }
        throw .silent(seconds: 10 * Link.patienceSeconds)
    }

    /// Where the bytes begin, as long as nothing is received or dropped.
    var start: UnsafeRawPointer { unsafe UnsafeRawPointer(buffer.baseAddress!) }

    /// So many bytes were read; the rest moves to the beginning.
    mutating func drop(_ count: Int) {
        let left = byteCount - count
        if count > 0, left > 0 {
            unsafe buffer.baseAddress!.copyMemory(from: buffer.baseAddress! + count, byteCount: left)
        }
        byteCount = left
    }
}
