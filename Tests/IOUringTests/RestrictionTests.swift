// A ring's refusals, for any submitter: io_uring_register(2), IORING_REGISTER_RESTRICTIONS.

import Glibc
import Testing

@testable import IOUring

@Suite struct RestrictionTests {
    /// Submits an entry that has nothing but an operation and flags.
    private func submit(_ ring: inout Ring, operation: UInt8, flags: UInt8 = 0) throws -> Int32 {
        let entry = ring.nextEntry()
        memset(entry, 0, MemoryLayout.size(ofValue: entry.pointee))
        entry.pointee.opcode = operation
        entry.pointee.flags = flags
        entry.pointee.fd = -1
        return try ring.next().result
    }

    /// Sending, opening, connecting, making sockets, renaming, removing, splicing, ... by the numbers of
    /// io_uring_enter(2).
    @Test func operationsThatNobodyNeedsAreRefused() throws {
        var ring = try Ring(entries: 8, completions: 16)
        let allowed = Set(Restrictions.operations.map { UInt8($0.operation.rawValue) })
        for operation: UInt8 in [9, 16, 26, 47, 18, 28, 35, 36, 37, 38, 39, 42] {
            #expect(!allowed.contains(operation))
        }
        // Linux 6.1 knows 49 of them.
        for operation in UInt8(0)...48 where !allowed.contains(operation) {
            #expect(try submit(&ring, operation: operation) == -EACCES, "operation \(operation)")
        }
        #expect(try submit(&ring, operation: 0) == 0)
    }

    /// Registered files, links, drains.
    @Test(arguments: [UInt8(1 << 0), 1 << 1, 1 << 2, 1 << 3])
    func flagsThatNobodyNeedsAreRefused(_ flag: UInt8) throws {
        var ring = try Ring(entries: 8, completions: 16)
        #expect(try submit(&ring, operation: 0, flags: flag) == -EACCES)
    }

    /// Buffers, files, an eventfd, a probe, a personality, restrictions once more.
    @Test(arguments: [UInt32(0), 2, 4, 8, 9, 11])
    func registrationsThatNobodyNeedsAreRefused(_ operation: UInt32) throws {
        let ring = try Ring(entries: 8, completions: 16)
        #expect(throws: RingError.registration(errno: EACCES)) {
            try Restrictions.register(ring.pointer, operation, nil, 0)
        }
    }
}
