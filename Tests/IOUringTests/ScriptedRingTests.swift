// What a scripted ring does otherwise than the kernel's: order, pieces, failures, and a clock, all from one seed.

import Foundation
import Glibc
import SimulatedKernel
import Testing

@testable import IOUring

@Suite struct ScriptedRingTests {
    /// Nothing is done before the script says so, and waiting does not wait.
    @Test func nothingHappensByItself() throws {
        let kernel = try SimulatedKernel(seed: 1)
        var ring = Ring(entries: 8, completions: 16, kernel: kernel)
        let file = try NamelessFile(pattern(100))
        var bytes = [UInt8](repeating: 0, count: 100)
        try bytes.withUnsafeMutableBytes {
            ring.read(file.descriptor, into: $0.baseAddress!, count: 100, offset: 0, userData: 1)
            #expect(!kernel.performAny(), "what is prepared is not submitted")
            try ring.submitAndWait(1)
            #expect(ring.completionsReady == 0 && !kernel.isAwake(ring.fileDescriptor))
            #expect(kernel.performAny() && !kernel.performAny())
            #expect(kernel.isAwake(ring.fileDescriptor))
            #expect(ring.completion(at: 0) == Completion(userData: 1, result: 100, flags: 0))
        }
        #expect(bytes == pattern(100))
        #expect(ring.figures.enters == 1 && ring.figures.submissions == 1)
    }

    /// The order of completions is the seed's: the same for the same one.
    @Test func theOrderIsTheSeeds() throws {
        func order(_ seed: UInt64) throws -> [UInt64] {
            let kernel = try SimulatedKernel(seed: seed)
            var ring = Ring(entries: 64, completions: 64, kernel: kernel)
            for number in 0..<50 { ring.noOperation(userData: UInt64(number)) }
            try ring.submitAndWait(1)
            while kernel.performAny() {}
            return (0..<50).map { ring.completion(at: $0).userData }
        }
        let (first, again, other) = (try order(7), try order(7), try order(8))
        #expect(first == again && first != other && first.sorted() == Array(0..<50))
    }

    /// The clock stands until it is turned, and timers with it.
    @Test func timersFollowTheTurnedClock() throws {
        let kernel = try SimulatedKernel(seed: 1)
        var ring = Ring(entries: 8, completions: 16, kernel: kernel)
        let long = IOUring.Duration(milliseconds: 1_000_000)
        let short = IOUring.Duration(milliseconds: 20)
        ring.timeout(long, userData: 1)
        ring.timeout(short, userData: 2)
        try ring.submitAndWait(1)
        #expect(!kernel.performAny())
        let moment = try #require(kernel.nextMoment())
        #expect(moment - ring.clock.now() == 20_000_000)
        kernel.advance(to: moment)
        #expect(kernel.performAny() && !kernel.performAny())
        #expect(ring.completion(at: 0) == Completion(userData: 2, result: -ETIME, flags: 0))
    }

    /// Messages go from ring to ring, and to one that is gone they do not.
    @Test func messagesBetweenScriptedRings() throws {
        let kernel = try SimulatedKernel(seed: 1)
        var one = Ring(entries: 8, completions: 16, kernel: kernel)
        var target: Int32
        do {
            let other = Ring(entries: 8, completions: 16, kernel: kernel)
            target = other.fileDescriptor
            one.message(to: target, value: -5, remoteUserData: 77, userData: 1)
            try one.submitAndWait(1)
            #expect(kernel.performAny())
            #expect(other.completion(at: 0) == Completion(userData: 77, result: -5, flags: 0))
            #expect(one.completion(at: 0) == Completion(userData: 1, result: 0, flags: 0))
        }
        one.message(to: target, value: 1, remoteUserData: 77, userData: 2)
        try one.submitAndWait(1)
        #expect(kernel.performAny())
        #expect(one.completion(at: 1) == Completion(userData: 2, result: -EBADF, flags: 0))
    }

    /// Short transfers end at whole units, failures are those that were asked for, and both are rare as asked for.
    @Test func filesFailAsTheyAreToldTo() throws {
        let kernel = try SimulatedKernel(seed: 5)
        var ring = Ring(entries: 64, completions: 64, kernel: kernel)
        let file = try NamelessFile()
        kernel.behaviour.shortFileTransfers = 500_000
        kernel.behaviour.transferUnitBytes = 128
        kernel.behaviour.failedWrites = 250_000
        var results: [Int32] = []
        let bytes = pattern(4096)
        for _ in 0..<20 {
            try bytes.withUnsafeBytes {
                for _ in 0..<10 {
                    ring.write(file.descriptor, from: $0.baseAddress!, count: 4096, offset: 0, userData: 1)
                }
                try ring.submitAndWait(1)
                while kernel.performAny() {}
            }
            results += (0..<10).map { ring.completion(at: $0).result }
            ring.releaseCompletions(10)
        }
        let failed = results.filter { $0 < 0 }
        #expect((20...80).contains(failed.count) && Set(failed) == [-EIO, -ENOSPC])
        let short = results.filter { $0 > 0 && $0 < 4096 }
        #expect((40...120).contains(short.count) && short.allSatisfy { $0 % 128 == 0 })
        kernel.filesAreDead = true
        ring.synchronizeData(file.descriptor, userData: 2)
        try ring.submitAndWait(1)
        #expect(kernel.performAny() && ring.completion(at: 0).result == -EIO)
    }

    /// After a power failure there is what an FSYNC had covered, and of the rest whole sectors by chance.
    @Test func aPowerFailureTakesWhatWasNotFlushed() throws {
        let kernel = try SimulatedKernel(seed: 6)
        var ring = Ring(entries: 8, completions: 16, kernel: kernel)
        let file = try NamelessFile([UInt8](repeating: 0, count: 64 << 10))
        let disk = SimulatedDisk(file.descriptor)
        kernel.disks = [disk]
        func write(_ value: UInt8) throws {
            let bytes = [UInt8](repeating: value, count: 64 << 10)
            #expect(pwrite(file.descriptor, bytes, bytes.count, 0) == bytes.count)
        }
        func flush() throws -> Int32 {
            ring.synchronizeData(file.descriptor, userData: 1)
            try ring.submitAndWait(1)
            #expect(kernel.performAny())
            defer { ring.releaseCompletions(1) }
            return ring.completion(at: 0).result
        }
        try write(1)
        #expect(try flush() == 0)
        // Written after the flush has begun, and before it ends.
        ring.synchronizeData(file.descriptor, userData: 1)
        try ring.submitAndWait(1)
        try write(2)
        #expect(kernel.performAny())
        ring.releaseCompletions(1)
        let mixed = disk.afterPowerFailure(&kernel.numbers)
        #expect(Set(mixed) == [1, 2])
        for start in stride(from: 0, to: mixed.count, by: 512) { #expect(Set(mixed[start..<start + 512]).count == 1) }
        // What cannot be written back is told once to each description, and does not come back.
        kernel.behaviour.failedFlushes = 1_000_000
        #expect(try flush() == -EIO)
        kernel.behaviour.failedFlushes = 0
        #expect(try flush() == 0)
        #expect(Set(disk.afterPowerFailure(&kernel.numbers)) == [1, 2])
        try write(3)
        #expect(try flush() == 0)
        #expect(Set(disk.afterPowerFailure(&kernel.numbers)) == [3])
    }

    /// A group that is empty ends a receive, also one that begins.
    @Test func receivesInPieces() throws {
        let kernel = try SimulatedKernel(seed: 9)
        kernel.behaviour.shortSocketTransfers = 900_000
        var ring = Ring(entries: 8, completions: 64, kernel: kernel)
        var group = try BufferGroup(ring: ring, group: 0, count: 4, byteCount: 1024)
        let pair = try SocketPair()
        let sent = pattern(50_000)
        pair.sendFromOther(sent)
        var received: [UInt8] = []
        var ends = 0
        while received.count < sent.count {
            ring.receiveMultishot(pair.one, group: 0, userData: 1)
            try ring.submitAndWait(1)
            while kernel.performAny() {}
            for number in 0..<ring.completionsReady {
                let completion = ring.completion(at: number)
                guard let buffer = completion.buffer else {
                    #expect(completion.result == -ENOBUFS && !completion.hasMore)
                    ends += 1
                    continue
                }
                received += UnsafeRawBufferPointer(start: group.bytes(of: buffer).start, count: Int(completion.result))
                group.recycle(buffer)
            }
            ring.releaseCompletions(ring.completionsReady)
        }
        #expect(received == sent && ends > 12)
    }
}
