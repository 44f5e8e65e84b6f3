// Handshakes with certificates and pre-shared keys, and all the ways in which they fail.

import CGnuTLS
import Seeded
import Support
import Testing

@testable import TLS

@Suite struct HandshakeTests {
    let files: TestFiles
    let versions = ["TLS1.2", "TLS1.3"]

    init() throws { files = try TestFiles.shared.get() }

    /// Credentials of the tests' server.
    func certificates(verifyPeer: Bool = true) throws -> TLSCredentials {
        try TLSCredentials(certificates: files.directory, preSharedKeyFile: nil, verifyPeer: verifyPeer)
    }

    func settings(_ client: String?) -> TLSClientSettings {
        TLSClientSettings(trusts: files.path("ca-cert.pem"), certificate: client.map(files.pair))
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"], [Int.max, 1])
    func certificatesOnBothSides(version: String, pieceBytes: Int) throws {
        let conversation = Conversation(try certificates(), settings("client").only(version))
        conversation.pieceBytes = pieceBytes
        let outcome = conversation.shakeHands()
        try #require(outcome.server == .done && outcome.client == 0, "\(outcome)")
        #expect(conversation.server.agreement.hasPrefix("(\(version))"))
        let identity = conversation.server.client
        #expect(identity.distinguishedName == "O=Example,CN=laptop.example.com")
        #expect(identity.preSharedKeyUser == nil)
        #expect(
            identity.alternativeNames.sorted { "\($0)" < "\($1)" } == [
                .address("192.0.2.7"), .address("2001:db8::7"), .dns("laptop.example.com"), .email("ann@example.com"),
                .uri("urn:example:laptop"),
            ])
        conversation.client.send([1, 2, 3])
        #expect(conversation.decrypt().bytes == [1, 2, 3])
        #expect(conversation.encrypt([4, 5]))
        #expect(conversation.client.receive().bytes == [4, 5])
    }

    /// A text ends at a NUL for those who compare names in C: such a name is left out.
    @Test func aNameWithANULIsNone() throws {
        let conversation = Conversation(try certificates(), settings("trickster"))
        try #require(conversation.shakeHands().server == .done)
        #expect(conversation.server.client.commonNames == ["trickster"])
        #expect(conversation.server.client.alternativeNames == [.dns("good")])
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"], [Int.max, 1])
    func preSharedKey(version: String, pieceBytes: Int) throws {
        let key = try TestKey()
        let conversation = Conversation(try key.credentials, key.settings.only(version))
        conversation.pieceBytes = pieceBytes
        let outcome = conversation.shakeHands()
        try #require(outcome.server == .done && outcome.client == 0, "\(outcome)")
        #expect(conversation.server.client == TLSClientIdentity(preSharedKeyUser: "alice"))
        conversation.client.send([7])
        #expect(conversation.decrypt().bytes == [7])
    }

    /// AES-GCM in all cases: what is fast, though the client's order is another. ChaCha20 for who has nothing else.
    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func ciphers(version: String) throws {
        let key = try TestKey()
        let withKey = Conversation(try key.credentials, key.settings.only(version))
        #expect(withKey.shakeHands().server == .done)
        #expect(withKey.server.agreement.contains("-GCM)"), "\(withKey.server.agreement)")
        let withCertificate = Conversation(try certificates(), settings("client").only(version))
        #expect(withCertificate.shakeHands().server == .done)
        #expect(withCertificate.server.agreement.hasSuffix("(AES-256-GCM)"), "\(withCertificate.server.agreement)")
        var onlyChaCha = key.settings.only(version)
        onlyChaCha.priority += ":-CIPHER-ALL:+CHACHA20-POLY1305"
        let withoutAES = Conversation(try key.credentials, onlyChaCha)
        #expect(withoutAES.shakeHands().server == .done)
    }

    @Test func aCertificateThatNobodyAsksForIsNotShown() throws {
        let conversation = Conversation(try certificates(verifyPeer: false), settings("client"))
        #expect(conversation.shakeHands().server == .done)
        #expect(conversation.server.client == TLSClientIdentity())
    }

    /// A server with both serves clients of both kinds.
    @Test func bothKindsOfCredentials() throws {
        let key = try TestKey()
        let both = try TLSCredentials(certificates: files.directory, preSharedKeyFile: key.path, verifyPeer: true)
        for version in versions {
            let withKey = Conversation(both, key.settings.only(version))
            #expect(withKey.shakeHands().server == .done)
            #expect(withKey.server.client.preSharedKeyUser == "alice")
            let withCertificate = Conversation(both, settings("client").only(version))
            #expect(withCertificate.shakeHands().server == .done)
            #expect(withCertificate.server.client.distinguishedName == "O=Example,CN=laptop.example.com")
        }
    }

    /// The words for an unknown user and for a wrong key are the same on the wire and in the log.
    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func wrongKeyAndUnknownUser(version: String) throws {
        let key = try TestKey()
        var failures: [TLSFailure] = []
        var alerts: [Int32] = []
        for (user, bytes) in [("alice", [9, 9, 9]), ("mallory", key.key)] {
            var settings = TLSClientSettings().only(version)
            settings.preSharedKey = (user, bytes)
            let conversation = Conversation(try key.credentials, settings)
            let outcome = conversation.shakeHands()
            guard case .failed(let failure) = outcome.server else {
                Issue.record("\(user): \(outcome)")
                continue
            }
            failures.append(failure)
            alerts.append(outcome.client)
            #expect(outcome.client == GNUTLS_E_FATAL_ALERT_RECEIVED)
            #expect(conversation.server.client == TLSClientIdentity())
        }
        #expect(failures.count == 2 && failures[0] == failures[1], "\(failures)")
        #expect("\(failures[0])".contains("key"), "\(failures[0])")
    }

    @Test(
        arguments: ["TLS1.2", "TLS1.3"],
        [
            (nil, "the client shows no certificate"),
            ("expired", "expired"),
            ("stranger", "issuer is unknown"),
            ("server", "purpose"),
        ] as [(String?, String)])
    func clientsThatAreNotAccepted(version: String, client: (name: String?, words: String)) throws {
        let conversation = Conversation(try certificates(), settings(client.name).only(version))
        let outcome = conversation.shakeHands()
        guard case .failed(let failure) = outcome.server else {
            Issue.record("\(outcome)")
            return
        }
        #expect("\(failure)".contains(client.words), "\(failure)")
        // In TLS 1.3 the client is done before its certificate is looked at; the alert comes with its first record.
        let heard = outcome.client == 0 ? conversation.client.receive().result : outcome.client
        #expect(heard == GNUTLS_E_FATAL_ALERT_RECEIVED)
        #expect(conversation.server.failure == failure)
    }

    @Test func revokedCertificate() throws {
        try files.makeRevocationList()
        let folder = try files.serverFolder(["ca-crl": "crl"])
        let credentials = try TLSCredentials(certificates: folder.path, preSharedKeyFile: nil, verifyPeer: true)
        let revoked = Conversation(credentials, settings("revoked"))
        guard case .failed(let failure) = revoked.shakeHands().server else {
            Issue.record("a revoked certificate was accepted")
            return
        }
        #expect("\(failure)".contains("revoked"))
        let other = Conversation(credentials, settings("client"))
        #expect(other.shakeHands().server == .done)
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func aClientThatDoesNotTrustTheServer(version: String) throws {
        var settings = TLSClientSettings(trusts: files.path("other-ca-cert.pem")).only(version)
        settings.certificate = files.pair("client")
        let conversation = Conversation(try certificates(), settings)
        let outcome = conversation.shakeHands()
        #expect(outcome.client == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
        guard case .failed(let failure) = outcome.server else {
            Issue.record("\(outcome)")
            return
        }
        #expect("\(failure)".hasPrefix("the client refuses: "), "\(failure)")
    }

    @Test(arguments: ["TLS1.0", "TLS1.1"])
    func oldVersions(version: String) throws {
        var old = settings("client")
        old.priority = "NORMAL:-VERS-ALL:+VERS-\(version):%COMPAT"
        let conversation = Conversation(try certificates(), old)
        let outcome = conversation.shakeHands()
        guard case .failed(let failure) = outcome.server else {
            Issue.record("\(outcome)")
            return
        }
        #expect("\(failure)".contains("TLS 1.2"), "\(failure)")
        #expect(outcome.client == GNUTLS_E_FATAL_ALERT_RECEIVED)
        #expect(gnutls_alert_get(conversation.client.session) == GNUTLS_A_PROTOCOL_VERSION)
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func nothingInCommon(version: String) throws {
        let key = try TestKey()
        let certificateClient = Conversation(try key.credentials, settings("client").only(version))
        let keyClient = Conversation(try certificates(), key.settings.onlyPreSharedKeys(version))
        // In TLS 1.3 a client does not say how it will authenticate itself.
        let words = version == "TLS1.2" ? "in common" : "shows no certificate"
        for (conversation, words) in [(certificateClient, "in common"), (keyClient, words)] {
            let outcome = conversation.shakeHands()
            guard case .failed(let failure) = outcome.server else {
                Issue.record("\(outcome)")
                return
            }
            #expect("\(failure)".contains(words), "\(failure)")
        }
    }

    /// A client that goes on in plain text, as after an NBD option that was slipped in behind STARTTLS.
    @Test func plainTextInsteadOfTLS() throws {
        let key = try TestKey()
        var session = TLSSession(try key.credentials)
        let option = Array("IHAVEOPT".utf8) + [0, 0, 0, 3, 0, 0, 0, 0]
        let (_, step) = session.handshake(option.span.bytes)
        guard case .failed(let failure) = step else {
            Issue.record("\(step)")
            return
        }
        #expect("\(failure)".contains("TLS"), "\(failure)")
        let (consumed, again) = session.handshake(option.span.bytes)
        #expect(consumed == 0)
        #expect(again == step)
        let taken = session.encrypt(option.span.bytes)
        #expect(taken == 0)
    }

    /// For any input the session fails or waits; and its answer fits its output.
    @Test func garbage() throws {
        let key = try TestKey()
        let credentials = try key.credentials
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let hello = Conversation(credentials, key.settings)
        _ = hello.client.handshake()
        for round in 0..<300 {
            var bytes = random.bytes(Int(random.next() % 700))
            if round % 3 == 1, bytes.count > 5 { bytes.replaceSubrange(0..<3, with: [22, 3, 3]) }
            if round % 3 == 2 {
                // A real ClientHello with a few bytes changed.
                bytes = hello.client.outgoing
                for _ in 0..<1 + random.next() % 4 {
                    bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
                }
            }
            var session = TLSSession(credentials, outputBytes: 32 << 10)
            let (consumed, step) = session.handshake(bytes.span.bytes)
            #expect(step != .done, "seed \(seed), round \(round)")
            #expect(consumed <= bytes.count, "seed \(seed), round \(round)")
            #expect(session.output.count <= 32 << 10, "seed \(seed), round \(round)")
        }
    }

    /// Half a handshake is no failure, whereever it ends.
    @Test func handshakeThatStops() throws {
        let key = try TestKey()
        let client = TLSClient(key.settings)
        _ = client.handshake()
        for count in stride(from: 0, to: client.outgoing.count, by: 7) {
            var session = TLSSession(try key.credentials)
            let piece = Array(client.outgoing[..<count])
            let (consumed, step) = session.handshake(piece.span.bytes)
            #expect(step == .needsMoreBytes)
            #expect(consumed == count)
            #expect(session.output.isEmpty)
        }
    }
}

extension TLSClientSettings {
    /// No certificates either.
    fileprivate func onlyPreSharedKeys(_ version: String) -> TLSClientSettings {
        var copy = self
        copy.priority = "NORMAL:-VERS-ALL:+VERS-\(version):-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK"
        return copy
    }
}
