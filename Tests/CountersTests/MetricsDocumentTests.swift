// Texts about the metrics beside the program: the table in the documents, the alerts for Prometheus.

import Foundation
import Support
import Testing

@testable import Counters

@Suite struct MetricsDocumentTests {
    private let folder: TemporaryFolder
    private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    init() throws {
        folder = try TemporaryFolder()
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The metrics of a server without exports: their names are announced all the same.
    private func announced() throws -> [(name: String, type: String)] {
        let metrics = Metrics(exports: [], loops: try LoopCounters(loopCount: 1))
        return metrics.prometheusText.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map {
            let words = $0.split(separator: " ")
            return (String(words[2]), String(words[3]))
        }
    }

    @Test func theTableIsComplete() throws {
        let rows = try text("docs/operations.md").split(separator: "\n").filter { $0.hasPrefix("| `spindle_") }
        let documented = rows.map { row in
            row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        let announced = try announced()
        #expect(documented.map { $0[0] } == announced.map { "`\($0.name)`" })
        #expect(documented.map { $0[1] } == announced.map(\.type))
    }

    /// Alerts about metrics that do not exist would never go off, and nobody would know.
    @Test func theAlertsAreAboutMetricsThatExist() throws {
        let names = Set(try announced().map(\.name))
        let used = try text("contrib/prometheus/spindle.rules.yml").matches(of: /spindle_\w+/).map { String($0.output) }
        #expect(used.count >= 3)
        for name in used { #expect(names.contains(name.replacing(/_bucket$/, with: "")), "\(name)") }
    }

    @Test func promtoolAcceptsTheFiles() throws {
        let promtool = try Program.tool("promtool")
        let contrib = root.path + "/contrib/prometheus/"
        for arguments in [["rules", contrib + "spindle.rules.yml"], ["config", contrib + "prometheus.yml"]] {
            let result = try promtool.run(["check"] + arguments, in: folder)
            #expect(result.status == 0, "\(result.text)\(result.errors)")
        }
    }

    /// Each alert goes off when there is reason to, and not otherwise: one export fails, is slow, one server is full.
    @Test func theAlertsGoOff() throws {
        let cases = """
            rule_files:
              - \(root.path)/contrib/prometheus/spindle.rules.yml
            evaluation_interval: 1m
            tests:
              - interval: 1m
                input_series:
                  - series: 'spindle_request_errors_total{instance="a",export="bad",command="read",error="EIO"}'
                    values: '0 0 0 1 1x30'
                  - series: 'spindle_request_errors_total{instance="a",export="odd",command="read",error="EINVAL"}'
                    values: '0+5x30'
                  - series: 'spindle_request_seconds_bucket{instance="a",export="slow",command="write",le="0.262144"}'
                    values: '0+50x30'
                  - series: 'spindle_request_seconds_bucket{instance="a",export="slow",command="write",le="1.048576"}'
                    values: '0+100x30'
                  - series: 'spindle_request_seconds_bucket{instance="a",export="slow",command="write",le="+Inf"}'
                    values: '0+100x30'
                  - series: 'spindle_request_seconds_bucket{instance="a",export="fast",command="write",le="0.262144"}'
                    values: '0+100x30'
                  - series: 'spindle_request_seconds_bucket{instance="a",export="fast",command="write",le="+Inf"}'
                    values: '0+100x30'
                  - series: 'spindle_connections_refused_total{instance="a",loop="0"}'
                    values: '0+1x30'
                  - series: 'spindle_connections_refused_total{instance="b",loop="0"}'
                    values: '7x30'
                  - series: 'spindle_flush_failed{instance="a",export="lost"}'
                    values: '0 0 1x30'
                  - series: 'spindle_flush_failed{instance="a",export="fast"}'
                    values: '0x30'
                promql_expr_test:
                  - expr: count by (alertname, export, instance) (ALERTS{alertstate="firing"})
                    eval_time: 5m
                    exp_samples:
                      - labels: '{alertname="SpindleFlushFailed",export="lost",instance="a"}'
                        value: 1
                      - labels: '{alertname="SpindleErrors",export="bad",instance="a"}'
                        value: 1
                      - labels: '{alertname="SpindleRefusesConnections",instance="a"}'
                        value: 1
                  - expr: count by (alertname, export, instance) (ALERTS{alertstate="firing"})
                    eval_time: 20m
                    exp_samples:
                      - labels: '{alertname="SpindleFlushFailed",export="lost",instance="a"}'
                        value: 1
                      - labels: '{alertname="SpindleSlow",export="slow",instance="a"}'
                        value: 1
                      - labels: '{alertname="SpindleRefusesConnections",instance="a"}'
                        value: 1
            """
        let file = folder.path + "/alerts.yml"
        try Data(cases.utf8).write(to: URL(fileURLWithPath: file))
        let result = try Program.tool("promtool").run(["test", "rules", file], in: folder)
        #expect(result.status == 0, "\(result.text)\(result.errors)")
    }
}
