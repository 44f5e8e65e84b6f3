// Bringing an overlay's changes into its image: the image is written and stable before the overlay forgets anything.

import Blocks
import Glibc
import IOUring

/// The image below an overlay, as it was named.
public struct OverlayBase: Sendable {
    let base: ImageChain.Base
    let cache: CacheMode
    let locking: ImageLocking
    /// How many files it has, the backing files among them.
    let fileCount: Int

    /// An image.
    public init(_ base: ImageChain.Base, cache: CacheMode, locking: ImageLocking, fileCount: Int) {
        self.base = base
        self.cache = cache
        self.locking = locking == .off ? .off : .immediate
        self.fileCount = fileCount
    }

    /// Of the files of an overlay those that are its.
    public func files(of backings: [Backend]) -> [Backend] { Array(backings.suffix(fileCount)) }

    /// Opens it for reading once more.
    public func open(_ blockSize: BlockSize) throws(ImageError) -> ImageChain {
        try base.open(cache: cache, readOnly: true, locking: locking, expected: nil, blockSize: blockSize)
    }
}

extension ImageChain.Base {
    /// Opens the image.
    ///
    /// - Parameter expected: see ``Backend/init(path:cache:readOnly:locking:expected:)``.
    public func open(
        cache: CacheMode, readOnly: Bool, locking: ImageLocking, expected: FileNumber?, blockSize: BlockSize
    ) throws(ImageError) -> ImageChain {
        guard !isQcow2 else {
            return try ImageChain(
                qcow2: path, cache: cache, readOnly: readOnly, snapshot: snapshot, locking: locking, expected: expected,
                blockSize: blockSize)
        }
        return ImageChain(
            raw: try Backend(path: path, cache: cache, readOnly: readOnly, locking: locking, expected: expected))
    }
}

/// The image below an overlay, open for writing for as long as that takes. Nobody else may use it meanwhile.
public struct WritableBase {
    private var chain: ImageChain
    /// The overlay's own descriptor of it, whose lock does not keep this one away meanwhile.
    private let reader: Int32?

    /// Opens and locks it.
    ///
    /// - Parameter reader: the same file as the overlay has it.
    public init(_ base: OverlayBase, reader: Backend, _ blockSize: BlockSize) throws(ImageError) {
        guard base.base.snapshot == nil else {
            throw .cannotCommit("it begins as an internal snapshot of its image, which stays as it is")
        }
        guard let path = realPath(base.base.path) else {
            throw .cannotOpen(path: base.base.path, errno: errno, readOnly: false)
        }
        do throws(ImageError) {
            chain = try ImageChain.Base(path: path, isQcow2: base.base.isQcow2).open(
                cache: .writeback, readOnly: false, locking: .off, expected: reader.fileNumber, blockSize: blockSize)
        } catch {
            guard case .cannotOpen(_, EACCES, _) = error else { throw error }
            throw .cannotCommit(
                "'\(path)' cannot be written: \(errorText(EACCES)); the user that the server runs as needs the right to, and in its "
                    + "sandbox the server writes to it only below a --sandbox-path PATH")
        }
        self.reader = base.locking == .off ? nil : reader.descriptor
        guard let own = self.reader, let descriptor = chain.backend.descriptor else { return }
        do throws(ImageError) {
            try ImageLock.acquireWriting(descriptor, beside: own, path)
        } catch {
            chain.close()
            throw error
        }
    }

    /// Leaves it to its readers.
    public func close() {
        if let reader { ImageLock.endWriting(beside: reader) }
        chain.close()
    }

    /// Stores bytes at a place of the disk, waiting for that.
    ///
    /// - Returns: 0, or the errno of the failure.
    fileprivate mutating func store(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32 {
        let length = UInt64(bytes.count)
        guard unsafe bytes.allSatisfy({ $0 == 0 }) else {
            return unsafe perform(BackendRequest(.write, offset: offset, length: length), bytes)
        }
        return unsafe perform(
            BackendRequest(.writeZeroes(mayDeallocate: true), offset: offset, length: length),
            UnsafeMutableRawBufferPointer(start: nil, count: 0))
    }

    /// Makes all that was stored stable.
    ///
    /// - Returns: 0, or the errno of the failure.
    fileprivate mutating func synchronize() -> Int32 {
        unsafe perform(BackendRequest(.flush), UnsafeMutableRawBufferPointer(start: nil, count: 0))
    }

    private mutating func perform(_ request: BackendRequest, _ bytes: UnsafeMutableRawBufferPointer) -> Int32 {
        var code: Int32 = 0
        let files = [chain.backend] + chain.backings
        func below(_ request: BackendRequest, _ bytes: UnsafeMutableRawBufferPointer) -> Bool {
            let file = files[Int(request.file)]
            code = request.operation == .flush ? file.synchronizeNow() : unsafe file.performNow(request, bytes)
            return code == 0
        }
        guard !chain.blocks.isEmpty else {
            _ = unsafe below(request, bytes)
            return code
        }
        return unsafe chain.blocks.performNow(request, bytes, below) ? 0 : code == 0 ? EIO : code
    }
}

extension Backend {
    /// fdatasync(2), waiting for it.
    ///
    /// - Returns: 0, or the errno of the failure.
    func synchronizeNow() -> Int32 {
        guard let descriptor, fdatasync(descriptor) != 0 else { return 0 }
        return errno
    }
}

extension ImageChain {
    private static let windowBytes: UInt64 = 1 << 30
    private static let pieceBytes: UInt64 = 1 << 20

    /// Lets the file of an overlay say no more what its image is.
    public func unsayStamp() throws(ImageError) { try changes?.unsayStamp(in: backend) }

    /// Writes to the image what an overlay has above it, and waits until that is stable. Nobody uses either. Whatever
    /// happens meanwhile, the overlay reads as before: it has all that is written here.
    ///
    /// - Parameters:
    ///   - maps: of the levels of one in memory.
    ///   - goesOn: whether somebody still wants it.
    /// - Returns: how many bytes that was.
    public mutating func store(
        in base: inout WritableBase, _ blockSize: BlockSize, maps: [OverlayMap], goesOn: () -> Bool
    ) throws(ImageError) -> UInt64 {
        guard let sizeBytes = blocks.diskBytes else { preconditionFailure("an overlay has a size") }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(Self.pieceBytes), alignment: 4096)
        defer { unsafe buffer.deallocate() }
        var total: UInt64 = 0
        for start in stride(from: 0, to: sizeBytes, by: Int(Self.windowBytes)) {
            let window = start..<min(start + Self.windowBytes, sizeBytes)
            for range in try own(in: window, blockSize, maps).ranges {
                var offset = blockSize.bytes(ofBlocks: range.lowerBound)
                let end = min(blockSize.bytes(ofBlocks: range.upperBound), sizeBytes)
                while offset < end {
                    guard goesOn() else { throw .cannotCommit("the server ends") }
                    let piece = unsafe UnsafeMutableRawBufferPointer(
                        rebasing: buffer[..<Int(min(Self.pieceBytes, end - offset))])
                    guard unsafe read(into: piece, at: offset) else {
                        throw .cannotCommit("byte \(offset) of its disk cannot be read")
                    }
                    let code = unsafe base.store(piece, at: offset)
                    guard code == 0 else { throw .cannotCommit("its image cannot be written: \(errorText(code))") }
                    offset += UInt64(piece.count)
                    total += UInt64(piece.count)
                }
            }
        }
        let code = base.synchronize()
        guard code == 0 else { throw .cannotCommit("its image cannot be made stable: \(errorText(code))") }
        return total
    }

    /// The blocks of a part of the disk that are the overlay's own, and perhaps some more.
    private mutating func own(
        in window: Range<UInt64>, _ blockSize: BlockSize, _ maps: [OverlayMap]
    ) throws(ImageError) -> BlockRanges {
        guard changes == nil else { return try ownBlocks(blockSize, in: window) }
        let part =
            blockSize.blocks(inBytes: window.lowerBound)..<blockSize.blocks(holdingBytes: window.upperBound)
        return maps.dropFirst().reduce(maps[0].ranges(in: part)) { $0.union($1.ranges(in: part)) }
    }

    /// Begins the file of an overlay anew, above its image as it is now.
    ///
    /// - Parameter fresh: the image, open for reading.
    public mutating func begin(above fresh: ImageChain, _ base: OverlayBase, _ blockSize: BlockSize) throws(ImageError)
    {
        guard let old = changes, let sizeBytes = blocks.diskBytes else {
            preconditionFailure("the changes are in a qcow2 image")
        }
        var file = try ChangesFile(
            path: old.path, above: base.base, fresh, cache: old.cache, locking: old.locking)
        file.findSnapshots(isOwn: false)
        guard backend.empty() == 0 else { throw old.cannotEmpty(errno) }
        do throws(ImageError) {
            let header = try file.begin(in: backend, sizeBytes: sizeBytes, above: nil)
            let below = fresh.blocks.qcow2
            let headers = [header] + (below?.headers ?? [])
            blocks.qcow2 = Qcow2(
                headers, rawBytes: below == nil ? fresh.backend.sizeBytes : below?.rawBytes,
                memory: try Self.tableMemory(headers, isWritable: true), blockSize: blockSize, isWritable: true)
        } catch {
            blocks.qcow2?.endWriting()
            throw error
        }
        retired = backings
        backings = [fresh.backend] + fresh.backings
        changes = file
    }
}
