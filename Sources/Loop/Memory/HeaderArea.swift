// Memory for the headers of replies.

import IOUring
import Replies

/// Room for the headers of each request's reply, which stay there until they are sent.
struct HeaderArea: ~Copyable {
    private static let headerBytes = ReplyLayout.headerAreaBytes

    private let memory: MappedRegion

    /// Maps memory for so many requests: unused pages cost nothing.
    init(capacity: Int) throws(RingError) {
        memory = try MappedRegion(byteCount: capacity * Self.headerBytes)
    }

    /// The room of one request.
    func bytes(of place: RequestPlace) -> MemoryRange {
        unsafe memory[place.number * Self.headerBytes..<(place.number + 1) * Self.headerBytes]
    }

    /// Gives the memory of requests that are free back to the system.
    func trim(_ first: RequestPlace, count: Int) {
        memory.trim(first.number * Self.headerBytes..<(first.number + count) * Self.headerBytes)
    }
}
