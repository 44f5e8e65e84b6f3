// Sockets to listen on: what is left behind, what is in the way, what cannot be.

import Glibc
import Support
import Testing

@testable import Listening

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

    /// Who came before it was over, and was not accepted, is let go: nobody will ever answer him.
    @Test(arguments: [false, true]) func whoWaitsIsTurnedAway(tcp: Bool) throws {
        let path = folder.path + "/s"
        let listener = try Listener.open(tcp ? .tcp(host: "127.0.0.1", port: 0) : .unix(path: path))[0]
        defer { listener.close() }
        var port: UInt16 = 0
        if case .tcp(_, let chosen) = listener.endpoint { port = chosen }
        let waiting = try (0..<3).map { _ in try tcp ? RawConnection(port: port) : RawConnection(unix: path) }
        listener.refuse()
        for connection in waiting {
            var state = pollfd(fd: connection.descriptor, events: Int16(POLLIN), revents: 0)
            #expect(poll(&state, 1, 60_000) == 1)
        }
        #expect(throws: (any Error).self) { try tcp ? RawConnection(port: port) : RawConnection(unix: path) }
    }

    /// The socket of a killed server is in nobody's way.
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

    /// Another server's socket in the same place is not this one's to remove.
    @Test func aSocketThatTookItsPlaceStays() throws {
        let path = folder.path + "/s"
        let first = try Listener.open(.unix(path: path))[0]
        try #require(rename(path, path + ".old") == 0)
        let second = try Listener.open(.unix(path: path))[0]
        first.close()
        _ = try RawConnection(unix: path)
        second.close()
        #expect(!exists(path))
    }

    @Test(arguments: [UInt32(0o600), 0o660, 0o777, 0o000])
    func aSocketsMode(mode: UInt32) throws {
        let path = folder.path + "/s"
        var permissions = SocketPermissions()
        permissions.mode = mode
        let listener = try Listener.open(.unix(path: path, permissions: permissions))[0]
        defer { listener.close() }
        var status = stat()
        try #require(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o7777 == mode)
    }

    @Test(.enabled(if: geteuid() == 0, "only root may give a file to others")) func aSocketsOwner() throws {
        let path = folder.path + "/s"
        for (owner, user, group) in [
            ("owner=daemon", 1, 0), ("owner=:daemon", 0, 1), ("owner=daemon:daemon", 1, 1),
            ("owner=4711:4712", 4711, 4712),
        ] {
            let listener = try Listener.open(try Endpoint(parsing: "unix:\(path),\(owner)"))[0]
            var status = stat()
            try #require(lstat(path, &status) == 0)
            #expect(status.st_uid == user && status.st_gid == group, "\(owner)")
            listener.close()
        }
    }

    @Test func ownersThatAreNone() throws {
        let path = folder.path + "/s"
        for (owner, part) in [
            ("owner=no such user", "no user 'no such user'"), ("owner=:nobodys", "no group 'nobodys'"),
        ] {
            #expect(try reason(try Endpoint(parsing: "unix:\(path),\(owner)")).contains(part))
            #expect(!exists(path))
        }
    }

    /// Each socket of a name has the same port, whatever address it is for.
    @Test func aNamesAddressesShareAPort() throws {
        let listeners = try Listener.open(.tcp(host: "localhost", port: 0))
        defer { for listener in listeners { listener.close() } }
        #expect(Set(listeners.map { "\($0.endpoint)" }).count == 1)
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
        // Clients are told where it is, not what number it has here.
        #expect(adopted.count == 1 && adopted[0].endpoint == unix.endpoint && !adopted[0].isTCP)
        let tcp = try Listener.open(.tcp(host: "127.0.0.1", port: 0))[0]
        defer { tcp.close() }
        let adoptedTCP = try Listener.open(.descriptor(tcp.descriptor))[0]
        #expect(adoptedTCP.isTCP && adoptedTCP.endpoint == tcp.endpoint)
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
        #expect(try SystemdSockets.take().listeners().isEmpty)
    }
}
