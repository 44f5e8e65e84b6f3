// Prometheus' text format, version 0.0.4: HELP and TYPE of a metric, then its samples.

/// Metrics as text.
struct PrometheusText {
    /// The text so far.
    private(set) var text = ""

    /// The kind of number of a metric.
    enum Kind: String {
        case counter, gauge, histogram
    }

    /// Announces a metric; its samples follow.
    mutating func begin(_ name: String, _ kind: Kind, help: String) {
        text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(kind.rawValue)\n"
    }

    /// One number.
    mutating func sample(_ name: String, _ labels: PrometheusLabels, _ value: UInt64) {
        text += "\(name)\(labels.text) \(value)\n"
    }

    /// A histogram's samples: its buckets cumulated, its sum in seconds, its count.
    mutating func histogram(_ name: String, _ labels: PrometheusLabels, _ figures: CommandFigures) {
        var count: UInt64 = 0
        for (number, bucket) in figures.buckets.enumerated() {
            count &+= bucket
            let bound =
                number < LatencyBuckets.boundedCount
                ? Self.seconds(nanoseconds: 1000 * LatencyBuckets.boundMicroseconds(number)) : "+Inf"
            sample(name + "_bucket", labels.adding("le", bound), count)
        }
        text += "\(name)_sum\(labels.text) \(Self.seconds(nanoseconds: figures.nanoseconds))\n"
        sample(name + "_count", labels, count)
    }

    /// Seconds as a decimal fraction, exact.
    static func seconds(nanoseconds: UInt64) -> String {
        let fraction = String(nanoseconds % 1_000_000_000)
        var digits = String(repeating: "0", count: 9 - fraction.count) + fraction
        while digits.hasSuffix("0") { digits.removeLast() }
        return digits.isEmpty ? "\(nanoseconds / 1_000_000_000)" : "\(nanoseconds / 1_000_000_000).\(digits)"
    }

    /// Backslash and line feed are escaped, in a label's value the double quote, too.
    fileprivate static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// Labels of a sample, ready to be written.
struct PrometheusLabels {
    private var inside = ""

    /// Labels with their names, in their order.
    init(_ labels: KeyValuePairs<String, String>) {
        for (name, value) in labels { append(name, value) }
    }

    /// These labels and another one.
    func adding(_ name: String, _ value: String) -> PrometheusLabels {
        var copy = self
        copy.append(name, value)
        return copy
    }

    private mutating func append(_ name: String, _ value: String) {
        if !inside.isEmpty { inside += "," }
        inside += "\(name)=\"\(PrometheusText.escaped(value, quotes: true))\""
    }

    /// With braces; nothing without labels.
    var text: String { inside.isEmpty ? "" : "{\(inside)}" }
}
