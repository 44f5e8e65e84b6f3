// Where a server listens, and who gets in: owners and modes of Unix sockets, hosts with several addresses, vsock.

import Foundation
import Support
import Testing

@Suite struct ListeningTests {
    /// A user without rights, who tries all the time, never gets in, not even in the moment between bind and chmod.
    @Test(.enabled(if: geteuid() == 0, "only root can become somebody else"))
    func aStrangerNeverGetsIn() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s"
        let script = """
            import socket, sys
            errors = set()
            print('ready', flush=True)
            while True:
                with socket.socket(socket.AF_UNIX) as s:
                    try:
                        s.connect(sys.argv[1])
                        print('connected', flush=True)
                    except OSError as error:
                        if error.errno not in errors: print(error.errno, flush=True)
                        errors.add(error.errno)
            """
        let stranger = try RunningProgram(
            Program.tool("setpriv"),
            ["--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", script, path], in: folder)
        try stranger.wait("to begin") { stranger.output.contains("ready") }
        // Without the mode, everybody could connect.
        let start = "umask 0; exec \"$0\" \"$@\""
        for _ in 0..<8 {
            let result = try Program.tool("sh").run(
                [
                    "-c", start, Program.spindle.path, "serve", "--listen", "unix:\(path),mode=0600", "--run",
                    "nbdinfo --size \"$uri\"", "null:1M",
                ], in: folder)
            #expect(result.status == 0 && result.text == "1048576\n", "\(result.errors)")
        }
        try stranger.wait("to be refused") { stranger.output.contains("\(EACCES)\n") }
        #expect(!stranger.output.contains("connected"))
        // The test would see it.
        let open = try Program.tool("sh").run(
            [
                "-c", start, Program.spindle.path, "serve", "--listen", "unix:\(path),mode=0666", "--run",
                "until grep -q connected \(folder.path)/*.out; do :; done", "null:1M",
            ], in: folder)
        #expect(open.status == 0 && stranger.output.contains("connected"))
        try stranger.stop()
    }

    @Test(.enabled(if: geteuid() == 0, "only root may give a file to others"))
    func whomASocketBelongsTo() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s"
        try serving(["--listen", "unix:\(path),mode=0660,owner=root:daemon", "null:1M"], in: folder) { server in
            let uri = "nbd+unix:///?socket=\(path)"
            #expect(server.announcement.contains("socket=\(path): "))
            for (group, status) in [("daemon", Int32(0)), ("games", 1)] {
                let result = try Program.tool("setpriv").run(
                    ["--reuid=65534", "--regid=\(group)", "--clear-groups", "nbdinfo", "--size", uri], in: folder)
                #expect(result.status == status, "\(group): \(result.errors)")
            }
        }
    }

    /// Only root may give files away.
    @Test func anOwnerWithoutTheRight() throws {
        let folder = try TemporaryFolder()
        let serve = [Program.spindle.path, "serve", "--listen", "unix:\(folder.path)/s,owner=daemon", "null:1M"]
        let before = geteuid() == 0 ? ["--bounding-set=-chown"] : []
        let result = try Program.tool("setpriv").run(before + serve, in: folder)
        #expect(result.status == 1 && result.errors.contains("only root may give it to others"), "\(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/s"))
    }

    /// The resolver names some addresses twice; the one that this machine does not have is passed over.
    @Test(.enabled(if: geteuid() == 0, "only root may mount"))
    func allAddressesOfAName() throws {
        let folder = try TemporaryFolder()
        let hosts = folder.path + "/hosts"
        let lines = ["127.0.0.1", "127.0.0.2", "127.0.0.1", "::1", "2001:db8::1"].map { "\($0) several\n" }
        try lines.joined().write(toFile: hosts, atomically: true, encoding: .utf8)
        let addresses = ["127.0.0.1", "127.0.0.2"] + (Self.hasIPv6 ? ["[::1]"] : [])
        let command = addresses.map { "nbdinfo --size nbd://\($0):$port" }.joined(separator: " && ")
        let result = try Program.tool("unshare").run(
            [
                "--mount", "sh", "-c", "mount --bind \(hosts) /etc/hosts && exec \"$@\"", "sh", Program.spindle.path,
                "serve",
                "--listen", "tcp:several:0", "--run", "echo $uri && \(command)", "null:1M",
            ], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        let said = result.text.split(separator: "\n")
        #expect(said.count == 1 + addresses.count && said.dropFirst().allSatisfy { $0 == "1048576" }, "\(result.text)")
        #expect(said.first?.hasPrefix("nbd://several:") ?? false)
    }

    private static var hasIPv6: Bool {
        kernelFile("/proc/net/if_inet6")?.contains(
            "00000000000000000000000000000001")
            ?? false
    }

    @Test(.enabled(if: hasIPv6, "this machine has no IPv6"))
    func iPv6() throws {
        let folder = try TemporaryFolder()
        let result = try Program.spindle.run(
            ["serve", "--listen", "tcp:[::1]:0", "--run", "nbdinfo --size \"$uri\"; echo $uri $port", "null:1M"],
            in: folder)
        let words = result.text.split(whereSeparator: \.isWhitespace)
        try #require(words.count == 3, "\(result.errors)")
        #expect(words[0] == "1048576" && words[1] == "nbd://[::1]:\(words[2])/null")
    }

    /// Whether this machine can connect to itself by vsock: Linux has a module for it.
    private static var hasVsockLoopback: Bool {
        let script = """
            import socket
            s = socket.socket(socket.AF_VSOCK); s.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY)); s.listen()
            c = socket.socket(socket.AF_VSOCK); c.settimeout(1); c.connect((1, s.getsockname()[1]))
            """
        guard let folder = try? TemporaryFolder(), let python = try? Program.tool("python3") else { return false }
        return (try? python.run(["-c", script], in: folder))?.status == 0
    }

    private static var hasVsock: Bool {
        let descriptor = socket(AF_VSOCK, Int32(SOCK_STREAM.rawValue), 0)
        close(descriptor)
        return descriptor >= 0
    }

    @Test(.enabled(if: hasVsock, "this kernel has no vsock")) func vsock() throws {
        let folder = try TemporaryFolder()
        // Nobody else's, as ports below it are the system's and tests have processes of their own.
        let port = 1_000_000 + Int(getpid())
        try serving(["--listen", "vsock:\(port)", "null:1M"], in: folder) { server in
            #expect(server.announcement.contains("nbd+vsock://2:\(port)/null: "))
            let second = try Program.spindle.run(["serve", "--listen", "vsock:\(port)", "null:1M"], in: folder)
            #expect(second.status == 1 && second.errors.contains("another program listens there"), "\(second.errors)")
            if Self.hasVsockLoopback { try expectSize(1 << 20, "nbd+vsock://1:\(port)/", in: folder) }
        }
    }
}
