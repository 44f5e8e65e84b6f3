// Linux's files beyond POSIX: names that Swift's Glibc module leaves out. open(2), fcntl(2), fallocate(2), lseek(2).

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

    /// File systems whose reads from the page cache wait for nobody else, and which begin to read ahead without
    /// waiting, by the magic numbers of statfs(2): ext2 to ext4, XFS, Btrfs, tmpfs, F2FS, and overlayfs, which has the
    /// file on another one.
    private static let promptFileSystems: Set<UInt64> = [
        0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x794C_7630,
    ]

    /// Whether the file is on one of them. Others, FUSE and those of networks, may ask somebody who does not answer
    /// even for what is in the page cache.
    public static func isOnPromptFileSystem(_ descriptor: Int32) -> Bool {
        promptFileSystems.contains(fileSystemType(descriptor))
    }

    /// Whether fallocate(2) of a part of a page may fill the rest of it with zeroes for a moment. A client that is sent
    /// that page just then gets those. XFS does it, and overlayfs may have the file on one.
    public static func zeroesWholePages(_ descriptor: Int32) -> Bool {
        [0x5846_5342, 0x794C_7630].contains(fileSystemType(descriptor))
    }

    /// `BLKROGET`: whether a block device refuses to be written. Opening it for writing works all the same.
    public static func isReadOnly(blockDevice descriptor: Int32) -> Bool {
        var answer: Int32 = 0
        return unsafe ioctl(descriptor, UInt(LINUX_BLKROGET), &answer) == 0 && answer != 0
    }

    /// fstatfs(2): `f_type`; 0 where that fails.
    public static func fileSystemType(_ descriptor: Int32) -> UInt64 {
        var status = statfs()
        return unsafe fstatfs(descriptor, &status) == 0 ? UInt64(UInt32(truncatingIfNeeded: status.f_type)) : 0
    }

    /// Opens once more what is open: another open file description of the same file, with the same access (proc(5),
    /// /proc/self/fd), whatever has become of its path.
    ///
    /// - Returns: the descriptor; -1 and errno if that fails.
    public static func openAgain(_ descriptor: Int32) -> Int32 {
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0 else { return -1 }
        return open("/proc/self/fd/\(descriptor)", flags & O_ACCMODE | O_CLOEXEC | O_NONBLOCK)
    }

    /// fallocate(2), waiting for it.
    ///
    /// - Returns: 0, or the errno of the failure.
    public static func allocate(_ descriptor: Int32, mode: Int32, offset: UInt64, length: UInt64) -> Int32 {
        fallocate(descriptor, mode, off_t(clamping: offset), off_t(clamping: length)) == 0 ? 0 : errno
    }

    /// Where the next data are at `offset` or behind it, by lseek(2) with `SEEK_DATA`; nil where there are none up to
    /// the end of the file. A file system that does not know its holes has data everywhere.
    public static func nextData(_ descriptor: Int32, from offset: UInt64) -> UInt64? {
        let found = lseek(descriptor, off_t(clamping: offset), Int32(LINUX_SEEK_DATA))
        guard found < 0 else { return UInt64(found) }
        return errno == ENXIO ? nil : offset
    }

    /// Where the next hole is at `offset` or behind it, by lseek(2) with `SEEK_HOLE`: the end of the file is the last
    /// one. Nil where that cannot be known.
    public static func nextHole(_ descriptor: Int32, from offset: UInt64) -> UInt64? {
        let found = lseek(descriptor, off_t(clamping: offset), Int32(LINUX_SEEK_HOLE))
        return found < 0 ? nil : UInt64(found)
    }

    /// open(2) of what is there.
    ///
    /// - Returns: the descriptor; -1 and errno if that fails.
    public static func open(_ path: String, _ flags: Int32) -> Int32 {
        unsafe Glibc.open(path, flags)
    }

    /// lstat(2): of the file that has a name, and not of the one that it leads to; nil and errno if there is none.
    public static func status(_ path: String) -> stat? {
        var status = stat()
        return unsafe lstat(path, &status) == 0 ? status : nil
    }

    /// fstat(2); nil and errno of what is not open.
    public static func status(_ descriptor: Int32) -> stat? {
        var status = stat()
        return unsafe fstat(descriptor, &status) == 0 ? status : nil
    }

    /// unlink(2), if there is such a file.
    public static func remove(_ path: String) {
        _ = unsafe unlink(path)
    }

    /// recv(2), without waiting.
    ///
    /// - Returns: how many bytes it was; 0 at their end, -1 and errno if there were none.
    public static func receive(_ socket: Int32, into target: MemoryRange) -> Int {
        unsafe recv(socket, target.start, target.count, Int32(MSG_DONTWAIT))
    }

    /// Both directions of a socket are closed, or it has failed (poll(2), POLLHUP and POLLERR).
    public static func isHungUp(_ socket: Int32) -> Bool {
        var state = pollfd(fd: socket, events: 0, revents: 0)
        return unsafe poll(&state, 1, 0) == 1
    }

    /// The other side of a socket sends no more, or the socket has failed (poll(2), POLLRDHUP). Bytes that it has sent
    /// before may still be there.
    public static func sendsNoMore(_ socket: Int32) -> Bool {
        var state = pollfd(fd: socket, events: Int16(LINUX_POLLRDHUP), revents: 0)
        return unsafe poll(&state, 1, 0) == 1
    }

    /// `FIONREAD`: how many bytes a socket has received that nobody has taken.
    public static func receivedBytes(_ socket: Int32) -> Int {
        var count: Int32 = 0
        return unsafe ioctl(socket, UInt(FIONREAD), &count) == 0 ? Int(max(0, count)) : 0
    }
}
