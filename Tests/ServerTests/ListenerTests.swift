// Sockets to listen on: what is left behind, what is in the way, what cannot be.

import Glibc
import Support
import Testing

@testable import Server

@Suite struct ListenerTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    private func reason(_ endpoint: Endpoint) throws -> String {
        let error = try #require(throws: EndpointError.self) { try Listener.open(endpoint) }
        guard case .cannotListen(endpoint, let reason) = error else {
            Issue.record("another error: \(error)")
            return ""
        }
        return reason
    }

    @Test func aUnixSocketIsThereUntilItIsClosed() throws {
        let path = folder.path + "/s"
        let listeners = try Listener.open(.unix(path: path))
        #expect(listeners.count == 1 && listeners[0].endpoint == .unix(path: path) && !listeners[0].isTCP)
        _ = try RawConnection(unix: path)
        listeners[0].close()
        #expect(!exists(path))
    }

    /// What a killed server left behind is in nobody's way.
    @Test func aStaleSocketIsReplaced() throws {
        let path = folder.path + "/s"
        let dead = try Listener.open(.unix(path: path))[0]
        Glibc.close(dead.descriptor)
        #expect(exists(path))
        let alive = try Listener.open(.unix(path: path))[0]
        _ = try RawConnection(unix: path)
        alive.close()
    }

    @Test func aSocketThatIsInUseStays() throws {
        let path = folder.path + "/s"
        let first = try Listener.open(.unix(path: path))[0]
        #expect(try reason(.unix(path: path)).contains("another program listens there"))
        _ = try RawConnection(unix: path)
        first.close()
    }

    /// A path mistyped is not a file lost: connect(2) says the same of a file as of a stale socket.
    @Test func aFileIsNotRemoved() throws {
        let path = try folder.file("disk.img", sizeBytes: 4096, beginning: [1, 2, 3])
        #expect(try reason(.unix(path: path)).contains("no socket"))
        #expect(try folder.bytes("disk.img", count: 3) == [1, 2, 3])
        #expect(try reason(.unix(path: folder.path)).contains("no socket"))
        let link = folder.path + "/link"
        try #require(symlink(path, link) == 0)
        #expect(try reason(.unix(path: link)).contains("no socket"))
        #expect(exists(link) && exists(path))
    }

    @Test func aFolderThatIsMissing() throws {
        #expect(try reason(.unix(path: folder.path + "/no/s")).contains("No such file or directory"))
    }

    @Test func thePortThatTheSystemChose() throws {
        let listener = try Listener.open(.tcp(host: "127.0.0.1", port: 0))[0]
        guard case .tcp("127.0.0.1", let port) = listener.endpoint else {
            Issue.record("another endpoint: \(listener.endpoint)")
            return
        }
        #expect(port != 0 && listener.isTCP)
        _ = try RawConnection(port: port)
        #expect(try reason(.tcp(host: "127.0.0.1", port: port)).contains("another program listens there"))
        listener.close()
    }

    @Test func hostsWithoutAnAddress() {
        let error = #expect(throws: EndpointError.self) { try Listener.open(.tcp(host: "no such host", port: 1)) }
        guard case .unknownHost("no such host", _) = error else {
            Issue.record("another error: \(String(describing: error))")
            return
        }
    }

    @Test func descriptorsThatDoNotListen() throws {
        let file = open(try folder.file("x", sizeBytes: 1), O_RDONLY)
        defer { close(file) }
        #expect(try reason(.descriptor(file)).contains("no socket"))
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        #expect(try reason(.descriptor(socket)).contains("does not listen"))
        // No process has as many.
        #expect(try reason(.descriptor(.max)).contains("not open"))
    }

    @Test func aDescriptorThatListens() throws {
        let unix = try Listener.open(.unix(path: folder.path + "/s"))[0]
        defer { unix.close() }
        let adopted = try Listener.open(.descriptor(unix.descriptor))
        #expect(adopted.count == 1 && adopted[0].endpoint == .descriptor(unix.descriptor) && !adopted[0].isTCP)
        let tcp = try Listener.open(.tcp(host: "127.0.0.1", port: 0))[0]
        defer { tcp.close() }
        #expect(try Listener.open(.descriptor(tcp.descriptor))[0].isTCP)
        #expect(fcntl(tcp.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    }

    /// Nonsense in the variables of systemd is an error, whatever the number.
    @Test(arguments: ["2147483647", "1"])
    func socketsThatSystemdDidNotPass(count: String) throws {
        let script = "LISTEN_PID=$$ LISTEN_FDS=\(count) exec \"$0\" serve null:1M 3<&-"
        let result = try Program.tool("sh").run(["-c", script, Program.spindle.path], in: folder)
        #expect(result.status == 1)
        #expect(result.errors.contains("fd:3") && result.errors.contains("not open"))
    }

    /// Variables for another process are none.
    @Test func socketsOfAnotherProcess() throws {
        #expect(try Listener.fromSystemd().isEmpty)
    }
}
