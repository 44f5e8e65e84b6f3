// Files of keys and certificates: which are taken, and what is said of the others.

import CGnuTLS
import Foundation
import Support
import Testing

@testable import TLS

@Suite struct PreSharedKeyFileTests {
    func parse(_ text: String) throws(TLSCredentialsError) -> PreSharedKeys {
        try PreSharedKeys(Array(text.utf8), path: "keys")
    }

    @Test func users() throws {
        let keys = try parse("ann:00ff\r\n\nb:c:0A\n#6265617400:01\n#c3a9:02".replacing("7400:", with: "74:"))
        #expect(keys[Array("ann".utf8)] == [0, 255])
        #expect(keys[Array("b:c".utf8)] == [10])
        #expect(keys[Array("beat".utf8)] == [1])
        #expect(keys[Array("\u{e9}".utf8)] == [2])
        #expect(keys[Array("nobody".utf8)] == nil)
    }

    @Test(arguments: [
        ("ann", 1), ("ann:", 1), ("ann:1", 1), ("ann:0g", 1), ("ann:0\u{e9}", 1), (":00", 1), ("#xx:00", 1),
        ("#00:00", 1), ("#ff:00", 1), ("a:00\na:01", 2), ("a:00\n\nb c", 3),
    ])
    func linesThatAreNone(text: String, line: Int) {
        do {
            _ = try parse(text)
            Issue.record("'\(text)' was taken")
        } catch {
            guard case .keyLine("keys", line, _) = error else {
                Issue.record("\(error)")
                return
            }
            #expect("\(error)".hasPrefix("line \(line) of 'keys' "))
        }
    }

    @Test(arguments: ["", "\n\n"]) func noKeys(text: String) {
        #expect(throws: TLSCredentialsError.noKeys(path: "keys")) { _ = try parse(text) }
    }

    /// The file as psktool writes it, with two users.
    @Test func psktool() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/keys.psk"
        for user in ["alice", "bob"] {
            let result = try Program.tool("psktool").run(["-u", user, "-p", path], in: folder)
            #expect(result.status == 0, "\(result.errors)")
        }
        let line = try #require(try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").last)
        let parts = line.split(separator: ":")
        #expect(parts[0] == "bob")
        let digits = Array(parts[1])
        let key = try stride(from: 0, to: digits.count, by: 2).map {
            try #require(UInt8(String(digits[$0...$0 + 1]), radix: 16))
        }
        let credentials = try TLSCredentials(certificates: nil, preSharedKeyFile: path, verifyPeer: false)
        let conversation = Conversation(credentials, TLSClientSettings(preSharedKey: ("bob", key)))
        #expect(conversation.shakeHands().server == .done)
        #expect(conversation.server.client.preSharedKeyUser == "bob")
    }
}

@Suite struct CertificateFileTests {
    let files: TestFiles

    init() throws { files = try TestFiles.shared.get() }

    func load(_ folder: TemporaryFolder) throws {
        _ = try TLSCredentials(certificates: folder.path, preSharedKeyFile: nil, verifyPeer: true)
    }

    @Test(arguments: ["ca-cert.pem", "server-cert.pem", "server-key.pem"])
    func missingFile(name: String) throws {
        let folder = try files.serverFolder()
        let path = folder.path + "/" + name
        try FileManager.default.removeItem(atPath: path)
        #expect(throws: TLSCredentialsError.file(path: path, action: "read", errno: ENOENT)) { try load(folder) }
    }

    @Test(arguments: ["ca-cert.pem", "server-cert.pem", "server-key.pem", "ca-crl.pem"])
    func damagedFile(name: String) throws {
        let folder = try files.serverFolder()
        let path = folder.path + "/" + name
        try Data("-----BEGIN CERTIFICATE-----\nabc\n".utf8).write(to: URL(fileURLWithPath: path))
        do {
            try load(folder)
            Issue.record("it was taken")
        } catch {
            guard case .unusable(path, _)? = error as? TLSCredentialsError else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test func keyOfAnother() throws {
        let folder = try files.serverFolder(["server-key": "client-key"])
        do {
            try load(folder)
            Issue.record("it was taken")
        } catch {
            #expect("\(error)" == "the key in '\(folder.path)/server-key.pem' is not that of server-cert.pem")
        }
    }

    @Test func expiredServer() throws {
        let folder = try files.serverFolder(["server-cert": "old-server-cert", "server-key": "old-server-key"])
        let path = folder.path + "/server-cert.pem"
        #expect(throws: TLSCredentialsError.notValidNow(path: path, expired: true)) { try load(folder) }
    }

    /// Credentials are gone, but not for the sessions that have them.
    @Test func sessionsOutliveTheirMaker() throws {
        func make() throws -> Conversation {
            let credentials = try TLSCredentials(
                certificates: files.directory, preSharedKeyFile: nil, verifyPeer: true)
            return Conversation(
                credentials, TLSClientSettings(trusts: files.path("ca-cert.pem"), certificate: files.pair("client")))
        }
        let conversation = try make()
        #expect(conversation.shakeHands().server == .done)
    }
}
