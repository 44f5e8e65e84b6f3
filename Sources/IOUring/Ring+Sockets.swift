// Socket operations: io_uring_enter(2), IORING_OP_ACCEPT, RECV, WRITEV, POLL_ADD.

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

    /// Sends what the vectors gather; they and the bytes stay where they are until completion, which says how far it
    /// came.
    ///
    /// This is writev(2), and none of the sends: those can name an address and open a connection, and no restriction of
    /// a ring looks at that. SIGPIPE has to be ignored.
    public mutating func send(
        _ socket: Int32, _ vectors: UnsafePointer<iovec>, count: Int, userData: UInt64
    ) {
        let entry = unsafe nextEntry()
        unsafe io_uring_prep_writev(entry, socket, vectors, UInt32(count), 0)
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
