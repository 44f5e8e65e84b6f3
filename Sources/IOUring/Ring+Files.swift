// File operations: io_uring_enter(2), IORING_OP_READ, WRITE, FSYNC, FALLOCATE, FADVISE.

import CLibURing
import Glibc

extension Ring {
    /// pread(2) into `buffer`, which stays where it is until completion.
    ///
    /// - Parameter byThread: a thread of io_uring does it from the beginning. Otherwise the submission tries it first,
    ///   and where the page cache has nothing it begins to read ahead, for which some file systems wait.
    public mutating func read(
        _ file: Int32, into buffer: UnsafeMutableRawPointer, count: UInt32, offset: UInt64, byThread: Bool = false,
        userData: UInt64
    ) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_read(entry, file, buffer, count, offset)
        if byThread { unsafe entry.pointee.flags |= UInt8(1 << IOSQE_ASYNC_BIT) }
        unsafe entry.pointee.user_data = userData
    }

    /// pwrite(2) from `buffer`, which stays where it is until completion; `byThread` as above.
    public mutating func write(
        _ file: Int32, from buffer: UnsafeRawPointer, count: UInt32, offset: UInt64, byThread: Bool = false,
        userData: UInt64
    ) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_write(entry, file, buffer, count, offset)
        if byThread { unsafe entry.pointee.flags |= UInt8(1 << IOSQE_ASYNC_BIT) }
        unsafe entry.pointee.user_data = userData
    }

    /// fdatasync(2).
    public mutating func synchronizeData(_ file: Int32, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_fsync(entry, file, UInt32(IORING_FSYNC_DATASYNC))
        unsafe entry.pointee.user_data = userData
    }

    /// fallocate(2) with `mode`, a combination of `FALLOC_FL_*`.
    public mutating func allocate(_ file: Int32, mode: Int32, offset: UInt64, length: UInt64, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_fallocate(entry, file, mode, off_t(offset), off_t(length))
        unsafe entry.pointee.user_data = userData
    }

    /// posix_fadvise(2), POSIX_FADV_WILLNEED: the kernel begins to read the range into its page cache.
    public mutating func adviseWillNeed(_ file: Int32, offset: UInt64, length: UInt32, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_fadvise(entry, file, offset, off_t(length), POSIX_FADV_WILLNEED)
        unsafe entry.pointee.user_data = userData
    }
}
