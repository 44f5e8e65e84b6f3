// The other end of the control socket: one request a connection (RFC 9112), over a Unix socket.

import Glibc
import Listening
import Server

/// The failure of a request: the server answered with one, or not at all.
public enum ControlClientError: Error, CustomStringConvertible {
    /// No server listens there.
    case unreachable(path: String, code: Int32)
    /// There is something, and it is no server of ours, or went away.
    case noAnswer(path: String)
    /// The server's words.
    case refused(String)

    /// The failure and the right way.
    public var description: String {
        switch self {
        case .unreachable(let path, ENOENT):
            "there is no socket \(path); is 'spindle serve --control unix:PATH' running, and was that its PATH? "
                + "(--control or $SPINDLE_CONTROL say which one to use)"
        case .unreachable(let path, ENOTSOCK):
            "'\(path)' is no socket; --control unix:PATH has to be that of 'spindle serve'"
        case .unreachable(let path, ECONNREFUSED):
            "nobody listens on \(path) any more: the server has ended without removing it"
        case .unreachable(let path, let code) where code == EACCES || code == EPERM:
            "you may not connect to \(path): only the user that runs the server may, and root"
        case .unreachable(let path, let code):
            unsafe "cannot connect to \(path): \(String(cString: strerror(code)))"
        case .noAnswer(let path):
            "what listens on \(path) gave no answer that makes sense; is it the control socket of 'spindle serve'?"
        case .refused(let message): message
        }
    }
}

/// A control socket, as its clients see it.
public struct ControlClient {
    /// Where a server listens that was not told otherwise.
    public static let standardPath = "/run/spindle/control.sock"
    /// Long enough for disks that have to be flushed.
    private static let answerSeconds = 120
    /// Long enough for whole disks that have to be copied.
    public static let copySeconds = 86400

    private let path: String

    /// The socket at a path.
    public init(path: String) {
        self.path = path
    }

    /// Sends a request and waits for its answer.
    ///
    /// - Parameters:
    ///   - path: the path of the target, its segments not yet encoded.
    ///   - query: what follows the path, if anything.
    ///   - seconds: how long the answer may take; nil: as long as disks take that have to be flushed.
    /// - Returns: the content of a successful response; it may be empty.
    public func send(
        _ method: String, _ path: [String], query: String? = nil, body: [UInt8] = [], seconds: Int? = nil
    ) throws(ControlClientError) -> [UInt8] {
        let target = "/" + path.map(Self.percentEncoded).joined(separator: "/") + (query.map { "?" + $0 } ?? "")
        var request = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        if !body.isEmpty {
            request += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n"
        }
        let socket = try connect()
        defer { close(socket.descriptor) }
        let deadline = Deadline(seconds: seconds ?? Self.answerSeconds)
        // A server that refuses to read on may still have sent an answer: it is worth reading.
        socket.send(Array((request + "\r\n").utf8) + body, before: deadline)
        var response: [UInt8] = []
        while case .bytes(let bytes) = socket.receive(before: deadline) { response += bytes }
        return try content(of: response)
    }

    /// A segment of a path (RFC 3986, 3.3) that may have slashes in it.
    public static func percentEncoded(_ segment: String) -> String {
        Endpoint.percentEncoded(segment).split(separator: "/", omittingEmptySubsequences: false).joined(
            separator: "%2F")
    }

    private func connect() throws(ControlClientError) -> TimedSocket {
        guard path.utf8.count <= Self.maximumPathBytes else { throw .unreachable(path: path, code: ENAMETOOLONG) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .unreachable(path: path, code: errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let result = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let code = errno
            close(descriptor)
            throw .unreachable(path: path, code: code == ECONNREFUSED && !isSocket ? ENOTSOCK : code)
        }
        return TimedSocket(descriptor: descriptor)
    }

    /// connect(2) has one error for what is no socket, and for one where nobody listens.
    private var isSocket: Bool {
        var status = stat()
        return unsafe stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFSOCK
    }

    /// The longest path that fits `sockaddr_un`, its terminating NUL excluded.
    private static let maximumPathBytes = 107

    /// Takes a response apart: the server sends a length, and closes behind it.
    private func content(of response: [UInt8]) throws(ControlClientError) -> [UInt8] {
        let separator = Array("\r\n\r\n".utf8)
        guard let end = response.indices.first(where: { response[$0...].starts(with: separator) }) else {
            throw .noAnswer(path: path)
        }
        let head = String(decoding: response[..<end], as: UTF8.self).split(separator: "\r\n")
        let words = (head.first ?? "").split(separator: " ")
        guard words.count > 1, words[0] == "HTTP/1.1", let status = Int(words[1]) else { throw .noAnswer(path: path) }
        let content = Array(response[(end + separator.count)...])
        let length = head.compactMap { line -> Int? in
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "content-length" else { return nil }
            return Int(parts[1].drop { $0 == " " })
        }
        guard content.count == length.first ?? 0 else { throw .noAnswer(path: path) }
        guard (200..<300).contains(status) else {
            let failure = try? JSON.decode(Answer.Failure.self, content)
            throw failure.map { .refused($0.error) } ?? .noAnswer(path: path)
        }
        return content
    }
}
