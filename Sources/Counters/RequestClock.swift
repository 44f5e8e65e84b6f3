// How long requests take: two looks at the clock a turn, however many requests there are.

import IOUring

/// The facts of a request before it is answered.
public struct RequestMeasure {
    /// The kind that it is counted as.
    public var kind: CommandKind
    /// When it had arrived completely; 0 before that, and for one that is refused.
    public var arrival: UInt64
    /// For a FLUSH: what had been written when it began.
    public var writtenBefore: UInt64 = 0
    /// The error that it is answered with.
    public var error: ErrorKind?
    /// It has been counted: its first reply could not be sent.
    public var isCounted = false

    /// Describes a request.
    @inlinable public init(kind: CommandKind, arrival: UInt64 = 0, error: ErrorKind? = nil) {
        self.kind = kind
        self.arrival = arrival
        self.error = error
    }
}

/// Requests that were answered in this turn and wait for the time at which they are.
///
/// A request's time begins with the turn that found its last byte, for that byte was there when the turn began; it ends
/// when the turn that made its reply ready begins to send, as all replies leave together. So each turn looks at the
/// clock when it begins and before it sends, and what is between costs each request a few additions.
public struct RequestClock: ~Copyable {
    @usableFromInline struct Answer {
        @usableFromInline let cells: ExportCells
        @usableFromInline let measure: RequestMeasure
        @usableFromInline let bytes: UInt64

        @inlinable init(_ cells: ExportCells, _ measure: RequestMeasure, _ bytes: UInt64) {
            self.cells = cells
            self.measure = measure
            self.bytes = bytes
        }
    }

    private let source: MonotonicClock
    @usableFromInline var answers = FixedList<Answer>(capacity: 128)
    /// When the running turn began.
    public private(set) var turnStart: UInt64

    /// A clock in its first turn.
    public init(_ source: MonotonicClock = MonotonicClock()) {
        self.source = source
        turnStart = source.now()
    }

    /// The time.
    public func now() -> UInt64 { source.now() }

    /// The loop has woken.
    public mutating func beginTurn() {
        turnStart = now()
    }

    /// A request has its answer.
    @inlinable public mutating func answer(_ measure: RequestMeasure, bytes: UInt64, _ cells: ExportCells) {
        if answers.isFull { settle() }
        answers.append(Answer(cells, measure, bytes))
    }

    /// The replies leave: counts them.
    public mutating func settle() {
        guard !answers.isEmpty else { return }
        let end = now()
        for number in 0..<answers.count {
            let (cells, measure, bytes) = (answers[number].cells, answers[number].measure, answers[number].bytes)
            let duration = end &- (measure.arrival == 0 ? turnStart : measure.arrival)
            cells.bucket(measure.kind, LatencyBuckets.index(nanoseconds: duration)).add()
            cells.nanoseconds(measure.kind).add(duration)
            if let error = measure.error {
                cells.errors(measure.kind, error).add()
            } else {
                cells.bytes(measure.kind).add(bytes)
            }
        }
        answers.removeAll()
    }
}
