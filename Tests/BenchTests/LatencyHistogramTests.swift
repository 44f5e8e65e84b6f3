// The histogram of latencies, against the sorted durations themselves.

import Seeded
import Testing

@testable import Bench

@Suite struct LatencyHistogramTests {
    private func percentile(_ percent: Double, of sorted: [UInt64]) -> UInt64 {
        sorted[max(0, Int((Double(sorted.count) * percent / 100).rounded(.up)) - 1)]
    }

    /// Durations from nanoseconds to minutes, most of them short: no percentile is too low, or too high by 1 %.
    @Test(arguments: 0..<20)
    func percentilesAreThoseOfTheSortedDurations(round: Int) {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        var histogram = LatencyHistogram()
        var durations: [UInt64] = []
        for _ in 0..<Int.random(in: 1...3000, using: &generator) {
            let duration = generator.next() >> UInt64.random(in: 26...64, using: &generator)
            durations.append(duration)
            histogram.record(duration)
        }
        durations.sort()
        #expect(histogram.count == UInt64(durations.count), "seed \(seed)")
        #expect(histogram.maximum == durations.last, "seed \(seed)")
        #expect(histogram.mean == durations.reduce(0, +) / UInt64(durations.count), "seed \(seed)")
        for percent in [0, 1, 25, 50, 90, 99, 99.9, 100] {
            let truth = percentile(percent, of: durations)
            let told = histogram.percentile(percent)
            #expect(
                told >= truth && told <= truth + truth / 100, "p\(percent): \(told), \(truth) is true; seed \(seed)")
        }
    }

    @Test func shortDurationsAreExact() {
        for duration in 0..<UInt64(256) {
            var histogram = LatencyHistogram()
            histogram.record(duration)
            // Something longer, so that it is not the maximum that is told.
            histogram.record(1 << 20)
            #expect(histogram.percentile(50) == duration)
        }
    }

    @Test func addingIsCountingTogether() {
        var first = LatencyHistogram()
        var second = LatencyHistogram()
        var both = LatencyHistogram()
        for duration in stride(from: UInt64(1), to: 1 << 38, by: 1 << 28 + 12345) {
            first.record(duration)
            second.record(duration / 1000)
            both.record(duration)
            both.record(duration / 1000)
        }
        first.add(second)
        #expect(first == both)
        first.removeAll()
        #expect(first == LatencyHistogram())
    }

    @Test func theEmptyAndTheEndless() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(99) == 0 && histogram.mean == 0)
        histogram.record(.max)
        #expect(histogram.maximum == .max && histogram.count == 1)
        #expect(histogram.percentile(50) >= 1 << 40 - 1)
    }
}
