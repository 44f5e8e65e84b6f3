// The buckets of a latency histogram: powers of two in microseconds.

/// Bucket `n` has what took at most 2^n microseconds and more than those before it; the last one has the rest.
@usableFromInline enum LatencyBuckets {
    /// With an upper bound: 1 microsecond to 8.4 seconds.
    @inlinable static var boundedCount: Int { 24 }
    @inlinable static var count: Int { boundedCount + 1 }

    /// The bucket of a duration.
    static func index(nanoseconds: UInt64) -> Int {
        // Whole microseconds less than the duration: then a bound itself is still inside, as Prometheus' `le` promises.
        let microseconds = (max(nanoseconds, 1) &- 1) / 1000
        return min(UInt64.bitWidth &- microseconds.leadingZeroBitCount, boundedCount)
    }

    /// The longest duration of a bucket that has a bound.
    static func boundMicroseconds(_ index: Int) -> UInt64 {
        1 << UInt64(index)
    }
}
