// A session of ours and a client, back to back.

import CGnuTLS
import Support
import TLS

/// How a handshake ended on both sides.
struct HandshakeOutcome {
    var server: TLSHandshakeStep
    var client: Int32
}

/// Server and client, and the bytes between them.
final class Conversation {
    var server: TLSSession
    let client: TLSClient
    /// No more bytes than this are given to either side at a time.
    var pieceBytes = Int.max

    init(
        _ credentials: TLSCredentials, _ settings: TLSClientSettings, outputBytes: Int = TLSSession.standardOutputBytes
    ) {
        server = TLSSession(credentials, outputBytes: outputBytes)
        client = TLSClient(settings)
    }

    /// Takes what the server sends.
    func takeOutput(_ limit: Int = .max) -> [UInt8] {
        let bytes = Array(server.output.prefix(limit))
        server.removeOutput(bytes.count)
        return bytes
    }

    /// Shakes hands until both are done, or one has failed, or neither has anything to say.
    func shakeHands() -> HandshakeOutcome {
        var outcome = HandshakeOutcome(server: .needsMoreBytes, client: GNUTLS_E_AGAIN)
        while true {
            if outcome.client == GNUTLS_E_AGAIN { outcome.client = client.handshake() }
            let piece = Array(client.outgoing.prefix(pieceBytes))
            let (consumed, step) = server.handshake(piece.span.bytes)
            outcome.server = step
            client.outgoing.removeFirst(consumed)
            // A session takes all it is given, up to the end of the handshake.
            if step == .needsMoreBytes { precondition(consumed == piece.count) }
            let reply = takeOutput(pieceBytes)
            client.incoming += reply
            if consumed == 0 && reply.isEmpty { break }
        }
        if outcome.client == GNUTLS_E_AGAIN { outcome.client = client.handshake() }
        return outcome
    }

    /// Has the server decrypt what the client has sent, with room for so many bytes at a time.
    func decrypt(room: Int = 65536) -> (bytes: [UInt8], state: TLSDecryption.State) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: room)
        while true {
            let piece = Array(client.outgoing.prefix(pieceBytes))
            var span = buffer.mutableSpan
            var target = span.mutableBytes
            let result = server.decrypt(piece.span.bytes, into: &target)
            client.outgoing.removeFirst(result.consumed)
            bytes += buffer[..<result.count]
            if result.state != .open || (result.count < room && client.outgoing.isEmpty) {
                return (bytes, result.state)
            }
        }
    }

    /// Has the server encrypt bytes, and gives the records to the client as room is needed.
    func encrypt(_ bytes: [UInt8]) -> Bool {
        var taken = 0
        while taken < bytes.count {
            let count = server.encrypt(bytes.span.bytes.extracting(taken..<bytes.count))
            taken += count
            let records = takeOutput(pieceBytes)
            client.incoming += records
            if count == 0 && records.isEmpty { return false }
        }
        server.endRecord()
        client.incoming += takeOutput()
        return true
    }
}

/// The lengths of the records in a stream of them (RFC 8446, 5.1); nil where it ends inside one.
func recordLengths(_ bytes: [UInt8]) -> [Int]? {
    var lengths: [Int] = []
    var start = 0
    while start < bytes.count {
        guard start + 5 <= bytes.count else { return nil }
        let length = Int(bytes[start + 3]) << 8 | Int(bytes[start + 4])
        start += 5 + length
        guard start <= bytes.count else { return nil }
        lengths.append(length)
    }
    return lengths
}
