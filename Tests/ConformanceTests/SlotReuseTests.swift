// What a connection's slot hands to its next client: nothing. For every way in which a connection can end, the next
// clients of both slots of a server are told, byte by byte, what those of a new server are told.

import Foundation
import Support
import Testing

@Suite struct SlotReuseTests {
    /// Where the client is when it leaves.
    enum Place: CaseIterable {
        // The handshake.
        case greeting, insideFlags, insideOption, insideSkippedOption, contextsSelected, answersUnread
        case startingTLS, insideTLSHandshake
        // Requests.
        case idle, insideHeader, insidePayload, insideLargePayload, behindLargePayloads, insideStagedPayload
        case insideRefusedPayload, insideStatusPayload, readsUnderWay, repliesUnread, largeReplyUnread
        case waitingForMemory, partialWrites, writesUnderWay, behindViolation
        // Requests inside of TLS.
        case idleInTLS, insidePayloadInTLS, insideRefusedPayloadInTLS, insideRecord, repliesUnreadInTLS
        // Behind another connection.
        case fenced
    }

    /// How it leaves.
    enum Way: CaseIterable {
        case close, endOfSending, reset, disconnect
    }

    private static let rest = pattern(300_000)
    /// Less than the server receives without looking at it: then it sees the end behind that.
    private static let some = pattern(100_000)
    /// What a server without a past says.
    private static let expected = Result { try SlotServer().converse() }

    private func expectFreshness(_ slots: SlotServer, _ what: String) throws {
        try slots.waitUntilEmpty()
        let difference = try slots.converse().difference(from: try Self.expected.get())
        #expect(difference == nil, "after \(what): \(difference ?? "")")
    }

    private func finish(_ slots: SlotServer) throws {
        try waitUntil("all sockets of connections are closed: \(slots.server.log)") {
            try slots.socketCount() == slots.socketCountAtBegin
        }
        #expect(try slots.server.stop() == 0, "\(slots.server.log)")
        let log = slots.server.log.split(separator: "\n").filter { $0.contains("level=critical") }
        #expect(log.isEmpty, "\(log)")
    }

    private func leave(_ client: Client, _ way: Way, _ slots: SlotServer) throws {
        switch way {
        case .close: client.close()
        case .endOfSending:
            client.endSending()
            try slots.settle()
            client.close()
        case .reset: client.reset()
        case .disconnect:
            // Where a request's header is awaited this is one; elsewhere it is some bytes more of what was begun.
            try? client.send(Request.disconnect.bytes(client.style) + Self.rest)
            client.close()
        }
    }

    @Test(arguments: Place.allCases) func theNextClientsFindNothing(place: Place) throws {
        let slots = try SlotServer()
        let isInHandshake = [.greeting, .insideFlags, .insideOption, .insideSkippedOption, .contextsSelected].contains(
            place)
        for way in isInHandshake ? [Way.close, .reset] : Way.allCases {
            // In both slots at a time, or in one beside a client that waits.
            var clients = try begin(place, slots)
            for client in clients { try leave(client, way, slots) }
            // Now their sockets are closed, whatever they have not read.
            clients.removeAll()
            try expectFreshness(slots, "\(place), \(way)")
        }
        try finish(slots)
    }

    /// Clients that have come to some place.
    private func begin(_ place: Place, _ slots: SlotServer) throws -> [Client] {
        if place == .fenced { return try beginFenced(slots) }
        if place == .waitingForMemory { return try beginWaiting(slots) }
        let clients = try (0..<2).map { _ in try slots.server.connect(tcp: true) }
        for client in clients {
            guard try beginHandshake(place, client, slots) else { continue }
            let isInTLS = [
                .idleInTLS, .insidePayloadInTLS, .insideRefusedPayloadInTLS, .insideRecord, .repliesUnreadInTLS,
            ].contains(place)
            if isInTLS { try client.startTLS(slots.key.settings) }
            if place == .insideStatusPayload {
                try client.negotiateExtendedHeaders()
                try client.selectContexts("disk")
            }
            try client.go("disk")
            try beginRequests(place, client)
            // All of it has arrived when something behind it is answered; where nothing is, when the loops have run.
            try slots.settle()
        }
        return clients
    }

    /// - Returns: whether requests come next.
    private func beginHandshake(_ place: Place, _ client: Client, _ slots: SlotServer) throws -> Bool {
        try client.receiveGreeting()
        switch place {
        case .greeting: return false
        case .insideFlags: try client.send([0, 0])
        case .insideOption: try client.send(clientFlags(3) + option(7, informationRequest("disk")).dropLast(3))
        case .insideSkippedOption: try client.send(clientFlags(3) + option(4242, pattern(50_000)).dropLast(20_000))
        case .contextsSelected:
            try client.send(clientFlags(3))
            try client.negotiateExtendedHeaders()
            try client.selectContexts("disk")
        case .answersUnread:
            try client.send(clientFlags(3) + (0..<20).flatMap { _ in option(OptionNumber.list) })
        case .startingTLS: try client.send(clientFlags(3) + option(OptionNumber.startTLS))
        case .insideTLSHandshake:
            try client.send(clientFlags(3))
            #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.ack)
            let tls = TLSClient(slots.key.settings)
            _ = tls.handshake()
            try client.sendInTheClear(Array(tls.takeOutgoing().dropLast(7)))
        default:
            try client.send(clientFlags(3))
            return true
        }
        return false
    }

    private func beginRequests(_ place: Place, _ client: Client) throws {
        let there = SlotServer.scratch
        func send(_ request: Request, without missing: Int = 0) throws {
            try client.send(Array(client.register(request).bytes.dropLast(missing)))
        }
        switch place {
        case .insideHeader: try send(.read(0, 512), without: 5)
        case .insidePayload, .insidePayloadInTLS:
            try send(.read(0, 512))
            try send(.write(there, pattern(65536)), without: 7000)
        case .behindLargePayloads, .insideLargePayload:
            for number in 0..<8 { try client.submit(.write(there + number << 18, pattern(1 << 18))) }
            for _ in 0..<8 { #expect(try client.reply().error == 0) }
            if place == .insideLargePayload { try send(.write(there, pattern(1 << 18)), without: 100_000) }
        case .insideStagedPayload: try send(.write(there, pattern(3 << 20)), without: 1 << 20)
        case .insideRefusedPayload, .insideRefusedPayloadInTLS:
            try send(.write(SlotServer.sizeBytes, pattern(400_000)), without: 100_000)
        case .insideStatusPayload: try send(.status(0, 4096, of: Array(client.contexts.keys)), without: 3)
        case .readsUnderWay: for number in 0..<100 { try send(.read(number * 4096, 4096)) }
        case .repliesUnread, .repliesUnreadInTLS: for number in 0..<100 { try send(.read(number << 16, 1 << 16)) }
        case .largeReplyUnread: try send(.read(0, 16 << 20))
        case .partialWrites: for number in 0..<200 { try send(.write(there + number * 100, pattern(100))) }
        case .writesUnderWay: for number in 0..<60 { try send(.write(there + number << 15, pattern(1 << 15))) }
        case .behindViolation: try client.send(pattern(1000))
        case .insideRecord:
            let tls = try #require(client.tls)
            try client.sendInTheClear(Array(client.encrypt(Request.read(0, 512).bytes, tls).dropLast(4)))
        default: break
        }
    }

    /// One with half a request, and one that is not served before that is whole: it leaves with much that nobody has
    /// looked at.
    private func beginFenced(_ slots: SlotServer) throws -> [Client] {
        let first = try slots.server.open("disk", tcp: true)
        let write = first.register(.write(SlotServer.scratch, pattern(4096))).bytes
        try first.send(write.bytes(0, 2000))
        try waitUntil("half a request has come") { first.isTaken }
        let second = try slots.server.open("disk", tcp: true)
        try second.send(
            second.register(.read(0, 512)).bytes + second.register(.write(SlotServer.scratch, Self.some)).bytes)
        return [second, first]
    }

    /// One that was to be served after another one, and is gone before that: who has its slot then is not waited for.
    @Test func afterOneThatWaitedWhileTheOtherOneStays() throws {
        let slots = try SlotServer()
        let first = try slots.server.open("disk", tcp: true)
        try first.send(first.register(.read(0, 512)).bytes + first.register(.write(0, pattern(512))).bytes.prefix(200))
        #expect(try first.reply().error == 0)
        let second = try slots.server.open("disk", tcp: true)
        try second.submit(.read(0, 512))
        try waitUntil("it has come") { try slots.connections().count == 2 }
        second.reset()
        try waitUntil("it has gone") { try slots.connections().count == 1 }
        // Nobody else has this export open.
        let next = try slots.server.open("other", tcp: true)
        #expect(try next.read(0, 512) == .zeroes(512))
        withExtendedLifetime(first) {}
    }

    /// One whose reply has the memory for large requests, and one that waits for it.
    private func beginWaiting(_ slots: SlotServer) throws -> [Client] {
        let first = try slots.server.open("disk", tcp: true)
        for _ in 0..<2 { try first.submit(.read(0, 20 << 20)) }
        #expect(try first.isReadable(withinMilliseconds: 10_000))
        let second = try slots.server.open("disk", tcp: true)
        try second.send(second.register(.read(0, 512)).bytes + second.register(.read(0, 20 << 20)).bytes)
        return [second, first]
    }
}

/// Ends that the server makes.
extension SlotReuseTests {
    /// ABORT, an export that there is not, TLS that fails, an alert that is read late.
    @Test func afterTheServersOwnEnds() throws {
        let slots = try SlotServer()
        for round in 0..<2 {
            for number in 0..<6 {
                let clients = try (0..<2).map { _ in try slots.server.negotiate(tcp: round == 1) }
                for client in clients {
                    try end(client, by: number, slots)
                    client.close()
                }
                try expectFreshness(slots, "end \(number) over \(round == 1 ? "TCP" : "a Unix socket")")
            }
        }
        try finish(slots)
    }

    private func end(_ client: Client, by number: Int, _ slots: SlotServer) throws {
        switch number {
        case 0: #expect(try client.askOnce(OptionNumber.abort).type == ReplyType.ack)
        case 1: try client.send(option(OptionNumber.exportName, Array("nowhere".utf8)) + pattern(1000))
        case 2: try client.send(pattern(16))
        case 3:
            try client.send(option(OptionNumber.startTLS))
            try client.send(.zeroes(100))
        case 4:
            try client.startTLS(slots.key.settings)
            try client.go("disk")
            let tls = try #require(client.tls)
            var record = client.encrypt(Request.read(0, 1 << 20).bytes, tls)
            record += client.encrypt(Request.read(0, 1 << 20).bytes, tls)
            record[record.count - 1] ^= 1
            try client.sendInTheClear(record)
            client.expectEnd()
        default:
            try client.startTLS(slots.key.settings)
            try client.go("disk")
            try client.sayGoodbye()
            #expect(client.isToldGoodbyeAndClosed())
        }
    }

    /// More answers than a socket holds, and more than the server keeps unsent.
    @Test func afterAnswersThatNobodyReads() throws {
        let names = (0..<60).map { "\($0)" + String(repeating: "n", count: 1000) + "=memory:512" }
        let slots = try SlotServer(names)
        let fresh = try SlotServer(names)
        let expected = try fresh.converse()
        for way in [Way.close, .reset] {
            let clients = try (0..<2).map { _ in try slots.server.connect(tcp: true) }
            for client in clients {
                let questions = (0..<100).flatMap { _ in option(OptionNumber.list) }
                try client.send(clientFlags(3) + questions + option(OptionNumber.go, informationRequest("disk")))
                #expect(try client.isReadable(withinMilliseconds: 10_000))
            }
            try waitUntil("no more is sent") { try slots.sentBytes() == slots.sentBytes(afterSettling: true) }
            for client in clients { try leave(client, way, slots) }
            try slots.waitUntilEmpty()
            #expect(try slots.converse().difference(from: expected) == nil, "\(way)")
        }
        try finish(slots)
    }

    /// Dropped by an operator, in the middle of a request that is refused.
    @Test func afterAnOperatorHasDroppedThem() throws {
        let slots = try SlotServer()
        let clients = try beginRefused(slots)
        for connection in try slots.connections() {
            let number = try #require(connection["number"] as? Int)
            #expect(try slots.ask("DELETE", "/v1/connections/\(number)").status == 204)
        }
        for client in clients { #expect(client.isClosedByServer()) }
        try expectFreshness(slots, "an operator has dropped its client")
        try finish(slots)
    }

    /// Put out with their export.
    @Test func afterTheirExportIsGone() throws {
        func replace(_ slots: SlotServer) throws {
            let body = "{\"name\": \"other\", \"image\": \"memory:8M\"}"
            #expect(try slots.ask("DELETE", "/v1/exports/other?mode=force").status == 204)
            #expect(try slots.ask("POST", "/v1/exports", body).status == 201)
        }
        let slots = try SlotServer()
        let clients = try beginRefused(slots)
        try replace(slots)
        for client in clients { #expect(client.isClosedByServer()) }
        // The exports are in another order now.
        let fresh = try SlotServer()
        try replace(fresh)
        let difference = try slots.converse().difference(from: try fresh.converse())
        #expect(difference == nil)
        // The time that clients of a removed export have is not these clients' time: they are here for longer.
        let next = try (0..<2).map { _ in try slots.server.open("disk") }
        for client in next {
            #expect(try !client.isReadable(withinMilliseconds: 3500))
        }
        for client in next {
            #expect(try client.read(0, 512) == pattern(512, seed: 9))
            client.close()
        }
        try finish(slots)
    }

    /// Two that are in the middle of a WRITE behind the end.
    private func beginRefused(_ slots: SlotServer) throws -> [Client] {
        try (0..<2).map { _ in
            let client = try slots.server.open("other", tcp: true)
            try client.performSuccessfully(.read(0, 512))
            try client.send(client.register(.write(8 << 20, pattern(70_000))).bytes.dropLast(100))
            return client
        }
    }

    /// By the server's clock: in the handshake, and holding memory that another one waits for.
    @Test func afterLimitsOfTime() throws {
        let slots = try SlotServer(["--handshake-seconds", "4", "--stall-seconds", "2"])
        let early = try (0..<2).map { _ in try slots.server.negotiate(tcp: true) }
        for client in early {
            try client.send(option(OptionNumber.startTLS).dropLast(2))
            #expect(client.isClosedByServer())
        }
        try expectFreshness(slots, "a handshake that took too long")
        let clients = try beginWaiting(slots)
        #expect(try clients[0].reply().data.count == 512)
        #expect(try clients[0].reply().data.count == 20 << 20)
        for client in clients { client.close() }
        #expect(slots.server.log.contains("memory that others wait for"), "\(slots.server.log)")
        try expectFreshness(slots, "a stall")
        try finish(slots)
    }
}
