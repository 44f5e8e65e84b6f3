// How long requests take: two looks at the clock a turn, however many requests there are.

import Glibc
import NBD

/// What is known of a request before it is answered.
struct RequestMeasure {
    /// What it is counted as.
    var kind: CommandKind
    /// When it had arrived completely; 0 before that, and for one that is refused.
    var arrival: UInt64 = 0
    /// For a FLUSH: what had been written when it began.
    var writtenBefore: UInt64 = 0
    /// What it is answered with.
    var error: NBDError?
}

/// Requests that were answered in this turn and wait for the time at which they are.
///
/// A request's time begins with the turn that found its last byte, for that byte was there when the turn began; it ends
/// when the turn that made its reply ready begins to send, as all replies leave together. So each turn looks at the clock
/// when it begins and before it sends, and what is between costs each request a few additions.
@safe
struct RequestClock: ~Copyable {
    private struct Answer {
        var cells: ExportCells
        var arrival: UInt64
        var bytes: UInt64
        var kind: CommandKind
        var error: NBDError?
    }

    private static let capacity = 128
    private let answers: UnsafeMutablePointer<Answer>
    private var count = 0
    /// When the running turn began.
    private(set) var turnStart = now()

    init() {
        unsafe answers = UnsafeMutablePointer<Answer>.allocate(capacity: Self.capacity)
    }

    deinit {
        unsafe answers.deallocate()
    }

    /// Nanoseconds of CLOCK_MONOTONIC, which are no system call.
    static func now() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(bitPattern: Int64(time.tv_sec &* 1_000_000_000 &+ time.tv_nsec))
    }

    /// The loop has woken.
    mutating func beginTurn() {
        turnStart = Self.now()
    }

    /// A request has its answer.
    mutating func answer(_ measure: RequestMeasure, bytes: UInt64, _ cells: ExportCells) {
        if count == Self.capacity { settle() }
        unsafe (answers + count).initialize(
            to: Answer(
                cells: cells, arrival: measure.arrival == 0 ? turnStart : measure.arrival, bytes: bytes,
                kind: measure.kind, error: measure.error))
        count &+= 1
    }

    /// The replies leave: counts them.
    mutating func settle() {
        guard count > 0 else { return }
        let end = Self.now()
        for number in 0..<count {
            let answer = unsafe answers[number]
            let duration = end &- answer.arrival
            answer.cells.bucket(answer.kind, LatencyBuckets.index(nanoseconds: duration)).add()
            answer.cells.nanoseconds(answer.kind).add(duration)
            if let error = answer.error {
                answer.cells.errors(answer.kind, error).add()
            } else {
                answer.cells.bytes(answer.kind).add(answer.bytes)
            }
        }
        count = 0
    }
}
