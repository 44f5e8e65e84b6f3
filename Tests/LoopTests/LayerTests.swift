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

    /// A connection with structured replies.
    private func structured(_ path: String) throws -> RawConnection {
        let connection = try RawConnection(unix: path)
        _ = try connection.receive(18)
        let option = Array("IHAVEOPT".utf8)
        // NBD_OPT_STRUCTURED_REPLY, then NBD_OPT_EXPORT_NAME for the default export.
        try connection.send([0, 0, 0, 3] + option + [0, 0, 0, 8, 0, 0, 0, 0])
        let reply = try connection.receive(20)
        try #require(Array(reply[12..<16]) == [0, 0, 0, 1], "NBD_REP_ACK")
        try connection.send(option + [0, 0, 0, 1, 0, 0, 0, 0])
        _ = try connection.receive(10)
        return connection
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
