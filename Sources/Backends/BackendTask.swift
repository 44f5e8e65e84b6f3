// One operation on a backend while it is under way.

import Blocks
import Glibc
import IOUring

/// A ``BackendOperation`` under way: its starter keeps it until it is finished, and so its buffer.
@safe
public struct BackendTask {
    /// The operation that is done.
    public let operation: BackendOperation
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
    /// A file system without the wanted fallocate(2) mode gets plain writes of zeroes. So do the ends of a range that
    /// are no whole pages.
    var writesZeroesByHand = false
    /// The range that fallocate(2) has filled with zeroes.
    var allocatedZeroes: Range<UInt64> = 0..<0
    /// Zeroes are to be stored without writing them, or not at all.
    public var hasToBeFast = false
    /// That was not possible: nothing has been done.
    public internal(set) var wasTooSlow = false

    /// How many bytes are still to be written; nil of what is no write.
    public var bytesToWrite: UInt64? { operation == .write ? remaining : nil }

    /// Describes an operation; nothing happens yet.
    public init(_ operation: BackendOperation, offset: UInt64, length: UInt64, buffer: UnsafeMutableRawPointer?) {
        self.operation = operation
        self.offset = offset
        remaining = length
        unsafe self.buffer = unsafe buffer
    }

    /// Describes a read or write of these bytes, which somebody keeps until it is finished.
    public init(_ operation: BackendOperation, offset: UInt64, data: MemoryRange) {
        unsafe self.init(operation, offset: offset, length: UInt64(data.count), buffer: data.start)
    }

    /// Describes an operation without data.
    public init(_ request: BackendOperation, offset: UInt64, length: UInt64) {
        unsafe self.init(request, offset: offset, length: length, buffer: nil)
    }

    /// The first `count` bytes of what is left are done.
    mutating func advance(_ count: UInt64) {
        offset += count
        remaining -= count
        doneBytes += count
        if let start = unsafe buffer { unsafe buffer = start + Int(count) }
    }
}

/// How far a ``BackendTask`` has come.
public enum BackendProgress: Equatable, Sendable {
    /// An operation is with the kernel; its completion has to be given to ``Backend/resume(_:result:ring:userData:)``.
    case pending
    /// All is done.
    case finished
    /// The backend failed with this errno.
    case failed(Int32)
}

extension BlockFailure {
    /// An errno as the drive sees it.
    public init(errno code: Int32, of operation: BackendOperation) {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: self = .noSpace
        // A flush that fails with these has lost what had been written before.
        case EROFS where operation != .flush, EPERM where operation != .flush, EACCES where operation != .flush:
            self = .writeProtected
        default: self = .unrecovered
        }
    }
}
