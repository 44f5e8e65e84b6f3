// The client inside of TLS: GnuTLS's records over the same socket.

import CGnuTLS
import Support

extension Client {
    /// Sends STARTTLS, which has to be accepted, and shakes hands.
    func startTLS(_ settings: TLSClientSettings) throws {
        let reply = try askOnce(OptionNumber.startTLS)
        guard reply.type == ReplyType.ack else { throw Breach("STARTTLS: \(reply.message)") }
        try shakeHands(TLSClient(settings))
    }

    /// Shakes hands; STARTTLS has been acknowledged.
    func shakeHands(_ tls: TLSClient) throws {
        while true {
            let result = tls.handshake()
            try sendInTheClear(tls.takeOutgoing())
            if result == 0 { break }
            guard result == GNUTLS_E_AGAIN else {
                throw Breach("the TLS handshake failed: \(String(cString: gnutls_strerror(result)))")
            }
            tls.incoming += try receiveSome()
        }
        self.tls = tls
        style = .simple
        contexts = [:]
    }

    /// Says that nothing more will be sent (close_notify), and keeps the connection.
    func sayGoodbye() throws {
        guard let tls else { throw Breach("there is no TLS to end") }
        tls.sayGoodbye()
        try sendInTheClear(tls.takeOutgoing())
    }

    /// Whether the server says goodbye (close_notify) and closes, without sending anything more.
    func isToldGoodbyeAndClosed() -> Bool {
        guard isClosedByServer(), isToldGoodbye else { return false }
        do {
            _ = try receiveSome()
            return false
        } catch RawConnection.Failure.closed(received: 0) {
            return true
        } catch {
            return false
        }
    }

    /// The records of bytes.
    func encrypt(_ bytes: [UInt8], _ tls: TLSClient) -> [UInt8] {
        tls.send(bytes)
        return tls.takeOutgoing()
    }

    /// Receives exactly so many bytes of plaintext.
    func receive(_ count: Int, _ tls: TLSClient) throws -> [UInt8] {
        while plaintext.count < count {
            guard !isToldGoodbye else { throw RawConnection.Failure.closed(received: plaintext.count) }
            do {
                tls.incoming += try receiveSome()
            } catch RawConnection.Failure.closed {
                throw RawConnection.Failure.closed(received: plaintext.count)
            }
            let (bytes, result) = tls.receive()
            plaintext += bytes
            isToldGoodbye = result == 0
            guard result == 0 || result == GNUTLS_E_AGAIN else {
                throw Breach("TLS: \(String(cString: gnutls_strerror(result)))")
            }
        }
        defer { plaintext.removeFirst(count) }
        return plaintext.bytes(0, count)
    }
}

extension ServedImage {
    /// Serves a file with `--tls`, for clients that have the key.
    convenience init(
        tls mode: String, _ key: TestKey, sizeBytes: Int = 1 << 20, content: [UInt8] = [], threads: Int = 1,
        options: [String] = []
    ) throws {
        try self.init(
            sizeBytes: sizeBytes, content: content, threads: threads,
            options: ["--tls", mode, "--tls-psk", key.path] + options)
    }

    /// A client inside of TLS, in the handshake of NBD.
    func negotiate(_ settings: TLSClientSettings) throws -> Client {
        let client = try negotiate()
        try client.startTLS(settings)
        return client
    }

    /// A client inside of TLS, in the transmission phase.
    func open(_ settings: TLSClientSettings, _ style: Style = .simple, contexts: [String] = []) throws -> Client {
        let client = try negotiate(settings)
        try client.negotiate(style)
        if !contexts.isEmpty { try client.selectContexts("", contexts) }
        try client.go("")
        return client
    }
}
