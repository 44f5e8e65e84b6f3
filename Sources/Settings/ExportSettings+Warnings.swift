// Signs in an image that a raw image would not have: looked at, never probed to serve something else.

import Backends
import Glibc
import IOUring

extension ExportSettings {
    /// Probable mistakes with the image. It is only read; an image that cannot be opened gives none.
    ///
    /// - Parameter expected: the file that was found in a directory. Whoever may write there may have put a link to
    ///   another one in its place, which is not looked at.
    func imageWarnings(expected: FileNumber? = nil) -> [ExportWarning] {
        var warnings: [ExportWarning] = []
        if let sizeBytes = bytesInMemory, sizeBytes > LinuxProcess.machineBytes {
            warnings.append(
                .moreThanMemory(export: name, sizeBytes: sizeBytes, machineBytes: LinuxProcess.machineBytes))
        }
        guard let path = reference.path else { return warnings }
        if format == .raw, let format = ImageFormat(path: path, expected: expected) {
            warnings.append(.otherFormat(export: name, image: path, format))
        }
        if !drive.readOnly, expected == nil, !reference.isOverlay, isDeviceInUse(path) {
            warnings.append(.deviceInUse(export: name, device: path))
        }
        return warnings
    }

    /// The most that clients can have this process keep in memory for the image; nil: nothing.
    private var bytesInMemory: UInt64? {
        switch reference {
        case .memory(let sizeBytes) where !drive.readOnly: return sizeBytes
        case .overlay where changes == nil:
            let facts = try? ImageFacts(
                reference, format: format, snapshot: drive.imageSnapshot, device: drive.device)
            return (facts?.sectors).map(drive.device.logicalBlockSize.bytes(ofBlocks:))
        case .memory, .file, .null, .overlay: return nil
        }
    }

    /// Whether this machine has mounted a block device or a partition of it, swaps to it, or has made it a part of
    /// something: then nobody else can claim it (open(2), `O_EXCL`).
    private func isDeviceInUse(_ path: String) -> Bool {
        var status = stat()
        guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return false }
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC)
        guard descriptor < 0 else {
            close(descriptor)
            return false
        }
        return errno == EBUSY
    }
}

/// The beginning of a file that is no raw image.
public struct ImageFormat: Equatable, Sendable, CustomStringConvertible {
    /// Its name, with an article.
    public let description: String

    /// Magic numbers by their place: QEMU's docs/interop/qcow2.rst and block/ (vmdk.c, vdi.c, vhdx.h, vpc.c, qed.h,
    /// parallels.c), RFC 1952, xz-file-format.txt, RFC 8878, bzip2.
    private static let beginnings: [(offset: Int, bytes: [UInt8], name: String)] = [
        (0, Array("QFI\u{FB}".unicodeScalars.map { UInt8($0.value) }), "a qcow2 image"),
        (0, Array("KDMV".utf8), "a VMDK image"), (0, Array("COWD".utf8), "a VMDK image"),
        (0, Array("# Disk DescriptorFile".utf8), "the descriptor of a VMDK image"),
        (64, [0x7F, 0x10, 0xDA, 0xBE], "a VDI image"), (0, Array("vhdxfile".utf8), "a VHDX image"),
        (0, Array("conectix".utf8), "a VHD image"), (0, Array("QED\0".utf8), "a QED image"),
        (0, Array("WithoutFreeSpace".utf8), "a Parallels image"),
        (0, Array("WithouFreSpacExt".utf8), "a Parallels image"), (0, [0x1F, 0x8B, 8], "a gzip file"),
        (0, [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], "an xz file"), (0, [0x28, 0xB5, 0x2F, 0xFD], "a zstd file"),
        (0, Array("BZh".utf8), "a bzip2 file"),
    ]

    /// Looks at a file's beginning; nil for everything else.
    ///
    /// - Parameter expected: see ``Backend/init(path:cache:readOnly:locking:expected:)``.
    public init?(path: String, expected: FileNumber? = nil) {
        let link = expected == nil ? 0 : O_NOFOLLOW
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | link)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, expected == nil || expected == FileNumber(status) else {
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: 128)
        guard unsafe pread(descriptor, &bytes, bytes.count, 0) > 0,
            let format = Self.beginnings.first(where: { bytes[$0.offset...].starts(with: $0.bytes) })
        else { return nil }
        description = format.name
    }
}
