// The text that Prometheus reads: numbers, labels from outside, and what promtool says of all of it.

import Foundation
import Support
import Testing

@testable import Counters

@Suite struct PrometheusTextTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    @Test func secondsAreExact() {
        #expect(PrometheusText.seconds(nanoseconds: 0) == "0")
        #expect(PrometheusText.seconds(nanoseconds: 1) == "0.000000001")
        #expect(PrometheusText.seconds(nanoseconds: 1000) == "0.000001")
        #expect(PrometheusText.seconds(nanoseconds: 8_388_608_000) == "8.388608")
        #expect(PrometheusText.seconds(nanoseconds: 20_000_000_000) == "20")
        #expect(PrometheusText.seconds(nanoseconds: .max) == "18446744073.709551615")
    }

    @Test func labelsAreEscaped() {
        let labels = PrometheusLabels(["export": "a\"b\\c\nd{e},f=\"g\""]).adding("command", "read")
        #expect(labels.text == #"{export="a\"b\\c\nd{e},f=\"g\"",command="read"}"#)
        #expect(PrometheusLabels([:]).text == "")
    }

    @Test func aHistogramIsCumulative() {
        var figures = CommandFigures()
        figures.buckets[0] = 1
        figures.buckets[2] = 2
        figures.buckets[LatencyBuckets.boundedCount] = 4
        figures.nanoseconds = 1_500_000_000
        var text = PrometheusText()
        text.histogram("x_seconds", PrometheusLabels(["a": "b"]), figures)
        let lines = text.text.split(separator: "\n")
        #expect(lines.count == 27)
        #expect(
            lines.prefix(4) == [
                #"x_seconds_bucket{a="b",le="0.000001"} 1"#, #"x_seconds_bucket{a="b",le="0.000002"} 1"#,
                #"x_seconds_bucket{a="b",le="0.000004"} 3"#, #"x_seconds_bucket{a="b",le="0.000008"} 3"#,
            ])
        #expect(
            lines.suffix(4) == [
                #"x_seconds_bucket{a="b",le="8.388608"} 3"#, #"x_seconds_bucket{a="b",le="+Inf"} 7"#,
                #"x_seconds_sum{a="b"} 1.5"#, #"x_seconds_count{a="b"} 7"#,
            ])
    }

    /// Names that end a label, a line, or the text, if they are not escaped.
    @Test func hostileNamesStayInTheirLabels() throws {
        let names = [
            "disk", #"" } 1"#, #"\"#, #"\""#, "a\nb 5", "\n# TYPE spindle_requests_total gauge\n", "{}", "e=\"f\",",
            "\r", "\u{1B}[31m", "\u{2028}", "🚲", String(repeating: "\"", count: 4096), "",
        ]
        let counters = try ExportCounters(loopCount: 1)
        withExtendedLifetime(counters) {
            for kind in CommandKind.allCases { counters.cells(of: 0).bucket(kind, 3).add() }
        }
        let metrics = Metrics(
            exports: names.map {
                Metrics.Export(
                    name: $0, sizeBytes: .max, connections: 1, unflushedBytes: 7, hasFailedFlush: false,
                    figures: counters.figures())
            },
            loops: try LoopCounters(loopCount: 1))
        let text = metrics.prometheusText
        try check(text)
        // A name that got out of its label would bring lines of its own.
        let perExport = text.split(separator: "\n").filter { $0.contains(#"export="disk""#) }.count
        let ofExports = text.split(separator: "\n").filter { $0.contains("{export=") }.count
        #expect(ofExports == perExport * names.count)
        // promtool does not mind two samples of one name and labels, but Prometheus does.
        let samples = text.split(separator: "\n").map { $0.prefix(upTo: $0.lastIndex(of: " ") ?? $0.endIndex) }
        #expect(Set(samples).count == samples.count)
    }

    /// promtool, Prometheus' own parser and lint, has nothing against a text.
    private func check(_ text: String) throws {
        let result = try Program.tool("promtool").run(["check", "metrics"], input: Array(text.utf8), in: folder)
        #expect(result.status == 0)
        #expect(result.text + result.errors == "")
    }

    /// The parser that the other tests rely on finds faults.
    @Test func promtoolComplains() throws {
        for text in [
            "spindle_x{a=\"b\"c\"} 1\n", "# HELP a b\n# TYPE a counter\na 1\n",
            "# HELP a_total b\n# TYPE a_total gauge\na_total 1\n",
        ] {
            let result = try Program.tool("promtool").run(["check", "metrics"], input: Array(text.utf8), in: folder)
            #expect(result.status != 0, "\(text)")
        }
    }
}
