// Socket operations: io_uring_enter(2), IORING_OP_ACCEPT, RECV, SENDMSG, POLL_ADD.

import CLibURing
import Glibc

extension Ring {
    /// Accepts connections on a listening socket until cancelled: one completion each, its result the new descriptor.
    public mutating func acceptMultishot(_ socket: Int32, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_multishot_accept(entry, socket, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
        unsafe entry.pointee.user_data = userData
    }

    /// Receives into buffers of `group` until the peer closes, an error, or the group is empty (`-ENOBUFS`).
    public mutating func receiveMultishot(_ socket: Int32, group: UInt16, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_recv_multishot(entry, socket, nil, 0, 0)
        unsafe entry.pointee.flags |= UInt8(1 << IOSQE_BUFFER_SELECT_BIT)
        unsafe entry.pointee.buf_group = group
        unsafe entry.pointee.user_data = userData
    }

    /// Sends what `message` gathers; the message, its vectors and the bytes stay where they are until completion.
    ///
    /// With `all` (MSG_WAITALL) io_uring goes on by itself after a partial send; without, the completion says how far it
    /// came. MSG_NOSIGNAL makes a closed peer an error value.
    public mutating func sendMessage(
        _ socket: Int32, _ message: UnsafePointer<msghdr>, all: Bool, userData: UInt64
    ) {
        let entry = unsafe nextEntry()
        let flags = UInt32(MSG_NOSIGNAL) | (all ? UInt32(MSG_WAITALL) : 0)
        unsafe io_uring_prep_sendmsg(entry, socket, message, flags)
        unsafe entry.pointee.user_data = userData
    }
    /// Completes when a socket has room for what is sent, or is of no more use (poll(2), POLLOUT).
    public mutating func awaitRoom(_ socket: Int32, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_poll_add(entry, socket, UInt32(POLLOUT))
        unsafe entry.pointee.user_data = userData
    }
    /// Completes when a socket has received something, or its end (poll(2), POLLIN).
    public mutating func awaitInput(_ socket: Int32, userData: UInt64) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_poll_add(entry, socket, UInt32(POLLIN))
        unsafe entry.pointee.user_data = userData
    }
}
