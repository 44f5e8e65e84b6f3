// One operation on a medium while it is under way.

/// What a medium is asked to do. Offsets and lengths are in bytes and multiples of a sector.
public enum MediumRequest: Equatable, Sendable {
    /// Fill the buffer from the medium; what lies beyond the end of a file reads as zeroes.
    case read
    /// Store the buffer.
    case write
    /// Store zeroes. With `mayDeallocate` the space may be given back, without it the range stays or becomes allocated.
    case writeZeroes(mayDeallocate: Bool)
    /// Make what was written stable.
    case flush
    /// Give back the space of the range.
    case discard
    /// Bring the range into the cache.
    case prefetch
}

/// A ``MediumRequest`` under way: it is kept by whoever started it until it is finished, and so is its buffer.
@safe
public struct MediumTask {
    /// What is asked.
    public let request: MediumRequest
    /// Where the part that is still to be done begins.
    public internal(set) var offset: UInt64
    /// How many bytes are still to be done.
    var remaining: UInt64
    /// Where the next byte of a read or write goes to or comes from.
    var buffer: UnsafeMutableRawPointer?
    /// How much of it is done: of a read or a write that has failed, what lies before the error.
    public private(set) var doneBytes: UInt64 = 0
    /// The most that the next operation reads: less than all while the place of an error is looked for.
    var pieceBytes = UInt64.max
    /// A file system without the wanted fallocate(2) mode gets plain writes of zeroes.
    var writesZeroesByHand = false

    /// How many bytes are still to be written; nil of what is no write.
    public var bytesToWrite: UInt64? { request == .write ? remaining : nil }

    /// Describes an operation; nothing happens yet.
    public init(_ request: MediumRequest, offset: UInt64, length: UInt64, buffer: UnsafeMutableRawPointer?) {
        self.request = request
        self.offset = offset
        remaining = length
        unsafe self.buffer = unsafe buffer
    }

    /// The first `count` bytes of what is left are done.
    mutating func advance(_ count: UInt64) {
        offset += count
        remaining -= count
        doneBytes += count
        if let start = unsafe buffer { unsafe buffer = start + Int(count) }
    }
}

/// How far a ``MediumTask`` has come.
public enum MediumProgress: Equatable, Sendable {
    /// An operation is with the kernel; its completion has to be given to ``Medium/resume(_:result:ring:userData:)``.
    case pending
    /// All is done.
    case finished
    /// The medium failed with this errno.
    case failed(Int32)
}
