// The abilities of fallocate(2) on a file: learnt from the first request that wants them, never by a trial on the file.

import Glibc
import IOUring
import Synchronization

/// Which modes of fallocate(2) the file system of an image has turned out not to know. All loops share it.
struct FileAbilities: Sendable {
    private let memory: SharedMemory

    /// Nothing has been tried, unless a test knows better.
    init(canPunchHoles: Bool = true, canZeroRanges: Bool = true) throws(RingError) {
        memory = try SharedMemory(byteCount: MemoryLayout<UInt64>.size)
        if !canPunchHoles { lacks(.punchHole) }
        if !canZeroRanges { lacks(.zeroRange) }
    }

    enum Mode: UInt64 {
        case punchHole = 1
        case zeroRange = 2
    }

    /// Zeroed memory is an atomic zero.
    private var missing: UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe memory.base.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// It is worth trying.
    func has(_ mode: Mode) -> Bool {
        unsafe missing.pointee.load(ordering: .relaxed) & mode.rawValue == 0
    }

    /// The file system does not know the mode.
    func lacks(_ mode: Mode) {
        unsafe missing.pointee.bitwiseOr(mode.rawValue, ordering: .relaxed)
    }

    func close() {
        memory.unmap()
    }
}

extension LinuxFile {
    /// On what file systems (statfs(2), f_type; linux/magic.h) which kind of zeroes is a change of the file's map and
    /// no writing: holes, and ranges that keep their space. Others may be as fast, but that is not known.
    static func zeroesFast(_ descriptor: Int32) -> (byDeallocating: Bool, allocated: Bool) {
        switch fileSystemType(descriptor) {
        // ext4 (and what it mounts as ext2 and ext3), XFS, btrfs, F2FS, bcachefs
        case 0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0xCA45_1A4E: (true, true)
        // tmpfs, OCFS2, GFS2, Ceph, ZFS
        case 0x0102_1994, 0x7461_636F, 0x0116_1970, 0x00C3_6400, 0x2FC1_2FC1: (true, false)
        // overlayfs: the file system below it decides, and is one of these as a rule.
        case 0x794C_7630: (true, true)
        default: (false, false)
        }
    }
}
