// Replies of servers, taken out of a stream that comes in pieces.

import NBD
import Seeded
import Testing

@testable import Bench

@Suite struct ReplyReaderTests {
    /// Reads bytes that come in pieces of these lengths, in turn.
    private func events(_ bytes: [UInt8], isStructured: Bool, pieces: [Int]) -> [SessionStep] {
        var reader = ReplyReader(blockBytes: 8, isStructured: isStructured)
        var events: [SessionStep] = []
        var buffer: [UInt8] = []
        var rest = bytes[...]
        var piece = 0
        while !rest.isEmpty {
            let count = pieces[piece % pieces.count]
            piece += 1
            buffer += rest.prefix(count)
            rest = rest.dropFirst(count)
            var position = 0
            while true {
                let event = reader.next(buffer.span.bytes, at: &position)
                if event == .needMoreBytes { break }
                events.append(event)
                if case .violation = event { return events }
            }
            buffer.removeFirst(position)
        }
        return events
    }

    private func simple(_ cookie: Cookie, error: UInt32 = 0, data: [UInt8] = []) -> [UInt8] {
        bytes(0x6744_6698 as UInt32) + bytes(error) + bytes(cookie.rawValue) + data
    }

    private func chunk(
        _ cookie: Cookie, type: UInt16, payload: [UInt8] = [], isLast: Bool = true
    ) -> [UInt8] {
        bytes(0x668e_33ef as UInt32) + bytes(UInt16(isLast ? 1 : 0)) + bytes(type) + bytes(cookie.rawValue)
            + bytes(UInt32(payload.count)) + payload
    }

    private func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
    }

    private let read = Cookie(.read, slot: 3, sequence: 7)
    private let write = Cookie(.write, slot: 65535, sequence: 8)

    @Test func cookiesSayWhatTheyWereMadeOf() {
        #expect(read.slot == 3 && read.command == 0)
        #expect(write.slot == 65535 && write.command == 1)
        #expect(Cookie(.read, slot: 3, sequence: 8) != read)
    }

    @Test(arguments: [[1], [16], [23, 2], [1000], [3, 17, 1]])
    func simpleReplies(pieces: [Int]) {
        // The data look like a reply themselves.
        let stream =
            simple(read, data: bytes(0x6744_6698_0000_0001 as UInt64)) + simple(write)
            + simple(read, error: 5) + simple(write, error: 28) + simple(read, data: bytes(0 as UInt64))
        #expect(
            events(stream, isStructured: false, pieces: pieces) == [
                .reply(read, error: 0, isLast: true), .reply(write, error: 0, isLast: true),
                .reply(read, error: 5, isLast: true), .reply(write, error: 28, isLast: true),
                .reply(read, error: 0, isLast: true),
            ])
    }

    @Test(arguments: [[1], [20], [23, 2], [1000], [3, 17, 1]])
    func chunks(pieces: [Int]) {
        let offset = bytes(4096 as UInt64)
        let message = bytes(5 as UInt32) + bytes(3 as UInt16) + Array("bad".utf8)
        let stream =
            chunk(read, type: 1, payload: offset + bytes(1 as UInt32), isLast: false)
            + chunk(read, type: 2, payload: offset + bytes(4 as UInt32), isLast: false) + chunk(read, type: 0)
            + chunk(write, type: 0x8001, payload: message)
            + chunk(read, type: 0x8002, payload: message + offset, isLast: false) + chunk(read, type: 0)
            + simple(write)
        #expect(
            events(stream, isStructured: true, pieces: pieces) == [
                .reply(read, error: 0, isLast: false), .reply(read, error: 0, isLast: false),
                .reply(read, error: 0, isLast: true), .reply(write, error: 5, isLast: true),
                .reply(read, error: 5, isLast: false), .reply(read, error: 0, isLast: true),
                .reply(write, error: 0, isLast: true),
            ])
    }

    @Test func whatIsNoReplyEndsIt() {
        func isRefused(_ bytes: [UInt8], isStructured: Bool) -> Bool {
            if case .violation = events(bytes, isStructured: isStructured, pieces: [1000]).last { true } else { false }
        }
        #expect(isRefused([UInt8](repeating: 0, count: 20), isStructured: false))
        #expect(isRefused([UInt8](repeating: 0, count: 20), isStructured: true))
        #expect(isRefused(chunk(read, type: 0), isStructured: false))
        #expect(isRefused(simple(read, data: bytes(0 as UInt64)), isStructured: true))
        #expect(isRefused(chunk(read, type: 1, payload: [UInt8](repeating: 0, count: 4113)), isStructured: true))
        #expect(isRefused(chunk(read, type: 0x8001, payload: [0, 0, 0, 5]), isStructured: true))
    }

    /// No byte that a server can send makes a client trap.
    @Test(arguments: [false, true])
    func anyBytesAreRead(isStructured: Bool) {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let magic = isStructured ? bytes(0x668e_33ef as UInt32) : bytes(0x6744_6698 as UInt32)
            let stream = magic + generator.bytes(Int.random(in: 0...64, using: &generator))
            let found = events(stream, isStructured: isStructured, pieces: [Int.random(in: 1...30, using: &generator)])
            #expect(found.count <= 4, "seed \(seed)")
        }
    }
}
