// The metrics that a server has: their names, what they say, and their samples.

/// Everything that is counted, at one moment.
public struct Metrics {
    /// The facts about an export.
    public struct Export: Sendable {
        /// The name that clients ask for.
        public var name: String
        /// Its size.
        public var sizeBytes: UInt64
        /// How many have it open.
        public var connections: Int
        /// Written and answered, but not made stable by a FLUSH since.
        public var unflushedBytes: UInt64
        /// Flushes fail until the loss is accepted.
        public var hasFailedFlush: Bool
        /// Its counts.
        public var figures: ExportFigures

        /// Describes an export.
        public init(
            name: String, sizeBytes: UInt64, connections: Int, unflushedBytes: UInt64, hasFailedFlush: Bool,
            figures: ExportFigures
        ) {
            self.name = name
            self.sizeBytes = sizeBytes
            self.connections = connections
            self.unflushedBytes = unflushedBytes
            self.hasFailedFlush = hasFailedFlush
            self.figures = figures
        }
    }

    private let exports: [Export]
    private let loops: LoopCounters

    /// The metrics of these exports and loops.
    public init(exports: [Export], loops: LoopCounters) {
        self.exports = exports
        self.loops = loops
    }

    /// As Prometheus reads it.
    public var prometheusText: String {
        var text = PrometheusText()
        for metric in ExportMetric.allCases {
            text.begin(metric.rawValue, metric.kind, help: metric.help)
            for export in exports { metric.write(export, to: &text) }
        }
        for metric in LoopMetric.allCases {
            text.begin(metric.rawValue, metric.kind, help: metric.help)
            for loop in 0..<loops.loopCount { metric.write(loops.cells(of: loop), loop: loop, to: &text) }
        }
        return text.text
    }
}

/// A metric of an export.
enum ExportMetric: String, CaseIterable {
    case requests = "spindle_requests_total"
    case bytes = "spindle_request_bytes_total"
    case errors = "spindle_request_errors_total"
    case seconds = "spindle_request_seconds"
    case inFlight = "spindle_requests_in_flight"
    case highestInFlight = "spindle_requests_in_flight_highest"
    case unflushed = "spindle_unflushed_bytes"
    case flushFailed = "spindle_flush_failed"
    case connections = "spindle_export_connections"
    case size = "spindle_export_size_bytes"

    var kind: PrometheusText.Kind {
        switch self {
        case .requests, .bytes, .errors: .counter
        case .seconds: .histogram
        case .inFlight, .highestInFlight, .unflushed, .flushFailed, .connections, .size: .gauge
        }
    }

    var help: String {
        switch self {
        case .requests: "Requests that were answered."
        case .bytes: "Bytes that successful requests were about."
        case .errors:
            "Requests that were answered with an error, by NBD's name of it, or by that of what only initiators hear."
        case .seconds: "Time from a request's complete arrival until its reply was ready to leave."
        case .inFlight: "Requests that have arrived and are not answered."
        case .highestInFlight: "The most requests in flight at a time on one loop."
        case .unflushed: "Bytes that were written and answered, and that no FLUSH has made stable since."
        case .flushFailed: "1 after a flush of the image has failed: flushes fail until the loss is accepted."
        case .connections: "Connections that have the export open."
        case .size: "Size of the export."
        }
    }

    fileprivate func write(_ export: Metrics.Export, to text: inout PrometheusText) {
        let labels = PrometheusLabels(["export": export.name])
        switch self {
        case .inFlight: text.sample(rawValue, labels, export.figures.inFlight)
        case .highestInFlight: text.sample(rawValue, labels, export.figures.highestInFlight)
        case .unflushed: text.sample(rawValue, labels, export.unflushedBytes)
        case .flushFailed: text.sample(rawValue, labels, export.hasFailedFlush ? 1 : 0)
        case .connections: text.sample(rawValue, labels, UInt64(export.connections))
        case .size: text.sample(rawValue, labels, export.sizeBytes)
        case .requests, .bytes, .errors, .seconds:
            for kind in CommandKind.allCases {
                write(export.figures.commands[kind.rawValue], of: kind, labels.adding("command", kind.label), to: &text)
            }
        }
    }

    /// Of a command that nobody has sent there is only the number of its requests, zero: with many exports the rest
    /// would be most of the text.
    private func write(
        _ figures: CommandFigures, of kind: CommandKind, _ labels: PrometheusLabels, to text: inout PrometheusText
    ) {
        switch self {
        case .requests:
            text.sample(rawValue, labels, figures.requests)
        case _ where figures.requests == 0:
            break
        case .bytes where kind.hasBytes:
            text.sample(rawValue, labels, figures.bytes)
        case .errors:
            for (error, count) in zip(ErrorKind.allCases, figures.errors) {
                text.sample(rawValue, labels.adding("error", error.label), count)
            }
        case .seconds:
            text.histogram(rawValue, labels, figures)
        default:
            break
        }
    }
}

/// A metric of a loop.
enum LoopMetric: String, CaseIterable {
    case connections = "spindle_connections"
    case accepted = "spindle_connections_accepted_total"
    case refused = "spindle_connections_refused_total"
    case ended = "spindle_connections_ended_total"
    case tlsHandshakes = "spindle_tls_handshakes_total"
    case receivedBytes = "spindle_received_bytes_total"
    case sentBytes = "spindle_sent_bytes_total"
    case buffersExhausted = "spindle_receive_buffers_exhausted_total"
    case turns = "spindle_loop_turns_total"
    case completions = "spindle_ring_completions_total"
    case submissions = "spindle_ring_submissions_total"
    case enters = "spindle_ring_enters_total"
    case fullQueues = "spindle_ring_submission_queue_full_total"

    var kind: PrometheusText.Kind {
        self == .connections ? .gauge : .counter
    }

    var help: String {
        switch self {
        case .connections: "Connections, those in the handshake included."
        case .accepted: "Connections that were accepted."
        case .refused: "Connections that were closed at once, because a limit was reached."
        case .ended: "Connections that have ended, by why."
        case .tlsHandshakes: "TLS handshakes that have succeeded or failed."
        case .receivedBytes: "Bytes received from clients, as they are on the wire."
        case .sentBytes: "Bytes sent to clients, as they are on the wire."
        case .buffersExhausted: "Receives that ended because a connection's buffers were full."
        case .turns: "Turns: the loop woke, worked off what had completed, and submitted what came of it."
        case .completions: "Completions taken from the ring."
        case .submissions: "Operations submitted to the ring."
        case .enters: "Calls of io_uring_enter."
        case .fullQueues: "How often the submission queue was full before the end of a turn."
        }
    }

    /// The count under this name, unless labels distinguish.
    private var count: LoopCount? {
        switch self {
        case .connections: .connections
        case .accepted: .accepted
        case .refused: .refused
        case .receivedBytes: .receivedBytes
        case .sentBytes: .sentBytes
        case .buffersExhausted: .buffersExhausted
        case .turns: .turns
        case .completions: .completions
        case .submissions: .submissions
        case .enters: .enters
        case .fullQueues: .fullQueues
        case .ended, .tlsHandshakes: nil
        }
    }

    fileprivate func write(_ cells: LoopCells, loop: Int, to text: inout PrometheusText) {
        let labels = PrometheusLabels(["loop": "\(loop)"])
        if let count {
            text.sample(rawValue, labels, cells[count].value)
        } else if self == .ended {
            for reason in EndReason.allCases {
                text.sample(rawValue, labels.adding("reason", reason.label), cells[reason].value)
            }
        } else {
            text.sample(rawValue, labels.adding("result", "success"), cells[.tlsHandshakes].value)
            text.sample(rawValue, labels.adding("result", "failure"), cells[.tlsFailures].value)
        }
    }
}
