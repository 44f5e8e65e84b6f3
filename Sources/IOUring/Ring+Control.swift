// Operations on the ring itself and its neighbours: IORING_OP_ASYNC_CANCEL, NOP, TIMEOUT, MSG_RING.

import CLibURing
import Glibc

extension Ring {
    /// Cancels every operation on `descriptor`; each completes with `-ECANCELED`, or as it would have if it was faster.
    public mutating func cancelAll(onDescriptor descriptor: Int32, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_cancel_fd(entry, descriptor, UInt32(IORING_ASYNC_CANCEL_ALL))
        unsafe entry.pointee.user_data = userData
    }

    /// Cancels the operation that was prepared with `target`: it completes with `-ECANCELED`, or as it would have.
    public mutating func cancel(_ target: UInt64, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_cancel64(entry, target, 0)
        unsafe entry.pointee.user_data = userData
    }

    /// Completes at once: the caller comes back to something after it has looked at what else has completed.
    public mutating func noOperation(userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_nop(entry)
        unsafe entry.pointee.user_data = userData
    }

    /// Completes with `-ETIME` once `duration` has passed. Its owner keeps it until then.
    public mutating func timeout(_ duration: borrowing Duration, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_timeout(entry, duration.pointer, 0, 0)
        unsafe entry.pointee.user_data = userData
    }

    /// Posts a completion with `value` as its result and `remoteUserData` on another ring of this process.
    public mutating func message(
        to ring: Int32, value: Int32, remoteUserData: UInt64, userData: UInt64
    ) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_msg_ring(entry, ring, UInt32(bitPattern: value), remoteUserData, 0)
        unsafe entry.pointee.user_data = userData
    }
}

/// A duration where the kernel can read it, for as long as the value lives.
@safe public struct Duration: ~Copyable {
    let pointer: UnsafeMutablePointer<__kernel_timespec>

    /// A duration of whole milliseconds.
    public init(milliseconds: Int64) {
        unsafe pointer = UnsafeMutablePointer<__kernel_timespec>.allocate(capacity: 1)
        unsafe pointer.initialize(
            to: __kernel_timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000))
    }

    /// Makes it another one. No ring waits for it now.
    public func set(milliseconds: Int64) {
        unsafe pointer.pointee = __kernel_timespec(
            tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    }

    deinit {
        unsafe pointer.deallocate()
    }
}
