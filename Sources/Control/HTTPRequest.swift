// A request as it is understood: RFC 9110 for what it means, RFC 3986 for its target.

/// A request that arrived whole.
struct HTTPRequest: Equatable {
    /// A parameter of the target's query.
    struct Parameter: Equatable {
        let name: String
        let value: String
    }

    let method: String
    /// The path's segments, percent-decoded: a name may contain slashes.
    let path: [String]
    let query: [Parameter]
    let body: [UInt8]

    /// Takes a target apart.
    init(method: String, target: String, body: [UInt8]) throws(HTTPFailure) {
        self.method = method
        self.body = body
        // The absolute form (RFC 9112, 3.2.2): the authority is this server, whatever it is called.
        var rest = target[...]
        if rest.lowercased().hasPrefix("http://") {
            rest = rest.dropFirst("http://".count)
            rest = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        guard rest.hasPrefix("/") else {
            throw HTTPFailure(.badRequest, "the request's target '\(target)' is no path; /v1/exports is one, say")
        }
        let halves = rest.dropFirst().split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var path: [String] = []
        for segment in halves[0].split(separator: "/", omittingEmptySubsequences: false) {
            path.append(try Self.percentDecoded(segment))
        }
        self.path = path
        var query: [Parameter] = []
        for pair in halves.dropFirst().first?.split(separator: "&") ?? [] {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query.append(
                Parameter(
                    name: try Self.percentDecoded(sides[0]),
                    value: sides.count == 2 ? try Self.percentDecoded(sides[1]) : ""))
        }
        self.query = query
    }

    private static func percentDecoded(_ text: Substring) throws(HTTPFailure) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexadecimalDigit),
                let low = rest.popFirst().flatMap(hexadecimalDigit)
            else {
                throw HTTPFailure(
                    .badRequest, "'\(text)' has a '%' without two hexadecimal digits; a '%' itself is written as %25")
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else {
            throw HTTPFailure(.badRequest, "'\(text)' is no percent-encoded UTF-8")
        }
        return decoded
    }
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    default: nil
    }
}
