// Jobs change hands: each end does only what is its own to do, and nothing is handed over twice.

import Backends
import Blocks
import Testing

@testable import Loop

@Suite struct JobRingTests {
    private static func job(_ length: UInt64 = 512) -> FileJob {
        FileJob(
            .write, Backend(nullOfSize: 1 << 20, readOnly: false), export: ExportNumber(7), token: Token(.goOn),
            task: BackendTask(.flush, offset: 0, length: length))
    }

    @Test func aJobGoesToTheWorkerAndBack() throws {
        let ring = try JobRing()
        defer { ring.unmap() }
        // Three times round.
        for position in 0..<3 * JobRing.capacity {
            ring.give(Self.job(), at: position)
            #expect(ring.state(position) == .queued)
            #expect(ring.take(position))
            ring.work(at: position) { $0.nanoseconds = UInt64(position) }
            ring.finish(position)
            let job = ring.takeAway(position)
            let (nanoseconds, export) = (job.nanoseconds, job.export)
            #expect(nanoseconds == UInt64(position) && export == ExportNumber(7))
            #expect(ring.state(position) == .empty)
        }
    }

    /// Of a job that the loop takes back and the worker takes at the same time, one has it.
    @Test func aJobIsTakenBackOrTaken() throws {
        let ring = try JobRing()
        defer { ring.unmap() }
        ring.give(Self.job(), at: 0)
        let wasThere = ring.withdraw(0) != nil
        #expect(wasThere && !ring.take(0))
        ring.give(Self.job(), at: JobRing.capacity)
        #expect(ring.take(JobRing.capacity))
        let isThere = ring.withdraw(JobRing.capacity) != nil
        #expect(!isThere)
        ring.finish(JobRing.capacity)
        _ = ring.takeAway(JobRing.capacity)
    }

    @Test func nobodyTouchesWhatIsTheOthers() async {
        await #expect(processExitsWith: .failure) {
            let ring = try JobRing()
            ring.give(JobRingTests.job(), at: 0)
            ring.give(JobRingTests.job(), at: JobRing.capacity)
        }
        await #expect(processExitsWith: .failure) {
            let ring = try JobRing()
            ring.give(JobRingTests.job(), at: 0)
            _ = ring.takeAway(0)
        }
        await #expect(processExitsWith: .failure) {
            let ring = try JobRing()
            ring.give(JobRingTests.job(), at: 0)
            ring.work(at: 0) { $0.nanoseconds = 1 }
        }
        await #expect(processExitsWith: .failure) {
            let ring = try JobRing()
            ring.finish(0)
        }
    }
}
