// What Linux knows of files beyond POSIX: names that Swift's Glibc module leaves out. open(2), fcntl(2), fallocate(2),
// lseek(2).

import CLibURing
import Glibc

/// Linux's own file flags and calls.
public enum LinuxFile {
    /// `O_DIRECT`: no page cache.
    public static let direct = Int32(LINUX_O_DIRECT)
    /// `O_PATH`: the file itself, not what is in it.
    public static let pathOnly = Int32(LINUX_O_PATH)
    /// `AT_EMPTY_PATH`: the file that the descriptor stands for.
    public static let emptyPath = Int32(LINUX_AT_EMPTY_PATH)
    /// `F_OFD_GETLK`: who would be in the way of an open file description lock?
    public static let getLock = Int32(LINUX_F_OFD_GETLK)
    /// `F_OFD_SETLK`: take an open file description lock.
    public static let setLock = Int32(LINUX_F_OFD_SETLK)
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`: the range becomes a hole that reads as zeroes.
    public static let punchHole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
    /// `FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE`: the range reads as zeroes and has its space.
    public static let zeroRange = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE

    /// `STATX_DIOALIGN`: what offsets, lengths and addresses have to be multiples of with O_DIRECT, at least 512.
    ///
    /// - Returns: nil when kernel or file system do not say (statx(2)).
    public static func directAlignment(_ descriptor: Int32) -> UInt32? {
        var status = statx()
        let result = unsafe statx(descriptor, "", Int32(LINUX_AT_EMPTY_PATH), UInt32(STATX_DIOALIGN), &status)
        guard result == 0, status.stx_mask & UInt32(STATX_DIOALIGN) != 0, status.stx_dio_offset_align > 0 else {
            return nil
        }
        return max(512, status.stx_dio_offset_align, status.stx_dio_mem_align)
    }

    /// `BLKROGET`: whether a block device refuses to be written. Opening it for writing works all the same.
    public static func isReadOnly(blockDevice descriptor: Int32) -> Bool {
        var answer: Int32 = 0
        return unsafe ioctl(descriptor, UInt(LINUX_BLKROGET), &answer) == 0 && answer != 0
    }

    /// fallocate(2), waiting for it.
    ///
    /// - Returns: 0, or the errno of the failure.
    public static func allocate(_ descriptor: Int32, mode: Int32, offset: UInt64, length: UInt64) -> Int32 {
        fallocate(descriptor, mode, off_t(clamping: offset), off_t(clamping: length)) == 0 ? 0 : errno
    }

    /// Where the next data are at `offset` or behind it, by lseek(2) with `SEEK_DATA`; nil where there are none up to the
    /// end of the file. A file system that does not know its holes has data everywhere.
    public static func nextData(_ descriptor: Int32, from offset: UInt64) -> UInt64? {
        let found = lseek(descriptor, off_t(clamping: offset), Int32(LINUX_SEEK_DATA))
        guard found < 0 else { return UInt64(found) }
        return errno == ENXIO ? nil : offset
    }

    /// Where the next hole is at `offset` or behind it, by lseek(2) with `SEEK_HOLE`: the end of the file is the last one.
    /// Nil where that cannot be known.
    public static func nextHole(_ descriptor: Int32, from offset: UInt64) -> UInt64? {
        let found = lseek(descriptor, off_t(clamping: offset), Int32(LINUX_SEEK_HOLE))
        return found < 0 ? nil : UInt64(found)
    }

    /// `FIONREAD`: how many bytes a socket has received that nobody has taken.
    public static func receivedBytes(_ socket: Int32) -> Int {
        var count: Int32 = 0
        return unsafe ioctl(socket, UInt(FIONREAD), &count) == 0 ? Int(max(0, count)) : 0
    }
}
