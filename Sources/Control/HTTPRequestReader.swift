// HTTP/1.1 requests out of bytes (RFC 9112), with bounds: nothing that a client sends makes the reader keep more.
//
// One request a connection, its length known beforehand. Lines may end with a bare LF (2.2); everything else that two
// readers could understand in two ways is refused.

/// Puts one request together from the bytes of a connection.
struct HTTPRequestReader {
    /// The request line and the header fields together take so much, at most.
    static let maximumHeadBytes = 16_384
    /// The content takes so much, at most.
    static let maximumBodyBytes = 65_536

    /// The reader's next wish.
    enum Step: Equatable {
        /// More bytes are needed.
        case needMoreBytes
        /// The client waits for `100 Continue` before it sends the content (RFC 9110, 10.1.1); then more bytes are
        /// needed.
        case sendContinue
        /// The request is complete.
        case request(HTTPRequest)
        /// It will not be done.
        case refuse(HTTPFailure)
    }

    private struct Head {
        var method: String
        var target: String
        var contentLength = 0
        var expectsContinue = false
    }

    private var bytes: [UInt8] = []
    /// Where the search for the head's end goes on.
    private var searched = 0
    private var head: Head?

    /// Takes what was received.
    mutating func advance(_ received: some Sequence<UInt8>) -> Step {
        bytes += received
        do throws(HTTPFailure) {
            return try step()
        } catch {
            return .refuse(error)
        }
    }

    private mutating func step() throws(HTTPFailure) -> Step {
        if head == nil {
            guard let end = endOfHead() else {
                guard bytes.count <= Self.maximumHeadBytes else { throw Self.headTooLarge }
                return .needMoreBytes
            }
            guard end <= Self.maximumHeadBytes else { throw Self.headTooLarge }
            let parsed = try Self.parseHead(bytes[..<end])
            bytes.removeFirst(end)
            head = parsed
            if parsed.expectsContinue, bytes.isEmpty, parsed.contentLength > 0 { return .sendContinue }
        }
        guard let head, bytes.count >= head.contentLength else { return .needMoreBytes }
        // The rest would be another request; there is one a connection.
        let body = Array(bytes[..<head.contentLength])
        return .request(try HTTPRequest(method: head.method, target: head.target, body: body))
    }

    private static let headTooLarge = HTTPFailure(
        .requestHeaderFieldsTooLarge, "the request's header is longer than \(maximumHeadBytes) bytes")

    /// The index behind the empty line.
    private mutating func endOfHead() -> Int? {
        let isLineEnd = { (byte: UInt8) in byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n") }
        // Empty lines before the request are skipped (2.2), else they would be the head's end.
        if searched == 0 { bytes = Array(bytes.drop(while: isLineEnd)) }
        while searched < bytes.count {
            if bytes[searched] == UInt8(ascii: "\n") {
                let following = bytes[(searched + 1)...].prefix(2)
                if following.first == UInt8(ascii: "\n") { return searched + 2 }
                if following.elementsEqual([UInt8(ascii: "\r"), UInt8(ascii: "\n")]) { return searched + 3 }
                // Whether the next line is empty is not known yet.
                if following.count < 2 { return nil }
            }
            searched += 1
        }
        return nil
    }

    private static func parseHead(_ bytes: ArraySlice<UInt8>) throws(HTTPFailure) -> Head {
        let isText = bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }
        guard isText, let text = String(validating: bytes, as: UTF8.self) else {
            throw HTTPFailure(.badRequest, "this is no HTTP request: it has bytes that are no text; try curl")
        }
        // "\r\n" is one Character.
        let lines = text.split(whereSeparator: { $0 == "\r\n" || $0 == "\n" })
        guard let requestLine = lines.first else { throw HTTPFailure(.badRequest, "the request is empty") }
        let words = requestLine.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.count == 3, words[2].hasPrefix("HTTP/"), isToken(words[0]) else {
            throw HTTPFailure(
                .badRequest, "this is no HTTP request; its first line has to be like 'GET /v1/exports HTTP/1.1'")
        }
        guard words[2] == "HTTP/1.1" || words[2] == "HTTP/1.0" else {
            throw HTTPFailure(.versionNotSupported, "'\(words[2])' is not spoken here; HTTP/1.1 is")
        }
        var head = Head(method: words[0], target: words[1])
        try parseFields(lines.dropFirst(), into: &head, isVersion1_1: words[2] == "HTTP/1.1")
        return head
    }

    private static func parseFields(
        _ lines: ArraySlice<Substring>, into head: inout Head, isVersion1_1: Bool
    ) throws(HTTPFailure) {
        var length: String?
        var hosts = 0
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), isToken(line[..<colon]) else {
                throw HTTPFailure(.badRequest, "the header line '\(line)' is not of the form 'Name: value'")
            }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            let trimmed = String(value.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
            switch line[..<colon].lowercased() {
            case "content-length":
                guard length == nil || length == trimmed else {
                    throw HTTPFailure(.badRequest, "Content-Length is there twice: '\(length ?? "")' and '\(trimmed)'")
                }
                length = trimmed
            case "transfer-encoding":
                throw HTTPFailure(
                    .lengthRequired, "'Transfer-Encoding: \(trimmed)' is not taken; send the length in Content-Length")
            case "host":
                hosts += 1
            case "expect":
                head.expectsContinue = trimmed.lowercased() == "100-continue"
            default:
                break
            }
        }
        guard hosts == 1 || hosts == 0 && !isVersion1_1 else {
            throw HTTPFailure(.badRequest, "an HTTP/1.1 request has one Host line; this one has \(hosts)")
        }
        guard let length else { return }
        guard length.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }), !length.isEmpty else {
            throw HTTPFailure(.badRequest, "Content-Length is '\(length)'; it has to be a number of bytes")
        }
        guard let count = Int(length), count <= maximumBodyBytes else {
            throw HTTPFailure(
                .contentTooLarge, "a content of \(length) bytes is too long; the limit is \(maximumBodyBytes) bytes")
        }
        head.contentLength = count
    }

    /// RFC 9110, 5.6.2.
    private static func isToken(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }
}
