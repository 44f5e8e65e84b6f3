// What has happened in a simulation: the last events in words, and a number for all of them.

import Logging
import Synchronization

/// The events of a run. Two runs of one seed have the same.
final class Trace: Sendable {
    private static let kept = 400

    private struct State {
        var lines: [String] = []
        var next = 0
        var count = 0
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    }

    private let state = Mutex(State())

    /// Something has happened, at a time in nanoseconds. What is only a remark may differ from run to run.
    func note(_ time: UInt64, _ text: String, isRemark: Bool = false) {
        state.withLock { state in
            if !isRemark {
                for byte in text.utf8 { state.hash = (state.hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
                state.hash = (state.hash ^ time) &* 0x100_0000_01B3
            }
            state.count += 1
            let line = "\(time / 1000) us: \(text)"
            if state.lines.count < Self.kept {
                state.lines.append(line)
            } else {
                state.lines[state.next] = line
                state.next = (state.next + 1) % Self.kept
            }
        }
    }

    /// The same for all runs with the same events.
    var hash: UInt64 { state.withLock { $0.hash } }
    var count: Int { state.withLock { $0.count } }

    /// The last events, the oldest first.
    func last(_ count: Int) -> [String] {
        state.withLock { state in
            let ordered = state.lines[state.next...] + state.lines[..<state.next]
            return Array(ordered.suffix(count))
        }
    }
}

/// What the server's log says goes into the trace.
struct TraceHandler: LogHandler {
    let trace: Trace
    let now: @Sendable () -> UInt64
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.debug

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        trace.note(now(), "log: \(event.message) \(fields.joined(separator: " "))", isRemark: true)
    }
}
