// A server with one image in a file, for one test.

import Foundation
import Support

/// `spindle serve` with an image whose bytes the test knows.
final class ServedImage {
    let folder: TemporaryFolder
    let server: RunningServer
    let sizeBytes: Int
    static let fileName = "disk.img"

    /// Serves a file that begins with `content`.
    ///
    /// - Parameters:
    ///   - options: more arguments; images among them are served before this one.
    ///   - limits: options of prlimit(1).
    init(
        sizeBytes: Int = 1 << 20, content: [UInt8] = [], threads: Int = 1, options: [String] = [], limits: [String] = []
    ) throws {
        folder = try TemporaryFolder()
        self.sizeBytes = sizeBytes
        let path = try folder.file(Self.fileName, sizeBytes: UInt64(sizeBytes), beginning: content)
        server = try RunningServer(["--threads", "\(threads)"] + options + [path], limits: limits, in: folder)
    }

    /// The image file.
    var path: String { folder.path + "/" + Self.fileName }

    /// Bytes of the image file as they are now.
    func bytes(_ offset: Int = 0, _ count: Int? = nil) throws -> [UInt8] {
        try folder.bytes(Self.fileName, from: UInt64(offset), count: count ?? sizeBytes - offset)
    }

    /// The space that the image file takes.
    func allocatedBytes() throws -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { throw Breach("there is no image file") }
        return Int(status.st_blocks) * 512
    }

    /// A client that has said nothing yet.
    func connect() throws -> Client {
        try server.connect()
    }

    /// A client in the handshake.
    func negotiate() throws -> Client {
        try server.negotiate()
    }

    /// A client in the transmission phase.
    func open(structured: Bool = false, information: [UInt16] = []) throws -> Client {
        try server.open(structured: structured, information: information)
    }

    /// A client in the transmission phase.
    func open(_ style: Style, contexts: [String] = []) throws -> Client {
        try server.open(style, contexts: contexts)
    }
}

extension RunningServer {
    /// A client that has said nothing yet, on the Unix socket or over TCP.
    func connect(tcp: Bool = false) throws -> Client {
        guard tcp else { return Client(try RawConnection(unix: socketPath), of: self) }
        guard let port else { throw Breach("the server does not listen on TCP: \(announcement)") }
        return Client(try RawConnection(port: port), of: self)
    }

    /// A client in the handshake.
    func negotiate(tcp: Bool = false) throws -> Client {
        let client = try connect(tcp: tcp)
        try client.begin()
        return client
    }

    /// A client in the transmission phase.
    func open(
        _ name: String = "", structured: Bool = false, information: [UInt16] = [], tcp: Bool = false
    ) throws -> Client {
        let client = try negotiate(tcp: tcp)
        if structured { try client.negotiateStructuredReplies() }
        try client.go(name, information)
        return client
    }

    /// A client in the transmission phase, with metadata contexts.
    func open(_ style: Style, name: String = "", contexts: [String] = []) throws -> Client {
        let client = try negotiate()
        try client.negotiate(style)
        if !contexts.isEmpty { try client.selectContexts(name, contexts) }
        try client.go(name)
        return client
    }
}
