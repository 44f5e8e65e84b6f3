// The lock that keeps a second writer away, compatible with QEMU's: open file description locks, fcntl(2) F_OFD_SETLK.

import Glibc
import IOUring

/// QEMU's byte-range protocol (block/file-posix.c): byte 100 + n is read-locked by who uses permission n, byte 200 + n
/// by who does not want others to use it. So two programs learn of each other whichever comes first.
enum ImageLock {
    private static let usedBase: off_t = 100
    private static let unsharedBase: off_t = 200
    private static let consistentRead: off_t = 0
    private static let write: off_t = 1
    private static let resize: off_t = 3

    /// Locks the file for a reader, or for the one writer, with everybody else kept from writing and resizing.
    ///
    /// - Returns: false when another process has the file in a way that does not agree with this.
    static func acquire(_ descriptor: Int32, readOnly: Bool) -> Bool {
        let used = readOnly ? [consistentRead] : [consistentRead, write]
        let unshared = [write, resize]
        // Announce first, look second: of two that come at the same time, at least one sees the other.
        for permission in used where !lock(descriptor, usedBase + permission) { return false }
        for permission in unshared where !lock(descriptor, unsharedBase + permission) { return false }
        return used.allSatisfy { isFree(descriptor, unsharedBase + $0) }
            && unshared.allSatisfy { isFree(descriptor, usedBase + $0) }
    }

    private static func lock(_ descriptor: Int32, _ byte: off_t) -> Bool {
        var range = flock()
        range.l_type = Int16(F_RDLCK)
        range.l_whence = Int16(SEEK_SET)
        range.l_start = byte
        range.l_len = 1
        // A file system without these locks (some network ones) serves without protection, as QEMU does.
        return unsafe fcntl(descriptor, LinuxFile.setLock, &range) == 0 || (errno != EAGAIN && errno != EACCES)
    }

    /// Nobody else holds a lock on `byte`; one's own descriptor does not count.
    private static func isFree(_ descriptor: Int32, _ byte: off_t) -> Bool {
        var range = flock()
        range.l_type = Int16(F_WRLCK)
        range.l_whence = Int16(SEEK_SET)
        range.l_start = byte
        range.l_len = 1
        guard unsafe fcntl(descriptor, LinuxFile.getLock, &range) == 0 else { return true }
        return range.l_type == Int16(F_UNLCK)
    }
}
