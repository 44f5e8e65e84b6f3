// The file of an overlay: a qcow2 image above its base, which is made when it is missing, and can be emptied.

import Blocks
import Glibc
import IOUring

/// How the file with an overlay's changes is made, and made again.
///
/// Nothing waits for the disk here. A file without a byte counts as missing. What makes a new one stable is the first
/// flush of a client: fdatasync(2) of a new file brings its data and its size to the disk, and on ext4, XFS and Btrfs
/// its name in the folder, too. So a power cut loses the file, or its content, only while nothing in it had to be
/// stable.
public struct ChangesFile: Sendable {
    let path: String
    private let base: ImageChain.Base
    private let backing: Qcow2Header.Backing
    /// Those of the base and of its backing files.
    private let stamps: [Qcow2Header.BackingStamp]
    private let baseNumber: FileNumber?
    /// There was none: whoever opened it has made it.
    public private(set) var isMade = false
    /// How many internal snapshots it had when it was opened. While it is locked there are no others.
    var snapshotCount: UInt32 = 0

    /// The file of an overlay.
    ///
    /// - Parameter chain: the base, open.
    init(path: String, above base: ImageChain.Base, _ chain: ImageChain) throws(ImageError) {
        guard let real = realPath(base.path) else { throw .cannotOpen(path: base.path, errno: errno, readOnly: true) }
        self.path = path
        self.base = base
        backing = Qcow2Header.Backing(path: real, isQcow2: base.isQcow2, fromFolder: realPath(folder(of: path)))
        stamps = ([chain.backend] + chain.backings).compactMap(\.stamp)
        baseNumber = chain.backend.fileNumber
    }

    /// There is something in the file, or it is none.
    public static func exists(_ path: String) -> Bool {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return errno != ENOENT }
        return status.st_size > 0 || status.st_mode & S_IFMT != S_IFREG
    }

    /// Makes an empty file, if there is none.
    mutating func make() throws(ImageError) {
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 || errno == EEXIST else { throw .cannotMakeChanges(path: path, errno: errno) }
        isMade = descriptor >= 0
        if isMade { Glibc.close(descriptor) }
    }

    /// Writes the tables of an overlay that is like its base to a file that is empty.
    ///
    /// - Parameter sizeBytes: of the disk.
    /// - Returns: their header.
    func begin(in backend: Backend, sizeBytes: UInt64) throws(ImageError) -> Qcow2Header {
        let creation: Qcow2Creation
        do throws(Qcow2CreationError) {
            creation = try Qcow2Creation(sizeBytes: sizeBytes, shape: .changes, backing: backing, stamps: stamps)
        } catch {
            throw .changes(path: path, "\(error)")
        }
        var header: [UInt8] = []
        do throws(StoringFailure) {
            try creation.forEachTable { offset, bytes throws(StoringFailure) in
                if offset == 0 { header = bytes }
                try backend.store(bytes, at: offset)
            }
            // Where the last table ends.
            try backend.store([0], at: creation.fileBytes - 1)
        } catch {
            // As if it had not been begun, if that is possible.
            _ = backend.empty()
            throw .cannotMakeChanges(path: path, errno: error.code)
        }
        return try Qcow2Header(header, fileBytes: creation.fileBytes, of: path)
    }

    /// Checks that a file that is there belongs to the base, and that this is what it was.
    func check(_ header: Qcow2Header) throws(ImageError) {
        guard let named = header.backing else {
            throw .changes(path: path, "it is a qcow2 image without a backing file, and not above '\(base.path)'")
        }
        var status = stat()
        let place = named.name.hasPrefix("/") ? named.name : folder(of: path) + "/" + named.name
        guard unsafe stat(place, &status) == 0, FileNumber(status) == baseNumber else {
            throw .changes(
                path: path,
                "its backing file is '\(named.name)', and not '\(base.path)': serve it above that, or name a new file; "
                    + "where the base has moved, 'qemu-img rebase -u -F \(base.isQcow2 ? "qcow2" : "raw") -b NEW' says so"
            )
        }
        guard named.isQcow2 == base.isQcow2 else {
            throw .changes(
                path: path,
                "its backing file is said to be \(named.isQcow2 ? "qcow2" : "raw"), and is served as another")
        }
        for (number, stamp) in header.stamps.enumerated()
        where !stamps.indices.contains(number) || stamps[number] != stamp {
            let which = number == 0 ? "'\(base.path)'" : "backing file \(number) of '\(base.path)'"
            guard stamps.indices.contains(number) else {
                throw .changes(path: path, "\(which) is gone since it was made")
            }
            let file = number == 0 ? base.path : "IT"
            let time = stamp.seconds == 0 ? "" : ", with its time ('touch -d \(stamp.time) \(file)')"
            throw .changes(
                path: path,
                "\(which) has changed since it was made: then it had \(stamp), now \(stamps[number]). The changes fit to "
                    + "the old one only. Bring that back\(time), or name a new file for the changes. If 'qemu-img commit' has "
                    + "changed it, it has these changes: remove '\(path)'")
        }
    }
}

extension ChangesFile {
    /// Finds out, while clients use the disk, whether it can be made like its base again.
    public func checkRevert(_ backend: Backend) throws(ImageError) {
        guard snapshotCount == 0 else {
            throw .cannotRevert(
                "'\(path)' has \(snapshotCount) internal snapshot\(snapshotCount == 1 ? "" : "s"), which would be gone; remove "
                    + "them while it is not served: 'qemu-img snapshot -l' shows them, 'qemu-img snapshot -d NAME' removes one"
            )
        }
        guard backend.openForWriting() == 0 else { throw cannotEmpty(errno) }
    }

    private func cannotEmpty(_ code: Int32) -> ImageError {
        let hint = code == EACCES ? "; the user that the server runs as needs the right to write to it" : ""
        return .cannotRevert("'\(path)' cannot be emptied: \(errorText(code))\(hint)")
    }

    /// Makes the disk like its base again, while nobody uses it. As long as nobody has flushed, a power cut leaves the
    /// old changes, or none.
    ///
    /// - Returns: how much room the file has given back, in bytes.
    public func revert(_ backend: Backend, _ blocks: inout BlockStack) throws(ImageError) -> UInt64 {
        guard let layer = blocks.qcow2, let sizeBytes = blocks.diskBytes else {
            preconditionFailure("the changes are in a qcow2 image")
        }
        let room = backend.roomBytes
        guard backend.empty() == 0 else { throw cannotEmpty(errno) }
        do throws(ImageError) {
            let header = try begin(in: backend, sizeBytes: sizeBytes)
            let headers = [header] + layer.headers.dropFirst()
            let memory: LayerMemory
            do throws(RingError) {
                memory = try LayerMemory(mapping: Qcow2.memoryBytes(headers, isWritable: true))
            } catch {
                throw .cannotRevert(errorText(ENOMEM))
            }
            blocks.qcow2 = layer.begun(with: header, memory: memory)
        } catch {
            blocks.qcow2?.endWriting()
            throw error
        }
        return room - min(room, backend.roomBytes)
    }
}

/// A write that waited for the disk has failed.
private struct StoringFailure: Error {
    let code: Int32
}

extension Backend {
    /// What says that nobody has written to the file since; nil: it is none. A block device says only how large it is.
    var stamp: Qcow2Header.BackingStamp? {
        guard case .file(let file) = kind, let status = LinuxFile.status(file.bufferedDescriptor) else { return nil }
        let time = status.st_mode & S_IFMT == S_IFREG ? status.st_mtim : timespec()
        return Qcow2Header.BackingStamp(
            sizeBytes: sizeBytes, seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
    }

    fileprivate func store(_ bytes: [UInt8], at offset: UInt64) throws(StoringFailure) {
        var bytes = bytes
        let request = BackendRequest(.write, offset: offset, length: UInt64(bytes.count))
        let code = unsafe bytes.withUnsafeMutableBytes { unsafe performNow(request, $0) }
        guard code == 0 else { throw StoringFailure(code: code) }
    }

    /// How much room the file takes in its file system, in bytes.
    fileprivate var roomBytes: UInt64 {
        guard case .file(let file) = kind, let status = LinuxFile.status(file.bufferedDescriptor) else { return 0 }
        return UInt64(status.st_blocks) * 512
    }

    /// Makes a file empty.
    ///
    /// - Returns: 0, or -1 and errno.
    fileprivate func empty() -> Int32 { openForWriting(O_TRUNC) }

    /// Opens a file for writing once more, and closes it. A sandboxed server has no ftruncate(2): it empties only what
    /// it may write to by name.
    ///
    /// - Returns: 0, or -1 and errno.
    fileprivate func openForWriting(_ flags: Int32 = 0) -> Int32 {
        guard case .file(let file) = kind else { return 0 }
        let descriptor = LinuxFile.open("/proc/self/fd/\(file.bufferedDescriptor)", O_WRONLY | O_CLOEXEC | flags)
        guard descriptor >= 0 else { return -1 }
        return Glibc.close(descriptor)
    }
}

extension Qcow2Header.BackingStamp: CustomStringConvertible {
    /// For people.
    public var description: String {
        seconds == 0 ? "\(sizeBytes) bytes" : "\(sizeBytes) bytes, written last at \(time)"
    }

    /// As touch(1) and date(1) understand it.
    fileprivate var time: String {
        var (count, parts) = unsafe (time_t(seconds), tm())
        guard unsafe gmtime_r(&count, &parts) != nil else { return "@\(seconds)" }
        func digits(_ number: some BinaryInteger, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = unsafe [(parts.tm_year + 1900, 4), (parts.tm_mon + 1, 2), (parts.tm_mday, 2)]
        let clock = unsafe [parts.tm_hour, parts.tm_min, parts.tm_sec]
        return date.map { digits($0.0, $0.1) }.joined(separator: "-") + "T"
            + clock.map { digits($0, 2) }.joined(separator: ":") + "." + digits(nanoseconds, 9) + "Z"
    }
}
