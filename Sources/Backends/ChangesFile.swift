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
    /// Where it is, as it was named.
    public let path: String
    let cache: CacheMode
    let locking: ImageLocking
    private let base: ImageChain.Base
    private let realBase: String
    /// Those of the base and of its backing files.
    private let stamps: [Qcow2Header.BackingStamp]
    private let baseNumber: FileNumber?
    /// How many files are the base's, and how many of these are qcow2 images.
    let baseFileCount: Int
    let baseHeaderCount: Int
    /// There was none: whoever opened it has made it.
    public private(set) var isMade = false
    /// How many internal snapshots it had when it was opened. While it is locked there are no others.
    var snapshotCount: UInt32 = 0
    /// The names of its snapshots, each a file of its own, those that were written last behind the others.
    public internal(set) var snapshots: [String] = []

    /// The file of an overlay.
    ///
    /// - Parameter chain: the base, open.
    init(
        path: String, above base: ImageChain.Base, _ chain: ImageChain, cache: CacheMode, locking: ImageLocking
    ) throws(ImageError) {
        guard let real = realPath(base.path) else { throw .cannotOpen(path: base.path, errno: errno, readOnly: true) }
        self.path = path
        self.cache = cache
        self.locking = locking
        self.base = base
        realBase = real
        let files = [chain.backend] + chain.backings
        stamps = files.compactMap(\.stamp)
        baseNumber = chain.backend.fileNumber
        baseFileCount = files.count
        baseHeaderCount = chain.blocks.qcow2?.headers.count ?? 0
        // Else its own lock would be in the way, and look like another program's.
        if let number = FileNumber(path: path), let place = files.firstIndex(where: { $0.fileNumber == number }) {
            let which = place == 0 ? "the image '\(base.path)' itself" : "a backing file of '\(base.path)'"
            throw .changes(path: path, "it is \(which), which is only read: name a new file")
        }
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
        // The link is there, and what it leads to is not.
        guard isMade || FileNumber(path: path) != nil || errno != ENOENT else {
            throw .changes(
                path: path,
                "it is a link to a file that is missing: bring that back, or remove the link, or name a new file")
        }
        if isMade { Glibc.close(descriptor) }
    }

    /// Writes the tables of an overlay that is like what is below it to a file that is empty.
    ///
    /// - Parameters:
    ///   - sizeBytes: of the disk.
    ///   - level: the file below it; nil: the base.
    /// - Returns: their header.
    func begin(in backend: Backend, sizeBytes: UInt64, above level: String?) throws(ImageError) -> Qcow2Header {
        let own = realPath(folder(of: path))
        let backing: Qcow2Header.Backing
        if let level {
            // An image may only name others in its folder. This one may be there in a moment.
            guard let own, realPath(folder(of: level)) == own else {
                throw .changes(path: path, "it begins with '\(level)', and has to be in the folder of that")
            }
            let name = String(level.split(separator: "/").last ?? "")
            backing = Qcow2Header.Backing(path: own + "/" + name, isQcow2: true, fromFolder: own)
        } else {
            backing = Qcow2Header.Backing(path: realBase, isQcow2: base.isQcow2, fromFolder: own)
        }
        let creation = try creation(sizeBytes, backing)
        var header: [UInt8] = []
        do throws(StoringFailure) {
            // The header comes last: a killed server leaves nothing that looks like an image and is none.
            try creation.forEachTable { offset, bytes throws(StoringFailure) in
                if offset == 0 { header = bytes } else { try backend.store(bytes, at: offset) }
            }
            // Where the last table ends.
            try backend.store([0], at: creation.fileBytes - 1)
            try backend.store(header, at: 0)
        } catch {
            // As if it had not been begun, if that is possible.
            _ = backend.empty()
            throw .cannotMakeChanges(path: path, errno: error.code)
        }
        return try Qcow2Header(header, fileBytes: creation.fileBytes, of: path)
    }

    private func creation(
        _ sizeBytes: UInt64, _ backing: Qcow2Header.Backing?
    ) throws(ImageError) -> Qcow2Creation {
        do throws(Qcow2CreationError) {
            return try Qcow2Creation(sizeBytes: sizeBytes, shape: .changes, backing: backing, stamps: stamps)
        } catch {
            throw .changes(path: path, "\(error)")
        }
    }

    /// Somebody was killed who began the file: it has no header, and nothing but some of the tables.
    func isUnfinished(_ backend: Backend, sizeBytes: UInt64) throws(ImageError) -> Bool {
        let creation = try creation(sizeBytes, nil)
        guard backend.sizeBytes <= creation.fileBytes else { return false }
        var whole = [UInt8](repeating: 0, count: Int(creation.fileBytes))
        creation.forEachTable { offset, bytes in
            if offset > 0 { whole.replaceSubrange(Int(offset)..<Int(offset) + bytes.count, with: bytes) }
        }
        return zip(backend.beginning(byteCount: Int(backend.sizeBytes)), whole).allSatisfy { $0 == 0 || $0 == $1 }
    }

    /// Lets the file say no more what the base is: it is about to change, and has to fit all the same.
    func unsayStamp(in backend: Backend) throws(ImageError) {
        guard let place = try header(of: backend, fileBytes: try backend.grow(toBytes: nil)).stampsOffset else {
            return
        }
        do throws(StoringFailure) {
            try backend.store([UInt8](repeating: 0, count: Qcow2Header.BackingStamp.byteCount), at: place)
        } catch {
            throw .cannotCommit("'\(path)' cannot be written: \(errorText(error.code))")
        }
        let code = backend.synchronizeNow()
        guard code == 0 else { throw .cannotCommit("'\(path)' cannot be made stable: \(errorText(code))") }
    }

    /// The header of a file that is there.
    func header(of backend: Backend, fileBytes: UInt64? = nil) throws(ImageError) -> Qcow2Header {
        let fileBytes = fileBytes ?? backend.sizeBytes
        let count = min(fileBytes, UInt64(Qcow2Header.byteCount))
        do throws(Qcow2Error) {
            return try Qcow2Header(backend.beginning(byteCount: Int(count)), fileBytes: fileBytes)
        } catch .noMagic {
            throw .changes(
                path: path,
                "it does not begin as a qcow2 image does, and it is left as it is: name a new file, or an empty one")
        } catch {
            throw .changes(path: path, "\(error)")
        }
    }
}

/// What is below it.
extension ChangesFile {
    /// Whether the backing file that an image names is the base.
    ///
    /// - Parameter image: that image, which names others from its folder.
    func leadsToBase(_ header: Qcow2Header, of image: String) throws(ImageError) -> Bool {
        guard let named = header.backing else { return false }
        let place = named.name.hasPrefix("/") ? named.name : folder(of: image) + "/" + named.name
        guard let number = FileNumber(path: place), number == baseNumber else { return false }
        guard named.isQcow2 == base.isQcow2 else {
            throw .changes(
                path: path,
                "its backing file is said to be \(named.isQcow2 ? "qcow2" : "raw"), and is served as another")
        }
        return true
    }

    /// The base is nowhere below it.
    func notAboveBase(_ header: Qcow2Header) -> ImageError {
        guard let named = header.backing else {
            return .changes(path: path, "it is a qcow2 image without a backing file, and not above '\(base.path)'")
        }
        return .changes(
            path: path,
            "its backing file is '\(named.name)', and not '\(base.path)': serve it above that, or name a new file; "
                + "where the base has moved, 'qemu-img rebase -u -F \(base.isQcow2 ? "qcow2" : "raw") -b NEW' says so")
    }

    /// The base, which an image is above, has to be what it was when that was made.
    ///
    /// - Parameter image: the file itself, or one below it.
    func checkStamps(_ header: Qcow2Header, of image: String) throws(ImageError) {
        if let odd = header.stamps.first(where: { $0.nanoseconds >= 1_000_000_000 }) {
            throw .changes(
                path: path,
                "what '\(image)' says of '\(base.path)' makes no sense: \(odd.nanoseconds) nanoseconds, and a second has "
                    + "1000000000. 'qemu-img convert -O qcow2 -B \(base.path) -F \(base.isQcow2 ? "qcow2" : "raw") \(image) "
                    + "OTHER' makes an image of it that says nothing of that")
        }
        for (number, stamp) in header.stamps.enumerated()
        where stamp != .unsaid && (!stamps.indices.contains(number) || stamps[number] != stamp) {
            let which = number == 0 ? "'\(base.path)'" : "backing file \(number) of '\(base.path)'"
            let made = image == path ? "it was made" : "'\(image)', which is below it, was made"
            guard stamps.indices.contains(number) else {
                throw .changes(path: path, "\(which) is gone since \(made)")
            }
            let file = number == 0 ? base.path : "IT"
            let time = stamp.seconds == 0 ? "" : ", with its time ('touch -d \(stamp.time) \(file)')"
            throw .changes(
                path: path,
                "\(which) has changed since \(made): then it had \(stamp), now \(stamps[number]). The changes fit to "
                    + "the old one only. Bring that back\(time), or name a new file for the changes. If 'qemu-img commit' has "
                    + "changed it, it has these changes: remove '\(image)'"
                    + (image == path ? "" : ", and what is above that"))
        }
    }
}

extension ChangesFile {
    /// Finds out, while clients use the disk, whether it can be made like its base again, or as it was at a snapshot.
    public func checkRevert(_ backend: Backend, to snapshot: String?) throws(ImageError) {
        guard snapshotCount == 0 else {
            throw .cannotRevert(
                "'\(path)' has \(snapshotCount) internal snapshot\(snapshotCount == 1 ? "" : "s"), which would be gone; remove "
                    + "them while it is not served: 'qemu-img snapshot -l' shows them, 'qemu-img snapshot -d NAME' removes one"
            )
        }
        // Only this is done in the file that is there.
        guard snapshot != nil || backend.openForWriting() == 0 else { throw cannotEmpty(errno) }
    }

    func cannotEmpty(_ code: Int32) -> ImageError {
        let hint = code == EACCES ? "; the user that the server runs as needs the right to write to it" : ""
        return .cannotRevert("'\(path)' cannot be emptied: \(errorText(code))\(hint)")
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
    var roomBytes: UInt64 {
        guard case .file(let file) = kind, let status = LinuxFile.status(file.bufferedDescriptor) else { return 0 }
        return UInt64(status.st_blocks) * 512
    }

    /// Makes a file empty.
    ///
    /// - Returns: 0, or -1 and errno.
    func empty() -> Int32 { openForWriting(O_TRUNC) }

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
