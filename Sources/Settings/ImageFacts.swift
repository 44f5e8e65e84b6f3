// Facts of an image that its drive would have: its size, and the geometry in its first sector.

import ATA
import Backends
import Blocks
import Glibc

/// The facts of an image that make a difference to the drive.
public struct ImageFacts: Sendable {
    /// The bytes left at the end make a sector of their own, as in QEMU.
    public let sectors: UInt64
    /// The geometry in a partition table, if there is one.
    public let bootSector: BootSectorGeometry?
    /// The partition table, if there is one.
    public let partitionTable: PartitionTable?

    /// Looks at an image. A file is only read, and not locked: it may be in use meanwhile.
    ///
    /// - Parameters:
    ///   - format: how a file is to be understood.
    ///   - snapshot: the internal snapshot of a qcow2 image that the disk is as; nil: as it is now.
    ///   - changes: the file with the changes of an overlay, which may not be there yet; nil: they are in memory.
    ///   - device: the drive, which decides how large sectors are, and how many there can be.
    ///   - expected: see ``Backend/init(path:cache:readOnly:locking:expected:)``.
    public init(
        _ image: ImageReference, format: DiskFormat, snapshot: String? = nil, changes: String? = nil,
        device: DriveProperties, expected: FileNumber? = nil
    ) throws {
        let blockSize = device.logicalBlockSize
        let hasChanges = changes.map(ChangesFile.exists) ?? false
        switch image {
        case .memory(let sizeBytes), .null(let sizeBytes):
            sectors = blockSize.blocks(holdingBytes: sizeBytes)
            bootSector = nil
            partitionTable = nil
        case .file(let path) where format == .qcow2, .overlay(let path) where format == .qcow2 || hasChanges:
            var chain = try Self.chain(path, format, snapshot, hasChanges ? changes : nil, blockSize, expected)
            defer { chain.close() }
            let sectors = blockSize.blocks(holdingBytes: chain.sizeBytes)
            let first = chain.beginning(byteCount: BootSectorGeometry.byteCount)
            self.sectors = sectors
            bootSector = unsafe BootSectorGeometry(bootSector: first.span.bytes, sectors: sectors)
            partitionTable = PartitionTable(bootSector: first)
        case .file(let path), .overlay(let path):
            let link = expected == nil ? 0 : O_NOFOLLOW
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | link)
            guard descriptor >= 0 else { throw ImageError.cannotOpen(path: path, errno: errno, readOnly: true) }
            defer { close(descriptor) }
            if let expected {
                var status = stat()
                guard unsafe fstat(descriptor, &status) == 0, FileNumber(status) == expected else {
                    throw ImageError.replaced(path: path)
                }
            }
            let sectors = blockSize.blocks(holdingBytes: try Self.sizeBytes(descriptor, path))
            // Bytes beyond the end of a short image read as zeroes.
            var first = [UInt8](repeating: 0, count: BootSectorGeometry.byteCount)
            guard unsafe pread(descriptor, &first, first.count, 0) >= 0 else {
                throw ImageError.cannotOpen(path: path, errno: errno, readOnly: true)
            }
            self.sectors = sectors
            bootSector = unsafe BootSectorGeometry(bootSector: first.span.bytes, sectors: sectors)
            partitionTable = PartitionTable(bootSector: first)
        }
        // A DVD-ROM without a disc has none.
        guard sectors > 0 || device.kind.isDisc && image == .null(sizeBytes: 0) else {
            throw ImageError.empty(image: image.name)
        }
        guard sectors <= device.kind.maximumSectors else { throw device.kind.tooLarge(image.name) }
    }

    /// Opens a qcow2 image, or what an overlay's changes are above, to look at it.
    private static func chain(
        _ path: String, _ format: DiskFormat, _ snapshot: String?, _ changes: String?, _ blockSize: BlockSize,
        _ expected: FileNumber?
    ) throws(ImageError) -> ImageChain {
        let image =
            format == .raw
            ? ImageChain(
                raw: try Backend(path: path, cache: .writeback, readOnly: true, locking: .off, expected: expected))
            : try ImageChain(
                qcow2: path, cache: .writeback, snapshot: snapshot, locking: .off, expected: expected,
                blockSize: blockSize)
        guard let changes else { return image }
        return try ImageChain(
            changes: changes, above: .init(path: path, isQcow2: format == .qcow2), image, cache: .writeback,
            readOnly: true, locking: .off, blockSize: blockSize)
    }

    private static func sizeBytes(_ descriptor: Int32, _ path: String) throws(ImageError) -> UInt64 {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw .cannotOpen(path: path, errno: errno, readOnly: true)
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return UInt64(status.st_size)
        case S_IFBLK:
            // A block device has no size of its own in stat(2).
            let end = lseek(descriptor, 0, SEEK_END)
            guard end >= 0 else { throw .cannotOpen(path: path, errno: errno, readOnly: true) }
            return UInt64(end)
        case S_IFDIR: throw .unsuitable(path: path, what: "a directory")
        default: throw .unsuitable(path: path, what: "a special file")
        }
    }
}

extension DriveKind {
    /// The error for an image that such a drive cannot address.
    func tooLarge(_ image: String) -> ImageReferenceError {
        switch self {
        case .disk, .hardDisk, .solidState: .tooLarge(image)
        case .dvdROM, .fullDVDROM: .tooLargeForDisc(image)
        }
    }
}
