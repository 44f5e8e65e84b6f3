// What a look at an image tells of the drive that it would be: its size and what its first sector says about the geometry.

import ATA
import Glibc
import Media

/// The facts of an image that make a difference to the drive.
public struct ImageFacts: Sendable {
    /// Of 512 bytes, what is left at the end rounded up.
    public let sectors: UInt64
    /// What a partition table says, if there is one.
    public let bootSector: BootSectorGeometry?

    /// Looks at an image. A file is only read, and not locked: it may be in use meanwhile.
    public init(_ image: ImageReference) throws {
        switch image {
        case .memory(let sizeBytes), .null(let sizeBytes):
            sectors = ImageReference.sectors(sizeBytes: sizeBytes)
            bootSector = nil
        case .file(let path):
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
            guard descriptor >= 0 else { throw MediumError.cannotOpen(path: path, errno: errno, readOnly: true) }
            defer { close(descriptor) }
            let sectors = ImageReference.sectors(sizeBytes: try Self.sizeBytes(descriptor, path))
            guard sectors <= ImageReference.maximumSectors else { throw ImageReferenceError.tooLarge(path) }
            // What a shorter image does not have reads as zeroes.
            var first = [UInt8](repeating: 0, count: 512)
            guard unsafe pread(descriptor, &first, first.count, 0) >= 0 else {
                throw MediumError.cannotOpen(path: path, errno: errno, readOnly: true)
            }
            self.sectors = sectors
            bootSector = unsafe BootSectorGeometry(bootSector: first.span.bytes, sectors: sectors)
        }
    }

    private static func sizeBytes(_ descriptor: Int32, _ path: String) throws(MediumError) -> UInt64 {
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
