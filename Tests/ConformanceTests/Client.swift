// A client of these tests' own: a socket that never blocks on one direction while the other could go on.

import Glibc
import Support
import Testing

/// The server sent something that the document does not allow, or refused what it should do.
struct Breach: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// What requests and replies look like.
enum Style: CaseIterable {
    /// Compact requests, simple replies.
    case simple
    /// Compact requests, structured reply chunks.
    case structured
    /// Extended requests and reply chunks.
    case extended
}

/// A client. It encodes and decodes from the document, checks what it decodes, and throws a ``Breach`` at what is
/// wrong.
final class Client {
    /// How long the server may neither take nor send a byte.
    var limitSeconds: Int32 = 60
    /// What was agreed on.
    var style = Style.simple
    /// The metadata contexts that were selected, by their ids.
    var contexts: [UInt32: String] = [:]
    /// Requests without a complete reply.
    var pending: [Request] = []
    /// The chunks that have come for them, by cookie.
    var chunks: [UInt64: [Chunk]] = [:]
    var nextCookie: UInt64 = 0x0123_4567_89AB_CDEF
    /// TLS, once its handshake is over.
    var tls: TLSClient?
    /// The server has said that it sends no more (close_notify).
    var isToldGoodbye = false
    /// Decrypted bytes that were not asked for yet.
    var plaintext: [UInt8] = []
    /// Everything that is received is kept, too.
    var isRecording = false
    private(set) var transcript: [UInt8] = []
    private let connection: RawConnection
    /// A server lives as long as its clients.
    private let server: RunningServer
    /// Bytes that came while others were sent; those before the head are used.
    private var inbox: [UInt8] = []
    private var inboxHead = 0
    private var isEnded = false

    init(_ connection: RawConnection, of server: RunningServer) {
        self.connection = connection
        self.server = server
    }

    /// Sends all bytes, inside of TLS once that has begun, and takes meanwhile what comes.
    func send(_ bytes: [UInt8]) throws {
        try sendInTheClear(tls.map { encrypt(bytes, $0) } ?? bytes)
    }

    /// Receives exactly so many bytes, inside of TLS once that has begun.
    func receive(_ count: Int) throws -> [UInt8] {
        let bytes = try tls.map { try receive(count, $0) } ?? receiveInTheClear(count)
        if isRecording { transcript += bytes }
        return bytes
    }

    /// Sends all bytes as they are.
    func sendInTheClear(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let events = try wait(for: isEnded ? POLLOUT : POLLIN | POLLOUT)
            if events & POLLIN != 0 { try takeWhatIsThere() }
            guard events & ~POLLIN != 0 else { continue }
            let count = bytes.withUnsafeBytes {
                Glibc.send(
                    connection.descriptor, $0.baseAddress! + sent, bytes.count - sent,
                    Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            guard count > 0 || errno == EAGAIN else { throw RawConnection.Failure.cannotSend(errno) }
            sent += max(count, 0)
        }
    }

    /// Receives exactly so many bytes as they come.
    func receiveInTheClear(_ count: Int) throws -> [UInt8] {
        let waiting = min(count, inbox.count - inboxHead)
        var bytes = inbox.bytes(inboxHead, waiting)
        inboxHead += waiting
        guard waiting < count else { return bytes }
        bytes += [UInt8](repeating: 0, count: count - waiting)
        var received = waiting
        while received < count {
            _ = try wait(for: POLLIN)
            let result = bytes.withUnsafeMutableBytes {
                recv(connection.descriptor, $0.baseAddress! + received, count - received, Int32(MSG_DONTWAIT))
            }
            guard result > 0 || (result < 0 && errno == EAGAIN) else {
                throw RawConnection.Failure.closed(received: received)
            }
            received += max(result, 0)
        }
        return bytes
    }

    /// Receives what is there, as it comes, at least a byte.
    func receiveSome() throws -> [UInt8] {
        if inboxHead == inbox.count {
            guard !isEnded else { throw RawConnection.Failure.closed(received: 0) }
            _ = try wait(for: POLLIN)
            try takeWhatIsThere()
        }
        guard inboxHead < inbox.count else { throw RawConnection.Failure.closed(received: 0) }
        defer { inboxHead = inbox.count }
        return inbox.bytes(inboxHead, inbox.count - inboxHead)
    }

    /// Takes whatever comes as it comes, and expects that the server closes then.
    func expectEnd(sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(throws: RawConnection.Failure.closed(received: 0), sourceLocation: sourceLocation) {
            while true { _ = try receiveSome() }
        }
    }

    /// Whether the server closes without sending anything more.
    func isClosedByServer() -> Bool {
        do {
            _ = try receive(1)
            return false
        } catch RawConnection.Failure.closed(received: 0) {
            return true
        } catch {
            return false
        }
    }

    /// Whether there is something to receive, or the end, within a time.
    func isReadable(withinMilliseconds limit: Int32) throws -> Bool {
        var state = pollfd(fd: connection.descriptor, events: Int16(POLLIN), revents: 0)
        return inboxHead < inbox.count || !plaintext.isEmpty || poll(&state, 1, limit) > 0
    }

    /// The server's process has received all that was sent.
    var isTaken: Bool { connection.isTaken }

    /// Closes at once, whatever is under way.
    func close() {
        connection.close()
    }

    /// Says that nothing more will be sent; replies can still come.
    func endSending() {
        shutdown(connection.descriptor, Int32(SHUT_WR))
    }

    /// Ends a TCP connection with a reset.
    func reset() {
        connection.reset()
    }

    private func wait(for events: Int32) throws -> Int32 {
        var state = pollfd(fd: connection.descriptor, events: Int16(events), revents: 0)
        let result = poll(&state, 1, limitSeconds * 1000)
        guard result > 0 else { throw Breach("the server neither took nor sent a byte for \(limitSeconds) s") }
        return Int32(state.revents)
    }

    private func takeWhatIsThere() throws {
        if inboxHead == inbox.count {
            inbox.removeAll(keepingCapacity: true)
            inboxHead = 0
        }
        var part = [UInt8](repeating: 0, count: 1 << 18)
        let count = recv(connection.descriptor, &part, part.count, Int32(MSG_DONTWAIT))
        if count > 0 { inbox += part.prefix(count) }
        // What was received before the end can still be decoded.
        if count == 0 || (count < 0 && errno == ECONNRESET) { isEnded = true }
    }
}
