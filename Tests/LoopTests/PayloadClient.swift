// A client over any link, with simple replies or chunks, that says what came.

import Glibc
import Support
import Testing

@testable import Loop
@testable import LoopSupport

/// The ways between a test's client and the loops.
enum TestedLink: CaseIterable {
    case unix
    case tcp
    case tlsOverUnix
    /// Here the kernel encrypts, where it can.
    case tlsOverTCP
}

final class PayloadClient {
    let connection: RawConnection
    private let tls: TLSClient?
    private var plaintext: [UInt8] = []
    private var plaintextHead = 0
    private let hasChunks: Bool

    /// How a READ was answered.
    struct Answer: Equatable {
        var cookie: UInt64 = 0
        var error: UInt32 = 0
        var failedOffset: UInt64?
        /// Of a failed READ in chunks: what came before.
        var data: [UInt8] = []
    }

    /// - Parameter requests: what is sent together with the last option, before anybody has answered it.
    init(
        _ loops: RunningLoops, _ link: TestedLink, chunks: Bool, key: TestKey? = nil, requests: [UInt8] = []
    ) throws {
        connection =
            try link == .tcp || link == .tlsOverTCP
            ? RawConnection(port: loops.port) : RawConnection(unix: loops.path)
        hasChunks = chunks
        #expect(try connection.receive(18).starts(with: Array("NBDMAGICIHAVEOPT".utf8)))
        try connection.send([0, 0, 0, 3])
        if link == .tlsOverUnix || link == .tlsOverTCP {
            try connection.send(Self.option(5))
            _ = try connection.receive(20)
            tls = TLSClient(try #require(key).settings)
        } else {
            tls = nil
        }
        try shakeHands()
        if chunks {
            try send(Self.option(8))
            _ = try receive(20)
        }
        try send(Self.option(1) + requests)
        _ = try receive(10)
    }

    private static func option(_ number: UInt8) -> [UInt8] {
        Array("IHAVEOPT".utf8) + [0, 0, 0, number, 0, 0, 0, 0]
    }

    private func shakeHands() throws {
        guard let tls else { return }
        while true {
            let result = tls.handshake()
            try connection.send(tls.takeOutgoing())
            if result == 0 { return }
            tls.incoming += try receiveSome()
        }
    }

    private func receiveSome() throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(connection.descriptor, &bytes, bytes.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw RawConnection.Failure.closed(received: 0) }
            return Array(bytes[..<count])
        }
    }

    func send(_ bytes: [UInt8]) throws {
        guard let tls else { return try connection.send(bytes) }
        tls.send(bytes)
        try connection.send(tls.takeOutgoing())
    }

    func receive(_ count: Int) throws -> [UInt8] {
        guard let tls else { return try connection.receive(count) }
        while plaintext.count - plaintextHead < count {
            tls.incoming += try receiveSome()
            plaintext += tls.receive().bytes
        }
        plaintextHead += count
        let bytes = Array(plaintext[plaintextHead - count..<plaintextHead])
        if plaintextHead > 1 << 20 {
            plaintext.removeFirst(plaintextHead)
            plaintextHead = 0
        }
        return bytes
    }

    /// Takes a reply of any request.
    ///
    /// - Parameter expected: the length of each READ under way, by cookie.
    func answer(_ expected: [UInt64: Int]) throws -> Answer {
        guard hasChunks else {
            let header = try receive(16)
            try #require(Array(header[..<4]) == [0x67, 0x44, 0x66, 0x98])
            var answer = Answer(cookie: number(header[8...]), error: UInt32(number(header[4..<8])))
            if answer.error == 0 { answer.data = try receive(expected[answer.cookie] ?? 0) }
            return answer
        }
        var answer = Answer()
        while true {
            let header = try receive(20)
            try #require(Array(header[..<4]) == [0x66, 0x8E, 0x33, 0xEF])
            answer.cookie = number(header[8..<16])
            let payload = try receive(Int(number(header[16...])))
            switch number(header[6..<8]) {
            case 0: break
            // OFFSET_DATA, OFFSET_HOLE: in their order, as this server sends them.
            case 1: answer.data += payload[8...]
            case 2: answer.data += [UInt8](repeating: 0, count: Int(number(payload[8...])))
            case 0x8001: answer.error = UInt32(number(payload[..<4]))
            case 0x8002:
                answer.error = UInt32(number(payload[..<4]))
                answer.failedOffset = number(payload.suffix(8))
            default: Issue.record("an unknown chunk")
            }
            // DONE
            if header[5] & 1 != 0 { return answer }
        }
    }

    func read(at offset: UInt64, _ count: Int, cookie: UInt64 = 1) throws -> Answer {
        try send(Client.header(.read, at: offset, UInt32(count), cookie: cookie))
        return try answer([cookie: count])
    }

    private func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}
