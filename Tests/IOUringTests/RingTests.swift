// A ring: set-up, files, batches, queues that are full.

import Glibc
import Testing

@testable import IOUring

@Suite struct RingTests {
    @Test func aNewRingIsEmpty() throws {
        var ring = try Ring(entries: 8, completions: 16)
        #expect(ring.completionsReady == 0)
        #expect(fcntl(ring.fileDescriptor, F_GETFD) >= 0)
        try ring.submitAndWait(0)
        #expect(ring.figures.enters == 1 && ring.figures.submissions == 0)
    }

    /// The kernel refuses a ring without entries: an error, again and again, that leaves nothing behind.
    @Test func aRingThatCannotBeIsAnError() throws {
        for _ in 0..<50 {
            let error = #expect(throws: RingError.self) { _ = try Ring(entries: 0, completions: 16) }
            #expect(error == .setup(errno: EINVAL, disabled: 0))
        }
        var ring = try Ring(entries: 8, completions: 16)
        ring.synchronizeData(-1, userData: 1)
        #expect(try ring.next().result == -EBADF)
    }

    @Test func aRingGivesItsDescriptorBack() throws {
        func lowestFree() -> Int32 {
            let descriptor = dup(0)
            close(descriptor)
            return descriptor
        }
        // Other tests open and close files meanwhile; a leak of 200 descriptors shows nevertheless.
        let before = lowestFree()
        for _ in 0..<200 { _ = try Ring(entries: 4, completions: 8) }
        #expect(lowestFree() < before + 100)
    }

    @Test(arguments: RingKind.allCases) func filesAreReadAndWritten(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 16)
        let file = try NamelessFile()
        let bytes = pattern(10_000)
        try bytes.withUnsafeBytes {
            ring.write(file.descriptor, from: $0.baseAddress!, count: 10_000, offset: 300, userData: 7)
            let written = try ring.next()
            #expect(written == Completion(userData: 7, result: 10_000, flags: 0))
        }
        var back = [UInt8](repeating: 1, count: 10_500)
        try back.withUnsafeMutableBytes {
            ring.read(file.descriptor, into: $0.baseAddress!, count: 10_500, offset: 0, userData: 8)
            // A read ends with the file.
            let read = try ring.next()
            #expect(read.result == 10_300)
            ring.read(file.descriptor, into: $0.baseAddress!, count: 1, offset: 10_300, userData: 9)
            let nothing = try ring.next()
            #expect(nothing == Completion(userData: 9, result: 0, flags: 0))
        }
        #expect(Array(back[300..<10_300]) == bytes && back[..<300].allSatisfy { $0 == 0 } && back[10_300] == 1)
        ring.synchronizeData(file.descriptor, userData: 10)
        #expect(try ring.next() == Completion(userData: 10, result: 0, flags: 0))
        ring.adviseWillNeed(file.descriptor, offset: 0, length: 4096, userData: 11)
        #expect(try ring.next() == Completion(userData: 11, result: 0, flags: 0))
    }

    @Test(arguments: RingKind.allCases) func spaceIsGivenBack(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 16)
        let file = try NamelessFile(pattern(1 << 16))
        ring.allocate(
            file.descriptor, mode: LinuxFile.punchHole, offset: 4096, length: 8192, userData: 1)
        #expect(try ring.next().result == 0)
        var bytes = [UInt8](repeating: 1, count: 1 << 16)
        #expect(pread(file.descriptor, &bytes, bytes.count, 0) == 1 << 16)
        var expected = pattern(1 << 16)
        for place in 4096..<12_288 { expected[place] = 0 }
        #expect(bytes == expected)
        // The same, waiting for it.
        #expect(LinuxFile.allocate(file.descriptor, mode: LinuxFile.punchHole, offset: 0, length: 4096) == 0)
        #expect(pread(file.descriptor, &bytes, 4096, 0) == 4096 && bytes[..<4096].allSatisfy { $0 == 0 })
        #expect(LinuxFile.allocate(-1, mode: LinuxFile.punchHole, offset: 0, length: 4096) == EBADF)
    }

    @Test(arguments: RingKind.allCases) func errorsAreResults(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 16)
        var byte: UInt8 = 0
        ring.read(-1, into: &byte, count: 1, offset: 0, userData: 1)
        ring.write(-1, from: &byte, count: 1, offset: 0, userData: 2)
        ring.allocate(-1, mode: LinuxFile.zeroRange, offset: 0, length: 1, userData: 3)
        ring.acceptMultishot(-1, userData: 4)
        let found = try ring.next(4).sorted { $0.userData < $1.userData }
        #expect(found.map(\.userData) == [1, 2, 3, 4])
        #expect(found.allSatisfy { $0.result == -EBADF && !$0.hasMore && $0.buffer == nil })
    }

    /// Completions are read by index and stay until they are released, the oldest first.
    @Test(arguments: RingKind.allCases) func completionsStayUntilReleased(kind: RingKind) throws {
        var ring = try kind.ring(entries: 64, completions: 128)
        for number in 0..<40 { ring.synchronizeData(-1, userData: UInt64(number)) }
        #expect(ring.completionsReady == 0)
        try ring.submitAndWait(40)
        #expect(ring.completionsReady == 40)
        #expect((0..<40).map { ring.completion(at: $0).userData }.sorted() == Array(0..<40))
        let second = ring.completion(at: 10)
        ring.releaseCompletions(10)
        #expect(ring.completionsReady == 30)
        #expect(ring.completion(at: 0) == second)
        ring.releaseCompletions(30)
        #expect(ring.completionsReady == 0)
    }

    /// More than the submission queue holds is submitted on the way.
    @Test(arguments: RingKind.allCases) func aFullSubmissionQueueIsSubmitted(kind: RingKind) throws {
        var ring = try kind.ring(entries: 4, completions: 1024)
        let file = try NamelessFile(pattern(1000))
        var bytes = [UInt8](repeating: 0, count: 1000)
        try bytes.withUnsafeMutableBytes { buffer in
            for number in 0..<1000 {
                ring.read(
                    file.descriptor, into: buffer.baseAddress! + number, count: 1, offset: UInt64(number),
                    userData: UInt64(number))
            }
            let found = try ring.next(1000)
            #expect(Set(found.map(\.userData)) == Set(0..<1000))
            #expect(found.allSatisfy { $0.result == 1 })
        }
        #expect(bytes == pattern(1000))
    }

    /// What the completion queue cannot hold the kernel keeps aside; nothing is lost.
    @Test(arguments: RingKind.allCases) func completionsBeyondTheQueueAreKept(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 16)
        for number in 0..<500 { ring.synchronizeData(-1, userData: UInt64(number)) }
        let found = try ring.next(500)
        #expect(found.map(\.userData).sorted() == Array(0..<500))
    }

    @Test func aTimeoutTakesItsTime() throws {
        var ring = try Ring(entries: 8, completions: 16)
        let duration = IOUring.Duration(milliseconds: 30)
        let start = ContinuousClock.now
        ring.timeout(duration, userData: 5)
        #expect(try ring.next() == Completion(userData: 5, result: -ETIME, flags: 0))
        #expect(ContinuousClock.now - start >= .milliseconds(30))
        let long = IOUring.Duration(milliseconds: 1750)
        #expect(long.pointer.pointee.tv_sec == 1 && long.pointer.pointee.tv_nsec == 750_000_000)
    }

    @Test func memoryIsZeroOrAnError() throws {
        let memory = try mapMemory(byteCount: 10_000)
        #expect(UnsafeRawBufferPointer(start: memory, count: 10_000).allSatisfy { $0 == 0 })
        munmap(memory, 10_000)
        #expect(throws: RingError.memory(errno: ENOMEM, byteCount: .max)) { try mapMemory(byteCount: .max) }
    }
}

@Suite struct RingErrorTests {
    @Test(arguments: [
        (RingError.setup(errno: EPERM, disabled: 2), ["disabled", "kernel.io_uring_disabled=2", "sysctl"]),
        (.setup(errno: EPERM, disabled: 0), ["seccomp", "kernel"]),
        (.setup(errno: ENOSYS, disabled: 0), ["not available"]),
        (.setup(errno: EINVAL, disabled: 0), ["too old", "6.1"]),
        (.setup(errno: ENOMEM, disabled: 0), ["ulimit -l"]),
        (.setup(errno: EMFILE, disabled: 0), ["Too many open files"]),
        (
            .operationsMissing(["IORING_OP_MSG_RING", "IORING_OP_FADVISE"]),
            ["IORING_OP_MSG_RING, IORING_OP_FADVISE", "6.1"]
        ),
        (.registration(errno: EEXIST), ["registration", "File exists"]),
        (.memory(errno: ENOMEM, byteCount: 4096), ["4096 bytes", "Cannot allocate memory"]),
        (.enter(errno: EBADF), ["io_uring_enter", "Bad file descriptor"]),
    ])
    func words(error: RingError, parts: [String]) {
        for part in parts { #expect("\(error)".contains(part)) }
    }
}
