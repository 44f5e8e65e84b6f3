// Requests out of bytes: what is understood, what is refused and how, however the bytes are cut.

import Testing

@testable import Control

/// Gives bytes to a reader in pieces of a size.
private func read(_ bytes: [UInt8], pieces: Int) -> HTTPRequestReader.Step {
    var reader = HTTPRequestReader()
    var rest = bytes[...]
    while true {
        let step = reader.advance(rest.prefix(pieces))
        rest = rest.dropFirst(pieces)
        switch step {
        case .needMoreBytes, .sendContinue: if rest.isEmpty { return step }
        case .request, .refuse: return step
        }
    }
}

private func read(_ text: String) -> HTTPRequestReader.Step { read(Array(text.utf8), pieces: 4096) }

private func status(_ text: String) -> HTTPStatus? {
    if case .refuse(let failure) = read(text) { failure.status } else { nil }
}

@Suite struct HTTPRequestReaderTests {
    @Test(arguments: [1, 2, 3, 5, 7, 4096], ["\r\n", "\n"])
    func aRequestIsReadHoweverItIsCut(pieces: Int, lineEnd: String) throws {
        let lines = [
            "PUT /v1/log-level?a=1&b HTTP/1.1", "Host: localhost", "content-length:  18 ", "X-Y: z: \t", "", "",
        ]
        let bytes = Array((lines.joined(separator: lineEnd) + "{\"level\": \"debug\"}").utf8)
        guard case .request(let request) = read(bytes, pieces: pieces) else {
            Issue.record("\(read(bytes, pieces: pieces))")
            return
        }
        #expect(request.method == "PUT")
        #expect(request.path == ["v1", "log-level"])
        #expect(request.query.map(\.name) == ["a", "b"])
        #expect(request.query.map(\.value) == ["1", ""])
        #expect(String(decoding: request.body, as: UTF8.self) == "{\"level\": \"debug\"}")
        // Nothing less is one.
        for count in 0..<bytes.count where pieces == 4096 {
            #expect(read(Array(bytes[..<count]), pieces: 4096) == .needMoreBytes, "\(count)")
        }
    }

    @Test func emptyLinesBeforeARequestAreSkipped() {
        guard case .request = read("\r\n\n\r\nGET / HTTP/1.0\r\n\r\n") else {
            Issue.record("not read")
            return
        }
    }

    @Test func namesInPathsArePercentDecoded() throws {
        func path(_ target: String) throws -> [String] {
            try HTTPRequest(method: "GET", target: target, body: []).path
        }
        #expect(try path("/v1/exports/a%2Fb%20%25%c3%a4") == ["v1", "exports", "a/b %ä"])
        #expect(try path("/v1/exports/..") == ["v1", "exports", ".."])
        #expect(try path("http://localhost:80/v1") == ["v1"])
        #expect(try path("http://localhost") == [""])
        #expect(try path("/v1/") == ["v1", ""])
        for target in ["*", "v1", "", "ftp://localhost/"] {
            let failure = HTTPFailure(
                .badRequest, "the request's target '\(target)' is no path; /v1/exports is one, say")
            #expect(throws: failure, "\(target)") { try path(target) }
        }
        for (target, part) in [("/%", "%"), ("/%2", "%2"), ("/a/%zz", "%zz"), ("/?%", "%"), ("/?a=b%", "b%")] {
            let failure = HTTPFailure(
                .badRequest, "'\(part)' has a '%' without two hexadecimal digits; a '%' itself is written as %25")
            #expect(throws: failure, "\(target)") { try path(target) }
        }
        #expect(throws: HTTPFailure(.badRequest, "'%ff' is no percent-encoded UTF-8")) { try path("/%ff") }
    }

    @Test func whatTwoReadersCouldUnderstandInTwoWaysIsRefused() {
        let cases: [(String, HTTPStatus)] = [
            ("GET / HTTP/1.1\r\n\r\n", .badRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .badRequest),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .versionNotSupported),
            ("GET /\r\n\r\n", .badRequest),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .badRequest),
            ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", .badRequest),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .badRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", .badRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", .badRequest),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", .badRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .badRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", .badRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", .badRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", .badRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", .contentTooLarge),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", .contentTooLarge),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthRequired),
        ]
        for (text, expected) in cases { #expect(status(text) == expected, "\(text)") }
    }

    @Test func aHeaderHasAnEnd() {
        let line =
            "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "x", count: HTTPRequestReader.maximumHeadBytes)
        // With and without its end, and without any line.
        #expect(status(line) == .requestHeaderFieldsTooLarge)
        #expect(status(line + "\r\n\r\n") == .requestHeaderFieldsTooLarge)
        #expect(status(String(repeating: "x", count: 20_000)) == .requestHeaderFieldsTooLarge)
        var reader = HTTPRequestReader()
        var received = 0
        while reader.advance([UInt8](repeating: UInt8(ascii: "x"), count: 100)) == .needMoreBytes { received += 100 }
        #expect(received <= HTTPRequestReader.maximumHeadBytes)
    }

    @Test func whoWaitsForContinueIsToldOnce() {
        var reader = HTTPRequestReader()
        let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        #expect(reader.advance(head.utf8) == .sendContinue)
        #expect(reader.advance("{".utf8) == .needMoreBytes)
        guard case .request = reader.advance("}".utf8) else {
            Issue.record("not read")
            return
        }
    }
}
