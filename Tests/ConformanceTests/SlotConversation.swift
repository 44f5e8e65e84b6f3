// A conversation that is the same each time: every command and many options, so that whatever a connection's slot has
// kept of the client before shows in a byte of it.

import Foundation
import Support
import Testing

/// A server with two slots for connections, whose next clients are compared with those of a server that had none
/// before.
final class SlotServer {
    let image: ServedImage
    let key: TestKey
    private let controlPath: String
    private let controlFolder: TemporaryFolder
    /// Sockets that the server has open when nobody is connected. (Pipes are made when they are first needed.)
    private(set) var socketCountAtBegin = 0

    var server: RunningServer { image.server }

    /// Bytes that clients may do with what they like; the conversation is about those before.
    static let scratch = 8 << 20
    static let sizeBytes = 24 << 20

    init(_ options: [String] = []) throws {
        key = try TestKey()
        controlFolder = try TemporaryFolder()
        controlPath = controlFolder.path + "/control"
        image = try ServedImage(
            tls: "on", key, sizeBytes: Self.sizeBytes, content: pattern(1 << 20, seed: 9),
            options: [
                "--listen", "tcp:127.0.0.1:0", "--connections", "2", "--control", "unix:" + controlPath,
            ] + options + ["other=memory:8M"])
        socketCountAtBegin = try socketCount()
    }

    /// Asks the control socket.
    ///
    /// - Returns: the status, and the content.
    func ask(_ method: String, _ path: String, _ body: String = "") throws -> (status: Int, content: String) {
        let connection = try RawConnection(unix: controlPath)
        let header = "\(method) \(path) HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        try connection.send(Array("\(header)Content-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8))
        let text = connection.receiveAll()
        let status = try #require(Int(text.dropFirst(9).prefix(3)), "\(text)")
        return (status, text.components(separatedBy: "\r\n\r\n").dropFirst().joined())
    }

    /// The connections, as an operator sees them.
    func connections() throws -> [[String: Any]] {
        let content = try ask("GET", "/v1/connections").content
        let object = try JSONSerialization.jsonObject(with: Data(content.utf8)) as? [String: Any]
        return try #require(object?["connections"] as? [[String: Any]], "\(content)")
    }

    /// How many connections have ended with DISC or ABORT.
    func disconnectCount() throws -> Int {
        let metrics = try ask("GET", "/metrics").content
        let line = metrics.split(separator: "\n").first {
            $0.hasPrefix("spindle_connections_ended_total{") && $0.contains("\"disconnect\"")
        }
        return try #require(line.flatMap { Int($0.split(separator: " ").last ?? "") }, "\(metrics)")
    }

    /// Lets every loop see to what has come: it answers an operator behind that.
    func settle() throws {
        for _ in 0..<3 { _ = try connections() }
    }

    /// How much the server has sent.
    func sentBytes(afterSettling: Bool = false) throws -> Substring {
        if afterSettling { try settle() }
        let line = try ask("GET", "/metrics").content.split(separator: "\n").first {
            $0.hasPrefix("spindle_sent_bytes_total")
        }
        return try #require(line)
    }

    /// Waits until nobody is connected.
    func waitUntilEmpty() throws {
        try waitUntil("all connections have ended: \(server.log)") { try connections().isEmpty }
    }

    /// Sockets that the server has open.
    func socketCount() throws -> Int {
        try server.openFiles().count { $0 == "socket" }
    }
}

/// What one client of the conversation is like.
struct Speaker {
    var style: Style
    var tcp = false
    var tls = false

    /// Two at a time, which have both slots.
    static let pairs = [
        [Speaker(style: .simple), Speaker(style: .extended, tcp: true)],
        [Speaker(style: .simple, tcp: true), Speaker(style: .structured, tcp: true, tls: true)],
    ]
}

extension SlotServer {
    /// Has the conversation, twice, with as many clients as there are slots.
    ///
    /// - Returns: all that they were told.
    func converse() throws -> [UInt8] {
        try expectServedAlone()
        var told: [UInt8] = []
        for pair in Speaker.pairs {
            let before = try disconnectCount()
            var clients: [Client] = []
            for speaker in pair { clients.append(try greet(speaker)) }
            for (speaker, client) in zip(pair, clients) { try negotiate(client, speaker) }
            for client in clients { try talk(client) }
            for client in clients {
                try client.send(Request.disconnect.bytes(client.style))
                #expect(client.isClosedByServer(), "DISC is not followed by the end")
                told += client.transcript
            }
            try waitUntilEmpty()
            #expect(try disconnectCount() == before + clients.count)
        }
        return told
    }

    /// In each slot a client that is alone with its export: no fence is raised for it, which would be lowered again.
    private func expectServedAlone() throws {
        for client in try (0..<2).map({ _ in try server.negotiate() }).reversed() {
            try client.go("disk")
            #expect(try client.read(512, 512).count == 512)
            try client.send(Request.disconnect.bytes)
            #expect(client.isClosedByServer())
        }
        try waitUntilEmpty()
    }

    /// Connects, and looks how an operator sees that.
    private func greet(_ speaker: Speaker) throws -> Client {
        let client = try server.connect(tcp: speaker.tcp)
        client.isRecording = true
        try client.begin()
        let seen = try #require(try connections().last)
        #expect(seen["export"] == nil && seen["identity"] == nil && seen["encrypted"] as? Bool == false, "\(seen)")
        #expect(seen["requests-in-flight"] as? Int == 0)
        #expect((seen["seconds"] as? Int ?? 99) < 4, "\(seen)")
        return client
    }

    private func negotiate(_ client: Client, _ speaker: Speaker) throws {
        // Options that need what a slot could have from before.
        let queries = contextQueries("disk", ["base:allocation"])
        #expect(try client.askOnce(OptionNumber.setMetaContext, queries).type == ReplyType.errorInvalid)
        if speaker.tls { try client.startTLS(key.settings) }
        _ = try client.ask(OptionNumber.list)
        try client.negotiate(speaker.style)
        if speaker.style != .simple { try client.selectContexts("disk") }
        _ = try exportFacts(client.ask(OptionNumber.info, informationRequest("disk", [1, 2, 3])))
        // Twice what is read at a time, in an option that is stepped over.
        #expect(try client.askOnce(4242, pattern(60_000)).type == ReplyType.errorUnsupported)
        try client.go("disk")
    }

    private func talk(_ client: Client) throws {
        for request in Self.requests(client.style) {
            let reply = try client.perform(request.bytes)
            #expect(reply.error == request.error, "\(request.bytes.type) at \(request.bytes.offset): \(reply.message)")
        }
        client.isRecording = false
        // Many at a time, more than a connection has slots for requests.
        let writes = (0..<150).map { client.register(.write(2 << 20 | $0 * 4096, Self.small)) }
        try client.send(writes.flatMap(\.bytes))
        for _ in writes { #expect(try client.reply().error == 0) }
        for number in 0..<6 { try client.submit(.write(4 << 20 | number << 18, Self.large)) }
        for _ in 0..<6 { #expect(try client.reply().error == 0) }
        #expect(try client.read((2 << 20) + 149 * 4096, 4096).difference(from: Self.small) == nil)
        #expect(try client.read(4 << 20 | 5 << 18, 1 << 18).difference(from: Self.large) == nil)
        // Longer than a connection's own memory.
        try client.performSuccessfully(.write(4 << 20, Self.largest))
        #expect(try client.read(4 << 20, Self.largest.count).difference(from: Self.largest) == nil)
        client.isRecording = true
        try client.performSuccessfully(.read(512, 512))
    }

    private static let small = pattern(4096, seed: 3)
    private static let large = pattern(1 << 18, seed: 4)
    private static let largest = pattern(3 << 19, seed: 5)
    private static let beyond = pattern(200_000)

    /// Every command, and what comes of it.
    private static func requests(_ style: Style) -> [(bytes: Request, error: UInt32)] {
        let size = sizeBytes
        var all: [(bytes: Request, error: UInt32)] = [
            (.read(0, 4096), 0), (.write(65536, small + small), 0), (.write(65536, pattern(512, seed: 6)), 0),
            (.write(65536 + 700, pattern(99)), 0),
            // Nothing that is read in pieces is zero: as data or as a hole, depending on the page cache, that is as
            // good.
            (.read(65536, 4096), 0), (.read(65536 + 100, 3), 0), (.zero(65536, 65536), 0), (.trim(65536, 65536), 0),
            (.cache(0, 65536), 0), (.flush, 0),
            // Refused, with a payload to step over and without.
            (.write(size, beyond), ErrorNumber.noSpace), (.write(131_072, pattern(65536, seed: 7)), 0),
            (.read(size, 512), ErrorNumber.invalid), (.read(131_072, 65536), 0),
            (Request(type: 99), ErrorNumber.invalid), (.zero(131_072, 65536, flags: CommandFlag.noHole), 0),
            (.zero(131_072, 65536), 0), (.trim(131_072, 65536), 0),
        ]
        if style != .simple {
            all += [
                (.status(65536, 131_072), 0), (.status(0, 65536, flags: CommandFlag.reqOne), 0),
                (.read(0, 65536, flags: CommandFlag.df), 0),
            ]
        } else {
            all.append((.status(65536, 512), ErrorNumber.invalid))
        }
        return all
    }
}

extension Request {
    /// The header and the payload, in a style.
    func bytes(_ style: Style) -> [UInt8] {
        var request = self
        request.isExtended = style == .extended
        return request.bytes
    }
}
