// The permitted uses of a ring, once and for all: io_uring_register(2), IORING_REGISTER_RESTRICTIONS.

import CLibURing

/// Operations of a ring do not pass by a filter for system calls, so a ring knows none that a server has no use for:
/// with all of them, an attacker in the process could open files and connect to others by them. None of the sends
/// is among them, because each can carry an address and flags, which no restriction sees: the server writes to
/// sockets that were connected before.
enum Restrictions {
    /// Spindle's operations, by the names of io_uring_enter(2).
    static let operations: [(operation: io_uring_op, name: String)] = [
        (IORING_OP_NOP, "IORING_OP_NOP"), (IORING_OP_ACCEPT, "IORING_OP_ACCEPT"),
        (IORING_OP_RECV, "IORING_OP_RECV"), (IORING_OP_WRITEV, "IORING_OP_WRITEV"),
        (IORING_OP_POLL_ADD, "IORING_OP_POLL_ADD"),
        (IORING_OP_READ, "IORING_OP_READ"), (IORING_OP_WRITE, "IORING_OP_WRITE"),
        (IORING_OP_FSYNC, "IORING_OP_FSYNC"), (IORING_OP_FALLOCATE, "IORING_OP_FALLOCATE"),
        (IORING_OP_FADVISE, "IORING_OP_FADVISE"), (IORING_OP_ASYNC_CANCEL, "IORING_OP_ASYNC_CANCEL"),
        (IORING_OP_MSG_RING, "IORING_OP_MSG_RING"), (IORING_OP_TIMEOUT, "IORING_OP_TIMEOUT"),
    ]

    /// Registrations with a ring that is in use.
    private static let registrations = [
        IORING_REGISTER_PBUF_RING, IORING_UNREGISTER_PBUF_RING, IORING_UNREGISTER_RING_FDS,
    ]

    /// So many threads of io_uring may wait for files, for each thread that has a ring.
    private static let threadLimit: UInt32 = 4096

    /// Flags of submissions.
    private static let submissionFlags = UInt8(1 << IOSQE_BUFFER_SELECT_BIT | 1 << IOSQE_ASYNC_BIT)

    /// Restricts a ring that was set up with `IORING_SETUP_R_DISABLED`, and enables it.
    static func enable(_ ring: UnsafeMutablePointer<io_uring>) throws(RingError) {
        var list = operations.map { allowed in
            var restriction = io_uring_restriction()
            restriction.opcode = UInt16(IORING_RESTRICTION_SQE_OP)
            restriction.sqe_op = UInt8(allowed.operation.rawValue)
            return restriction
        }
        list += registrations.map { allowed in
            var restriction = io_uring_restriction()
            restriction.opcode = UInt16(IORING_RESTRICTION_REGISTER_OP)
            restriction.register_op = UInt8(allowed)
            return restriction
        }
        var flags = io_uring_restriction()
        flags.opcode = UInt16(IORING_RESTRICTION_SQE_FLAGS_ALLOWED)
        flags.sqe_flags = submissionFlags
        list.append(flags)
        // Before a ring is restricted. Each thread of io_uring that waits for a file is one that others cannot have: by
        // default a file system that does not answer would soon have all of them, four for each processor.
        var threadLimits: (bounded: UInt32, unbounded: UInt32) = (threadLimit, 0)
        try unsafe register(ring, UInt32(IORING_REGISTER_IOWQ_MAX_WORKERS), &threadLimits, 2)
        // By their numbers: Debian 12's liburing has the functions for these in its header and not in its library.
        try unsafe register(ring, UInt32(IORING_REGISTER_RESTRICTIONS), &list, UInt32(list.count))
        try unsafe register(ring, UInt32(IORING_REGISTER_ENABLE_RINGS), nil, 0)
    }

    /// io_uring_register(2).
    static func register(
        _ ring: UnsafeMutablePointer<io_uring>, _ operation: UInt32, _ argument: UnsafeRawPointer?, _ count: UInt32
    ) throws(RingError) {
        let result = unsafe io_uring_register(UInt32(ring.pointee.ring_fd), operation, argument, count)
        guard result >= 0 else { throw .registration(errno: -result) }
    }
}
