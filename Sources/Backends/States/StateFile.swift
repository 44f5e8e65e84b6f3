// The file that keeps the state of a drive: text that people read, replaced as a whole.

import Glibc
import Synchronization

/// A file that is always whole: each write makes another file beside it (`FILE.spindle-new`), makes that stable, and
/// gives it the name (rename(2)). So whenever the process or the machine ends, the file has what was kept last. The one
/// that has the name is locked, for as long as the drive is served.
public final class StateFile: Sendable {
    /// The most bytes that one is read with: more than any drive writes.
    public static let byteLimit = 2 << 20

    /// What the name of the next file ends with.
    private static let draftEnding = ".spindle-new"

    /// Where it is.
    public let path: String
    /// What it had when it was opened; empty: it is new.
    public let text: String
    private let folder: Int32
    private let name: String
    /// Whoever writes has it as long as that takes, so no loop may.
    private let state: Mutex<State>
    /// The last number that was given out.
    private let lastNumber = Atomic<UInt64>(0)
    private let settled = Atomic<UInt64>(0)
    private let underWay = Atomic<Int>(0)

    private struct State {
        /// The file with the name, whose lock this is; nil: closed.
        var descriptor: Int32?
        /// The number of what the file has.
        var keptNumber: UInt64 = 0
    }

    /// Opens the file, and makes it if there is none.
    public init(path: String) throws(StateFileError) {
        self.path = path
        // A link stays what it is: the file that it leads to is replaced.
        let parts = Self.parts(of: realPath(path) ?? path)
        name = parts.name
        folder = unsafe open(parts.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw .system(path, "its folder cannot be opened", errno: errno) }
        do throws(StateFileError) {
            let descriptor = try Self.lock(name, in: folder, path)
            state = Mutex(State(descriptor: descriptor))
            do throws(StateFileError) {
                text = try Self.content(of: descriptor, path)
            } catch {
                Glibc.close(descriptor)
                throw error
            }
        } catch {
            Glibc.close(folder)
            throw error
        }
    }

    deinit { Glibc.close(folder) }

    /// Changes up to this one are in the file.
    public var settledChanges: UInt64 { settled.load(ordering: .acquiring) }

    /// Somebody has a write done beside its own work, which may hang in the file system.
    public var isBusy: Bool { underWay.load(ordering: .relaxed) > 0 }

    /// Such a write begins.
    public func beginWrite() { underWay.add(1, ordering: .relaxed) }

    /// It has ended.
    public func endWrite() { underWay.subtract(1, ordering: .relaxed) }

    /// The number of a write: of two the later one stays, whichever comes first.
    public func nextNumber() -> UInt64 { lastNumber.add(1, ordering: .relaxed).newValue }

    /// Keeps other bytes instead. Waits for the file system.
    ///
    /// - Parameters:
    ///   - number: from ``nextNumber()``.
    ///   - changes: the changes of the drive that the bytes have.
    /// - Returns: 0, or why it has failed (errno): then a power failure may leave what was kept before.
    public func write(_ bytes: [UInt8], number: UInt64, changes: UInt64) -> Int32 {
        state.withLock { state in
            guard let old = state.descriptor, number > state.keptNumber else { return 0 }
            let (descriptor, code) = replace(with: bytes)
            guard let descriptor else { return code }
            Glibc.close(old)
            state.descriptor = descriptor
            state.keptNumber = number
            if code == 0 { settled.store(changes, ordering: .releasing) }
            return code
        }
    }

    /// Nobody writes any more.
    public func close() {
        state.withLock {
            if let descriptor = $0.descriptor { Glibc.close(descriptor) }
            $0.descriptor = nil
        }
    }

    /// Puts a new file, which is locked, in the place of the old one.
    ///
    /// - Returns: the file that has the name now, nil if that is the old one; and 0, or why the new one may not be
    ///   there after a power failure (errno).
    private func replace(with bytes: [UInt8]) -> (descriptor: Int32?, code: Int32) {
        let draft = name + Self.draftEnding
        let descriptor = makeDraft(draft, beginning: bytes.prefix { $0 != 0x0A })
        guard descriptor >= 0 else { return (nil, errno) }
        var code = flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? Self.store(bytes, in: descriptor) : errno
        if code == 0, unsafe renameat(folder, draft, folder, name) != 0 { code = errno }
        guard code == 0 else {
            Glibc.close(descriptor)
            return (nil, code)
        }
        // With the folder stable the new name is, too.
        return (descriptor, fsync(folder) == 0 ? 0 : errno)
    }

    /// Makes the new file. Somebody else's of that name stays; a write that was cut short has left it if it begins as
    /// this one does.
    ///
    /// - Returns: its descriptor, or -1 (errno).
    private func makeDraft(_ draft: String, beginning: ArraySlice<UInt8>) -> Int32 {
        let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
        let descriptor = unsafe openat(folder, draft, flags, 0o600)
        guard descriptor < 0, errno == EEXIST else { return descriptor }
        guard isLeft(draft, beginning) else {
            errno = EEXIST
            return -1
        }
        unsafe unlinkat(folder, draft, 0)
        return unsafe openat(folder, draft, flags, 0o600)
    }

    private func isLeft(_ draft: String, _ beginning: ArraySlice<UInt8>) -> Bool {
        let descriptor = unsafe openat(folder, draft, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1,
            flock(descriptor, LOCK_EX | LOCK_NB) == 0
        else { return false }
        var found = [UInt8](repeating: 0, count: beginning.count)
        let count = unsafe found.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, $0.count, 0) }
        return status.st_size == 0 || count == beginning.count && found[...] == beginning
    }

    private static func store(_ bytes: [UInt8], in descriptor: Int32) -> Int32 {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes {
                unsafe pwrite(descriptor, $0.baseAddress, $0.count, done)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return count < 0 ? errno : EIO }
            done += count
        }
        return fdatasync(descriptor) == 0 ? 0 : errno
    }

    /// Opens the file that has the name, and locks it.
    private static func lock(_ name: String, in folder: Int32, _ path: String) throws(StateFileError) -> Int32 {
        for _ in 0..<100 {
            let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
            let descriptor = unsafe openat(folder, name, flags, 0o600)
            guard descriptor >= 0 else { throw .system(path, "it cannot be opened", errno: errno) }
            do throws(StateFileError) {
                var opened = stat()
                var named = stat()
                guard unsafe fstat(descriptor, &opened) == 0 else {
                    throw .system(path, "it cannot be read", errno: errno)
                }
                guard opened.st_mode & S_IFMT == S_IFREG else { throw .notRegular(path) }
                guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                    if errno == EWOULDBLOCK { throw .inUse(path) }
                    throw .system(path, "it cannot be locked", errno: errno)
                }
                // Whoever had it may have put another one in its place meanwhile.
                if unsafe fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0, named.st_ino == opened.st_ino,
                    named.st_dev == opened.st_dev
                {
                    return descriptor
                }
            } catch {
                Glibc.close(descriptor)
                throw error
            }
            Glibc.close(descriptor)
        }
        throw .inUse(path)
    }

    private static func content(of descriptor: Int32, _ path: String) throws(StateFileError) -> String {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system(path, "it cannot be read", errno: errno) }
        guard status.st_size <= byteLimit else { throw .tooLarge(path, Int(status.st_size)) }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe pread(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done, done)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system(path, "it cannot be read", errno: count < 0 ? errno : EIO) }
            done += count
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .content(path, "it is no text in UTF-8; name another file")
        }
        return text
    }

    private static func parts(of path: String) -> (folder: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let folder = slash == path.startIndex ? "/" : String(path[..<slash])
        return (folder, String(path[path.index(after: slash)...]))
    }
}

/// Why the state of a drive cannot be kept in a file.
public enum StateFileError: Error, Equatable, CustomStringConvertible {
    /// The kernel says no.
    case system(String, String, errno: Int32)
    /// It is something else than a file.
    case notRegular(String)
    /// Somebody has locked it.
    case inUse(String)
    /// No drive has written so many bytes.
    case tooLarge(String, Int)
    /// It has something else, or the state of another drive.
    case content(String, String)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .system(let path, let what, let code):
            "the state file '\(path)' cannot be used: \(what): \(unsafe String(cString: strerror(code)))"
        case .notRegular(let path): "the state file '\(path)' is no regular file; name another one"
        case .inUse(let path):
            "the state file '\(path)' is in use by another drive, of this server or of another one; give each a file of its own"
        case .tooLarge(let path, let count):
            "the state file '\(path)' has \(count) bytes, and a state has at most \(StateFile.byteLimit); name another file"
        case .content(let path, let reason): "the state file '\(path)' cannot be used: \(reason)"
        }
    }
}
