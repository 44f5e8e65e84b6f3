// Layers between a drive and its backend, through real loops and sockets: what the medium does wrong, a client sees.

import Backends
import Blocks
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct LayerTests {
    private let folder: TemporaryFolder
    private static let sizeBytes: UInt64 = 1 << 20
    private static let everything = 0..<sizeBytes
    private static let inputOutput: UInt8 = 5
    private static let noSpace: UInt8 = 28

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Where the image is.
    enum Place: CaseIterable {
        case file
        case memory
    }

    private func content() -> [UInt8] { (0..<Int(Self.sizeBytes)).map { UInt8(truncatingIfNeeded: $0 / 512 &+ 1) } }

    private func loops(_ place: Place, _ faults: [Fault]) throws -> RunningLoops {
        let backend =
            switch place {
            case .file:
                try Backend(
                    path: folder.file("disk.img", sizeBytes: Self.sizeBytes, beginning: content()), cache: .writeback,
                    readOnly: false)
            case .memory: try Backend(memoryOfSize: Self.sizeBytes, readOnly: false)
            }
        return try RunningLoops(backend, in: folder) {
            $0.blocks.faults = Faults(faults, sizeBytes: Self.sizeBytes, blockSize: .smallest)
        }
    }

    /// The error of a simple reply.
    private func error(_ client: Client) throws -> UInt8 {
        let header = try client.connection.receive(16)
        try #require(Array(header[..<7]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0])
        return header[7]
    }

    /// A connection with structured replies, to which extents can be told (`base:allocation`).
    private func structured(_ path: String) throws -> RawConnection {
        let connection = try RawConnection(unix: path)
        _ = try connection.receive(18)
        let option = Array("IHAVEOPT".utf8)
        // NBD_OPT_STRUCTURED_REPLY, then NBD_OPT_EXPORT_NAME for the default export.
        try connection.send([0, 0, 0, 3] + option + [0, 0, 0, 8, 0, 0, 0, 0])
        let reply = try connection.receive(20)
        try #require(Array(reply[12..<16]) == [0, 0, 0, 1], "NBD_REP_ACK")
        // NBD_OPT_SET_META_CONTEXT: one query, for the default export.
        let query = Array("base:allocation".utf8)
        try connection.send(
            option + [0, 0, 0, 10, 0, 0, 0, 27, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, UInt8(query.count)] + query)
        // NBD_REP_META_CONTEXT with its number, then NBD_REP_ACK.
        _ = try connection.receive(20 + 4 + query.count + 20)
        try connection.send(option + [0, 0, 0, 1, 0, 0, 0, 0])
        _ = try connection.receive(10)
        return connection
    }

    /// What a range is said to be, asked for as often as it takes: for each block, whether something is stored.
    private func map(_ connection: RawConnection, _ range: Range<UInt64>) throws -> [Bool] {
        var stored: [Bool] = []
        while stored.count < range.count / 512 {
            let start = range.lowerBound + UInt64(stored.count) * 512
            try connection.send(Client.header(.blockStatus, at: start, UInt32(range.upperBound - start)))
            let header = try connection.receive(20)
            // NBD_REPLY_TYPE_BLOCK_STATUS
            try #require(number(header[6..<8]) == 5)
            let payload = try connection.receive(Int(number(header[16...])))
            for place in stride(from: 4, to: payload.count, by: 8) {
                let isMapped = number(payload[place + 4..<place + 8]) == 0
                stored += Array(repeating: isMapped, count: Int(number(payload[place..<place + 4])) / 512)
            }
        }
        return stored
    }

    private func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    /// Good data come before an error, which has its place where the protocol has one. No request passes the layers by,
    /// whatever a loop learns of the page cache.
    @Test(arguments: Place.allCases)
    func anErrorAtARangeComesOutWithItsOffset(place: Place) throws {
        let failing: UInt64 = 39_936
        let loops = try loops(place, [Fault(.unreadable(.unrecovered), failing + 64..<failing + 65)])
        let client = try Client(loops.path)
        let connection = try structured(loops.path)
        let expected = place == .file ? content() : [UInt8](repeating: 0, count: Int(Self.sizeBytes))
        for _ in 0..<60 {
            try client.request(.read, at: 512, 1 << 16)
            #expect(try error(client) == Self.inputOutput)
            try connection.send(Client.header(.read, at: 512, 1 << 16))
            var data: [UInt8] = []
            var place: UInt64?
            while place == nil {
                let header = try connection.receive(20)
                try #require(Array(header[..<4]) == [0x66, 0x8E, 0x33, 0xEF])
                let payload = try connection.receive(Int(number(header[16...])))
                switch number(header[6..<8]) {
                case 1: data += payload[8...]
                // A hole.
                case 2: data += [UInt8](repeating: 0, count: Int(number(payload[8...])))
                // NBD_REPLY_TYPE_ERROR_OFFSET
                case 0x8002:
                    #expect(number(payload[..<4]) == UInt64(Self.inputOutput))
                    place = number(payload.suffix(8))
                case let type: Issue.record("a chunk of type \(type)")
                }
            }
            try #require(place == failing)
            try #require(data == Array(expected[512..<Int(failing)]))
        }
        try client.request(.read, at: failing + 512, 4096)
        #expect(try error(client) == 0)
        _ = try client.connection.receive(4096)
        client.connection.close()
        connection.close()
        #expect(try loops.stop())
    }

    @Test(arguments: Place.allCases)
    func aWriteThatFailsHasStoredWhatLiesBefore(place: Place) throws {
        let loops = try loops(place, [Fault(.unwritable(.noSpace), 8192..<8193, count: 1)])
        let client = try Client(loops.path)
        let bytes = [UInt8](repeating: 0xEE, count: 16384)
        try client.write(bytes, at: 0)
        #expect(try error(client) == Self.noSpace)
        #expect(try Array(client.read(at: 0, 8192)) == Array(bytes.prefix(8192)))
        #expect(try client.read(at: 8192, 8192) != Array(bytes.prefix(8192)))
        // The place has recovered.
        try client.write(bytes, at: 0)
        try client.reply()
        #expect(try client.read(at: 0, 16384) == bytes)
        client.connection.close()
        #expect(try loops.stop())
    }

    /// Small writes that workers do otherwise, and large ones that come through a pipe over TCP.
    @Test(arguments: Place.allCases, [4096, 1 << 17])
    func aWriteThatSucceedsNeedNotBeThere(place: Place, length: Int) throws {
        let half = UInt64(length / 2)
        let start: UInt64 = 1 << 18
        let loops = try loops(
            place,
            [
                Fault(.lost, 0..<1), Fault(.torn(afterBytes: half), start..<start + 1),
                Fault(.misdirected(toOffset: 0), 2 * start..<2 * start + 1),
            ])
        let client = try Client(RawConnection(port: loops.port))
        let bytes = [UInt8](repeating: 0xEE, count: length)
        for offset in [0, start] {
            try client.write(bytes, at: offset)
            try client.reply()
        }
        #expect(try client.read(at: 0, UInt32(length)) != bytes)
        let torn = try client.read(at: start, UInt32(length))
        #expect(Array(torn[..<(length / 2)]) == Array(bytes[..<(length / 2)]) && torn[length / 2] != 0xEE)
        try client.write(bytes, at: 2 * start)
        try client.reply()
        #expect(try client.read(at: 0, UInt32(length)) == bytes)
        #expect(try client.read(at: 2 * start, UInt32(length)) != bytes)
        try client.request(.flush)
        try client.reply()
        client.connection.close()
        #expect(try loops.stop())
    }

    /// A layer is asked before its backend: what it says is not asked below, and what a loop has learnt of the file
    /// does not come between. Where it cannot say, everything is stored.
    @Test(arguments: Place.allCases)
    func aLayerSaysWhatIsStored(place: Place) throws {
        let loops = try loops(
            place,
            [
                Fault(.extent(isMapped: true), 4096..<8192), Fault(.extent(isMapped: false), 8192..<9000),
                Fault(.unreadable(.unrecovered), 1 << 19..<1 << 19 + 512),
            ])
        let connection = try structured(loops.path)
        let below = place == .file
        for _ in 0..<3 {
            var expected = Array(repeating: below, count: Int(Self.sizeBytes / 512))
            for block in 8..<16 { expected[block] = true }
            for block in 16..<18 { expected[block] = false }
            for block in 1024..<2048 { expected[block] = true }
            #expect(try map(connection, Self.everything) == expected)
            #expect(try map(connection, 4608..<8704) == Array(expected[9..<17]))
            #expect(try map(connection, 9216..<16384) == Array(expected[18..<32]))
        }
        connection.close()
        #expect(try loops.stop())
    }

    /// Requests that a layer lets wait begin in their order, and only they wait.
    @Test(arguments: Place.allCases)
    func oneRequestWaitsForAnother(place: Place) throws {
        let loops = try loops(
            place, [Fault(.inTurn, 0..<4096), Fault(.delay(milliseconds: 300), 0..<4096, count: 1)])
        let client = try Client(loops.path)
        var requests: [UInt8] = []
        for cookie in UInt64(1)...40 { requests += Client.header(.read, at: 512 * (cookie % 8), 512, cookie: cookie) }
        try client.connection.send(requests + Client.header(.read, at: 8192, 4096, cookie: 41))
        #expect(try client.reply(4096) == 41)
        for cookie in UInt64(1)...40 { #expect(try client.reply(512) == cookie) }
        client.connection.close()
        #expect(try loops.stop())
    }

    /// A WRITE that waits is done when its client has gone, and the turn goes on to the next client's.
    @Test(arguments: Place.allCases)
    func aRequestThatWaitsOutlivesItsClient(place: Place) throws {
        let loops = try loops(
            place, [Fault(.inTurn, 0..<4096), Fault(.delay(milliseconds: 500), 0..<512, count: 1)])
        let first = try Client(loops.path)
        let second = try Client(loops.path)
        try first.request(.read, at: 0, 512)
        try first.request(.read, at: 8192, 512)
        try first.reply(512)
        // Now the first one has its turn.
        try second.write([UInt8](repeating: 0xEE, count: 4096), at: 0)
        try second.request(.read, at: 8192, 512)
        try second.reply(512)
        second.connection.close()
        let third = try Client(loops.path)
        #expect(try third.read(at: 0, 4096) == [UInt8](repeating: 0xEE, count: 4096))
        try first.reply(512)
        first.connection.close()
        third.connection.close()
        try waitUntil("nobody is there") { try loops.connections().isEmpty }
        #expect(try loops.stop())
    }

    /// A loop that stops finishes what waits.
    @Test(arguments: Place.allCases)
    func aLoopThatStopsWaitsForThoseThatWait(place: Place) throws {
        let loops = try loops(
            place, [Fault(.inTurn, 0..<4096), Fault(.delay(milliseconds: 50), 0..<4096, count: 8)])
        let client = try Client(loops.path)
        // At once, so that the loop has all of them before the first delay is over.
        let waiting = (UInt64(1)...8).flatMap { Client.header(.read, at: 0, 512, cookie: $0) }
        try client.connection.send(waiting + Client.header(.read, at: 8192, 512, cookie: 9))
        try #require(client.reply(512) == 9)
        loops.beginToStop()
        for cookie in UInt64(1)...8 { #expect(try client.reply(512) == cookie) }
        #expect(try loops.stop())
    }

    /// Others do not wait for a request that is late, and a loop that stops does.
    @Test(arguments: Place.allCases)
    func aLateRequestIsOvertaken(place: Place) throws {
        let loops = try loops(place, [Fault(.delay(milliseconds: 300), 0..<1), Fault(.short(bytes: 512), 0..<1)])
        let client = try Client(loops.path)
        try client.connection.send(
            Client.header(.read, at: 0, 4096, cookie: 1) + Client.header(.read, at: 8192, 4096, cookie: 2))
        #expect(try client.reply(4096) == 2)
        #expect(try client.reply(4096) == 1)
        try client.request(.read, at: 0, 4096, cookie: 3)
        // When the one behind it is answered, the loop has begun it.
        try client.request(.read, at: 8192, 4096, cookie: 4)
        #expect(try client.reply(4096) == 4)
        #expect(try loops.stop(), "a loop that stops finishes what is under way")
    }
}
