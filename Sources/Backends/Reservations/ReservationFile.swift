// Bytes that outlive the server: the reservations of an export, in a file of its own.

import Glibc
import Synchronization

/// A file that has two places for the same bytes. Each write takes the place with the older ones, and is stable before
/// it is done. So whenever the server ends, the file has what was kept last: a write that was cut off leaves the other
/// place as it was, and nobody was told that it was done. A place that is damaged in another way looks the same. No
/// file is made, renamed or removed for that, which the sandbox would not allow.
///
/// A place: number of the write (8 bytes, big-endian), number of bytes (4), FNV-1a hash of these fields and the bytes
/// (8), the bytes. A place of zeroes is number 0, without bytes.
public final class ReservationFile: Sendable {
    /// The most bytes that can be kept.
    public static let byteLimit = placeBytes - headerBytes
    private static let placeBytes = 64 << 10
    private static let headerBytes = 20
    private static let fileBytes = 2 * placeBytes

    /// The bytes that the file had when it was opened; empty: none.
    public let bytes: [UInt8]
    /// One of the two places is torn: the last write was cut off, or the file is damaged.
    public let hasTornPlace: Bool
    private let descriptor: Int32
    /// The number of the last write that was done.
    private let number: Mutex<UInt64>

    /// Opens the file of an export, and makes it if there is none.
    init(_ name: String, in folder: Int32) throws(ReservationFileError) {
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        let descriptor = unsafe openat(folder, name, flags, 0o600)
        guard descriptor >= 0 else { throw .system("cannot be opened", errno: errno) }
        let last: (number: UInt64, bytes: [UInt8])
        let isWhole: Bool
        do throws(ReservationFileError) {
            try Self.prepare(descriptor, in: folder)
            let places = Self.places(try Self.contents(of: descriptor))
            guard let found = places.max(by: { $0.number < $1.number }) else { throw .torn }
            last = found
            // The numbers follow on each other, but for a file that nobody has written.
            isWhole = places.count == 2 && places.allSatisfy { $0.number + 1 >= found.number }
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        bytes = last.bytes
        hasTornPlace = !isWhole
        number = Mutex(last.number)
        self.descriptor = descriptor
    }

    /// Nobody writes any more.
    public func close() { Glibc.close(descriptor) }

    /// Keeps other bytes instead. Waits for the file system.
    ///
    /// - Returns: 0, or why it has failed (errno): then what was kept before is kept.
    public func write(_ bytes: [UInt8]) -> Int32 {
        precondition(bytes.count <= Self.byteLimit, "there is no room for so many bytes")
        return number.withLock { number in
            let next = number + 1
            let code = Self.store(Self.place(next, bytes), at: Int(next % 2) * Self.placeBytes, in: descriptor)
            if code == 0 { number = next }
            return code
        }
    }

    private static func store(_ place: [UInt8], at offset: Int, in descriptor: Int32) -> Int32 {
        var done = 0
        while done < place.count {
            let count = unsafe place[done...].withUnsafeBytes {
                unsafe pwrite(descriptor, $0.baseAddress, $0.count, offset + done)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return count < 0 ? errno : EIO }
            done += count
        }
        guard fdatasync(descriptor) == 0 else { return errno }
        // Nobody finds anything in a file that somebody has removed.
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return errno }
        return status.st_nlink > 0 ? 0 : ENOENT
    }

    /// A new file gets its size, so that there is room for whatever is to be kept.
    private static func prepare(_ descriptor: Int32, in folder: Int32) throws(ReservationFileError) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("cannot be read", errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            if errno == EWOULDBLOCK { throw .inUse }
            throw .system("cannot be locked", errno: errno)
        }
        guard status.st_size == 0 else {
            guard status.st_size == fileBytes else { throw .wrongSize(Int(status.st_size)) }
            return
        }
        let code = posix_fallocate(descriptor, 0, fileBytes)
        guard code == 0 else { throw .system("has no room", errno: code) }
        guard fsync(descriptor) == 0, fsync(folder) == 0 else { throw .system("cannot be made stable", errno: errno) }
    }

    private static func contents(of descriptor: Int32) throws(ReservationFileError) -> [UInt8] {
        var contents = [UInt8](repeating: 0, count: fileBytes)
        var done = 0
        while done < contents.count {
            let count = unsafe contents.withUnsafeMutableBytes {
                unsafe pread(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done, done)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system("cannot be read", errno: count < 0 ? errno : EIO) }
            done += count
        }
        return contents
    }

    /// Those places that are whole.
    private static func places(_ contents: [UInt8]) -> [(number: UInt64, bytes: [UInt8])] {
        [0, placeBytes].compactMap { parse(contents[$0..<$0 + placeBytes]) }
    }

    private static func parse(_ place: ArraySlice<UInt8>) -> (number: UInt64, bytes: [UInt8])? {
        let header = place.prefix(headerBytes)
        guard header.contains(where: { $0 != 0 }) else { return (0, []) }
        let number = header.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let count = header.dropFirst(8).prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard count <= byteLimit, number < .max else { return nil }
        let bytes = Array(place.dropFirst(headerBytes).prefix(count))
        return Self.place(number, bytes).prefix(headerBytes).elementsEqual(header) ? (number, bytes) : nil
    }

    private static func place(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
        var fields: [UInt8] = []
        for shift in stride(from: 56, through: 0, by: -8) { fields.append(UInt8(truncatingIfNeeded: number >> shift)) }
        for shift in stride(from: 24, through: 0, by: -8) {
            fields.append(UInt8(truncatingIfNeeded: bytes.count >> shift))
        }
        let hash = (fields + bytes).reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        for shift in stride(from: 56, through: 0, by: -8) { fields.append(UInt8(truncatingIfNeeded: hash >> shift)) }
        return fields + bytes
    }
}

/// Why reservations cannot be kept in a file.
public enum ReservationFileError: Error, Equatable, CustomStringConvertible {
    /// The kernel says no.
    case system(String, errno: Int32)
    /// It is something else than a file.
    case notRegular
    /// Somebody has locked it.
    case inUse
    /// It is no file of reservations.
    case wrongSize(Int)
    /// Neither place is whole.
    case torn
    /// The export's name makes no name of a file.
    case longName

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .system(let what, let code): "\(what): \(unsafe String(cString: strerror(code)))"
        case .notRegular: "is no regular file; remove it"
        case .inUse: "is in use: another server, or the last clients of an export of the same name, have it"
        case .wrongSize(let count): "has \(count) bytes, and reservations have 131072; remove the file"
        case .torn: "has no reservations that can be read; remove the file to begin without any"
        case .longName: "would have a name of more than 255 bytes; give the export a shorter one"
        }
    }
}
