// How long requests took: a log-linear histogram, after the idea of HdrHistogram. Each power of two is cut into 128
// equal parts, so that a percentile is off by less than 1 % of itself, whatever its size, in 34 KiB.

/// Counts of durations in nanoseconds.
public struct LatencyHistogram: Equatable, Sendable {
    private static let partBits = 7
    /// Longer durations, above 18 minutes, are counted as this one.
    private static let limit: UInt64 = 1 << 40 - 1
    private static let bucketCount = bucket(of: limit) + 1

    private var counts = [UInt64](repeating: 0, count: bucketCount)
    /// How many durations there are.
    public private(set) var count: UInt64 = 0
    /// The longest of them.
    public private(set) var maximum: UInt64 = 0
    private var sum: UInt64 = 0

    /// An empty histogram.
    public init() {}

    /// Where a duration is counted: exactly below 256, then by its highest eight bits.
    private static func bucket(of value: UInt64) -> Int {
        let shift = max(0, 63 - partBits - value.leadingZeroBitCount)
        return shift << partBits + Int(truncatingIfNeeded: value >> UInt64(shift))
    }

    /// The longest duration that is counted there.
    private static func upperBound(of bucket: Int) -> UInt64 {
        let shift = max(0, bucket >> partBits - 1)
        return UInt64(bucket - shift << partBits + 1) << UInt64(shift) - 1
    }

    /// Counts a duration.
    public mutating func record(_ nanoseconds: UInt64) {
        counts[Self.bucket(of: min(nanoseconds, Self.limit))] &+= 1
        count &+= 1
        sum &+= nanoseconds
        maximum = max(maximum, nanoseconds)
    }

    /// Counts what another one has counted.
    public mutating func add(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        for bucket in counts.indices { counts[bucket] &+= other.counts[bucket] }
        count &+= other.count
        sum &+= other.sum
        maximum = max(maximum, other.maximum)
    }

    /// Forgets everything, and keeps the memory.
    public mutating func removeAll() {
        guard count > 0 else { return }
        for bucket in counts.indices { counts[bucket] = 0 }
        count = 0
        sum = 0
        maximum = 0
    }

    /// The mean of all durations; 0 without any.
    public var mean: UInt64 {
        count == 0 ? 0 : sum / count
    }

    /// The duration that so many percent of all do not exceed; 0 without any.
    public func percentile(_ percent: Double) -> UInt64 {
        let wanted = max(1, UInt64((Double(count) * percent / 100).rounded(.up)))
        var seen: UInt64 = 0
        for bucket in counts.indices where counts[bucket] > 0 {
            seen += counts[bucket]
            if seen >= wanted { return min(Self.upperBound(of: bucket), maximum) }
        }
        return maximum
    }
}
