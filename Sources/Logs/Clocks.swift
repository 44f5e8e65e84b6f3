// The two clocks: the time of day for people, and one that nobody sets for waiting.

import Glibc

/// A time of day, in UTC.
struct WallTime: Sendable {
    let secondsSince1970: Int
    let microseconds: Int

    static func now() -> WallTime {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(secondsSince1970: time.tv_sec, microseconds: time.tv_nsec / 1000)
    }

    /// As RFC 3339 has it.
    var text: String {
        var seconds = secondsSince1970
        var parts = unsafe tm()
        unsafe gmtime_r(&seconds, &parts)
        let date = unsafe [digits(parts.tm_year + 1900, 4), digits(parts.tm_mon + 1, 2), digits(parts.tm_mday, 2)]
        let hours = unsafe [digits(parts.tm_hour, 2), digits(parts.tm_min, 2), digits(parts.tm_sec, 2)]
        return date.joined(separator: "-") + "T" + hours.joined(separator: ":") + "."
            + digits(Int32(microseconds), 6) + "Z"
    }

    private func digits(_ number: Int32, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }
}

/// Milliseconds of a clock that nobody sets.
func monotonicMilliseconds() -> Int {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}
