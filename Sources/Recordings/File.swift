// Files as recordings and overlays need them: read and written at places, by a program that may wait.

import Glibc

/// What kept a command from its work.
public struct RecordingsError: Error, CustomStringConvertible {
    /// In words.
    public let description: String

    init(_ description: String) { self.description = description }

    /// A call on a file has failed.
    init(_ what: String, _ path: String, errno code: Int32) {
        self.init("cannot \(what) '\(path)': \(unsafe String(cString: strerror(code)))")
    }
}

/// An open file.
final class File {
    let path: String
    private let descriptor: Int32
    /// It is new, and not finished.
    private var isUnfinished: Bool

    /// Opens a file for reading.
    init(reading path: String) throws(RecordingsError) {
        self.path = path
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        isUnfinished = false
        guard descriptor >= 0 else { throw RecordingsError("open", path, errno: errno) }
    }

    /// Makes a new file, which goes again if it is not finished.
    init(making path: String) throws(RecordingsError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        isUnfinished = descriptor >= 0
        guard descriptor >= 0 else {
            guard errno != EEXIST else { throw RecordingsError("'\(path)' is there already; name a new file") }
            throw RecordingsError("make", path, errno: errno)
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if isUnfinished { _ = unsafe unlink(path) }
    }

    /// All of it is there.
    func finish() { isUnfinished = false }

    var sizeBytes: UInt64 {
        get throws(RecordingsError) {
            let end = lseek(descriptor, 0, SEEK_END)
            guard end >= 0 else { throw RecordingsError("read", path, errno: errno) }
            return UInt64(end)
        }
    }

    /// Makes it so long, with nothing in what is new.
    func resize(toBytes sizeBytes: UInt64) throws(RecordingsError) {
        guard ftruncate(descriptor, off_t(sizeBytes)) == 0 else { throw RecordingsError("write", path, errno: errno) }
    }

    /// Reads bytes; fewer at the end of the file.
    func read(_ count: Int, at offset: UInt64) throws(RecordingsError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let part = unsafe bytes.withUnsafeMutableBytes {
                unsafe pread(descriptor, $0.baseAddress! + done, count - done, off_t(offset) + off_t(done))
            }
            if part < 0, errno == EINTR { continue }
            guard part >= 0 else { throw RecordingsError("read", path, errno: errno) }
            guard part > 0 else { break }
            done += part
        }
        bytes.removeLast(count - done)
        return bytes
    }

    /// Writes bytes.
    func write(_ bytes: [UInt8], at offset: UInt64) throws(RecordingsError) {
        var done = 0
        while done < bytes.count {
            let part = unsafe bytes.withUnsafeBytes {
                unsafe pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
            }
            if part < 0, errno == EINTR { continue }
            guard part > 0 else { throw RecordingsError("write", path, errno: part == 0 ? ENOSPC : errno) }
            done += part
        }
    }

    /// Copies bytes of another file.
    func copy(_ range: Range<UInt64>, of other: File, to offset: UInt64) throws(RecordingsError) {
        var place = range.lowerBound
        while place < range.upperBound {
            let bytes = try other.read(Int(min(range.upperBound - place, File.pieceBytes)), at: place)
            guard !bytes.isEmpty else { throw RecordingsError("'\(other.path)' has become shorter") }
            try write(bytes, at: offset + (place - range.lowerBound))
            place += UInt64(bytes.count)
        }
    }

    /// So much is read at a time.
    static let pieceBytes: UInt64 = 1 << 20
}
