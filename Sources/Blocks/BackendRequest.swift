// The request to a backend in the end: bytes of an image.

/// The operations of a backend on a range of its bytes.
public enum BackendOperation: Equatable, Sendable {
    /// Fill the buffer from the image; beyond the end of a file there are zeroes.
    case read
    /// Store the buffer.
    case write
    /// Store zeroes. With `mayDeallocate` the space may be given back, without it the range stays or becomes allocated.
    case writeZeroes(mayDeallocate: Bool)
    /// Make what was written stable; the range is empty.
    case flush
    /// Give back the space of the range.
    case discard
    /// Bring the range into the cache.
    case prefetch
    /// Find the extent that begins where the range does. A stack ends it with ``BlockStep/found(_:)``; the loop asks a
    /// backend's `extent`, since that may have to wait in a call.
    case lookUp
}

/// Where the data of a read or a write are.
public enum DataPlace: Equatable, Sendable {
    /// In the buffer of the drive's request.
    case request
    /// In the memory of the write cache (``BlockStack/memory(of:)``).
    case writeCache
    /// In the memory of the image's format.
    case tables
    /// In the buffer of the recording.
    case recording
}

/// Work for a backend, or for the next layer above it. Offsets and lengths are in bytes, and multiples of the unit's
/// logical block.
public struct BackendRequest: Equatable, Sendable {
    /// The operation that is done.
    public var operation: BackendOperation
    /// The first byte of the image.
    public var offset: UInt64
    /// How many there are.
    public var length: UInt64
    /// Which file of an image: 0, or so many behind it in its chain of backing files. An overlay's own is in front of
    /// all of them.
    public var file: UInt8 = 0
    /// The recording's file, which is in no chain.
    public static let recordingFile = UInt8.max
    /// Where the request's data are.
    public var dataPlace: DataPlace
    /// Where in that place they begin.
    public var dataOffset: UInt64

    /// Describes work; nothing happens yet.
    @inlinable
    public init(
        _ operation: BackendOperation, offset: UInt64 = 0, length: UInt64 = 0, dataPlace: DataPlace = .request,
        dataOffset: UInt64 = 0
    ) {
        self.operation = operation
        self.offset = offset
        self.length = length
        self.dataPlace = dataPlace
        self.dataOffset = dataOffset
    }

    /// A unit's wish, in bytes of its image.
    ///
    /// - Parameters:
    ///   - blockSize: the unit's.
    ///   - dataOffset: where the data of a read or a write begin.
    @inlinable
    public init(_ request: BlockRequest, blockSize: BlockSize, dataOffset: UInt64) {
        switch request {
        case .read(let lba, let count): self.init(.read, lba, count, blockSize, dataOffset)
        case .write(let lba, let count): self.init(.write, lba, count, blockSize, dataOffset)
        case .flush: self.init(.flush)
        case .discard(let lba, let count): self.init(.discard, lba, count, blockSize, 0)
        case .zeroes(let lba, let count, let mayDeallocate):
            self.init(.writeZeroes(mayDeallocate: mayDeallocate), lba, count, blockSize, 0)
        case .prefetch(let lba, let count): self.init(.prefetch, lba, count, blockSize, 0)
        }
    }

    @inlinable
    init(
        _ operation: BackendOperation, _ lba: UInt64, _ count: UInt32, _ blockSize: BlockSize, _ dataOffset: UInt64
    ) {
        self.init(
            operation, offset: blockSize.bytes(ofBlocks: lba), length: blockSize.bytes(ofBlocks: UInt64(count)),
            dataOffset: dataOffset)
    }

    /// The part that begins `start` bytes further on and has `count` bytes.
    func part(from start: UInt64, count: UInt64) -> BackendRequest {
        var part = self
        part.offset += start
        part.length = count
        part.dataOffset += start
        return part
    }
}
