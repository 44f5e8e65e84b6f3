// When a loop looks for completions instead of sleeping.

import Testing

@testable import Loop

@Suite struct BusyPollingTests {
    private func waits(_ polling: inout BusyPolling, _ nanoseconds: UInt64, until expectsSoon: Bool) -> Int {
        var count = 0
        while polling.expectsSoon != expectsSoon, count < 1000 {
            polling.learn(nanoseconds: nanoseconds)
            count += 1
        }
        return count
    }

    @Test func shortWaitsHaveToBeTheRule() {
        var polling = BusyPolling()
        #expect(!polling.expectsSoon)
        let first = waits(&polling, 60_000, until: true)
        #expect((10..<40).contains(first))
        let interruption = waits(&polling, 1_000_000_000, until: false)
        #expect(interruption == 1)
        let again = waits(&polling, 20_000, until: true)
        #expect((2..<10).contains(again))
    }

    @Test(arguments: [BusyPolling.limitNanoseconds + 1000, 200_000, 1_000_000, UInt64.max])
    func whoAsksNowAndThenIsWaitedForAsleep(nanoseconds: UInt64) {
        var polling = BusyPolling()
        for _ in 0..<1000 { polling.learn(nanoseconds: nanoseconds) }
        #expect(!polling.expectsSoon)
    }
}
