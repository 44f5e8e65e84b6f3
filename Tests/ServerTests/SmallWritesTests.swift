// Who does small writes.

import Testing

@testable import Server

@Suite struct SmallWritesTests {
    @Test func aStreamOfWritesGoesToWorkersThatHaveAProcessor() {
        var writes = SmallWrites()
        for _ in 0..<200 { writes.count(isWrite: true) }
        for (depth, hasIdleProcessor, isOwn) in [
            (32, true, false), (32, false, true), (1, true, true), (1, false, true),
        ] {
            let mayBegin = writes.mayBegin(depth: depth, hasIdleProcessor: hasIdleProcessor)
            #expect(mayBegin == isOwn)
        }
    }

    @Test func writesAmongReadsAreTheLoops() {
        var writes = SmallWrites()
        for number in 0..<400 {
            writes.count(isWrite: number % 2 == 0)
            let mayBegin = writes.mayBegin(depth: 32, hasIdleProcessor: true)
            #expect(mayBegin)
        }
    }

    /// How many go to workers until one is the loop's again.
    private func skipped(_ writes: inout SmallWrites) -> Int {
        var count = 0
        while !writes.mayBegin(depth: 1, hasIdleProcessor: false) { count += 1 }
        return count
    }

    @Test func slowOnesKeepTheLoopFromTheNext() {
        var writes = SmallWrites()
        var expected = SmallWrites.firstPenalty
        for _ in 0..<12 {
            writes.learn(nanoseconds: SmallWrites.slowNanoseconds + 1)
            let count = skipped(&writes)
            #expect(count == expected)
            expected = min(2 * expected, SmallWrites.largestPenalty)
        }
        for _ in 0..<SmallWrites.largestPenalty { writes.learn(nanoseconds: 3000) }
        writes.learn(nanoseconds: SmallWrites.slowNanoseconds + 1)
        let count = skipped(&writes)
        #expect(count == SmallWrites.firstPenalty)
    }

    private func isOwn(_ writes: inout SmallWrites) -> Bool {
        writes.mayBegin(depth: 8, hasIdleProcessor: true)
    }

    @Test func sharesStayInTheirBounds() {
        var writes = SmallWrites()
        for _ in 0..<10_000 { writes.count(isWrite: true) }
        #expect(!isOwn(&writes))
        for _ in 0..<10_000 { writes.count(isWrite: false) }
        #expect(isOwn(&writes))
        for _ in 0..<200 { writes.count(isWrite: true) }
        #expect(!isOwn(&writes))
    }
}
