// What `spindle serve` says to wrong input: the exit status, and a message that names the value and what would be
// right.

import Foundation
import Support
import Testing

@Suite struct ServeUsageTests {
    /// Runs a server that cannot begin. It listens on a Unix socket as well, which must not stay behind.
    private func expectFailure(
        _ status: Int32, _ message: String, _ arguments: [String], in folder: TemporaryFolder,
        program: Program = .spindle, before: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let path = folder.path + "/socket"
        let result = try program.run(before + ["serve", "--listen", "unix:" + path] + arguments, in: folder)
        #expect(result.status == status, "\(arguments): \(result.errors)", sourceLocation: sourceLocation)
        #expect(result.output.isEmpty, sourceLocation: sourceLocation)
        let lines = result.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
        #expect(lines.count == 1 && lines[0].hasSuffix(message), "\(result.errors)", sourceLocation: sourceLocation)
        // Usage errors show the usage; failures are one line.
        let showsUsage = result.errors.contains("Usage: spindle serve [<options>] [NAME=]IMAGE ...")
        #expect(showsUsage == (status == 64), "\(result.errors)", sourceLocation: sourceLocation)
        #expect(!FileManager.default.fileExists(atPath: path), sourceLocation: sourceLocation)
    }

    private static let longPath = String(repeating: "p", count: 108)

    @Test(arguments: [
        ([], "there is nothing to serve; give an IMAGE or --config FILE"),
        (
            ["--config", "f", "--read-only"],
            "--device, --cache, --image-format, --image-snapshot, --write-cache-model, --fault, --read-only and --locking "
                + "are for images given here, and there is none"
        ),
        (["--xyzzyplugh", "memory:1M"], "there is no option '--xyzzyplugh'"),
        (
            ["--threads", "0", "memory:1M"],
            "The value '0' is invalid for '--threads <threads>': a number from 1 to 256 is needed"
        ),
        (
            ["--threads", "257", "memory:1M"],
            "The value '257' is invalid for '--threads <threads>': a number from 1 to 256 is needed"
        ),
        (
            ["--threads", "many", "memory:1M"],
            "The value 'many' is invalid for '--threads <threads>': a number from 1 to 256 is needed"
        ),
        (["--threads"], "Missing value for '--threads <threads>'"),
        (
            ["--cache", "fast", "memory:1M"],
            "'fast' is no cache mode: it is one of writeback, writethrough, none, directsync, unsafe"
        ),
        (
            ["--controller", "virtio", "memory:1M"],
            "'virtio' is no controller: it is one of piix3-ide, ich9-ahci"
        ),
        (
            ["--log-level", "loud", "memory:1M"],
            "'loud' is no log level: it is one of trace, debug, info, notice, warning, error, critical"
        ),
        // Drives.
        (["--device", "ide-hd,serail=1", "memory:1M"], "ide-hd has no property 'serail': did you mean 'serial'?"),
        (
            ["--device", "ide-cf", "memory:1M"],
            "unknown device 'ide-cf': there are ide-hd, ide-cd, spindle-cd, spindle-hd and spindle-ssd, as in ide-hd,serial=918a6997-1928-38a1-9"
        ),
        (["--device", "ide-hd,heads=17,cyls=1,secs=1", "memory:1M"], "heads=17: heads must be between 1 and 16"),
        (
            ["--device", "ide-hd,bus=ide.3", "memory:1M"],
            "bus=ide.3: piix3-ide has the channels ide.0 and ide.1"
        ),
        (
            ["--controller", "piix3-ide", "--device", "spindle-ssd", "memory:1M"],
            "spindle-ssd is a SATA drive, and piix3-ide has no place for one: leave controller out, or say ich9-ahci"
        ),
        // Images.
        (["memory:129P"], "'memory:129P' is too large: an ATA drive has at most 2^48 sectors of 512 bytes, 128P"),
        (["null:999999P"], "'null:999999P' is too large: an ATA drive has at most 2^48 sectors of 512 bytes, 128P"),
        (
            ["memory:lots"],
            "'memory:lots' has no size: write it as memory:64M, memory:3G, memory:6291456s (sectors) or in bytes; "
                + "a file of that name is ./memory:lots"
        ),
        (["disk="], "the name of the image is empty: give a path, overlay:PATH, memory:SIZE or null:SIZE"),
        (["memory:0"], "image 'memory:0' is empty; a drive has at least one sector of 512 bytes"),
        (["disk=null:0s"], "image 'null:0s' is empty; a drive has at least one sector of 512 bytes"),
        (
            ["disk=memory:1M", "disk=memory:2M"],
            "two exports are named 'disk'; give one another name: NAME=IMAGE"
        ),
        (
            ["memory:1M", "memory:2M"],
            "two exports are named 'memory'; give one another name: NAME=IMAGE"
        ),
        // Beginning and end.
        (["--run", " ", "memory:1M"], "--run is empty; give a command, 'nbdinfo \"$uri\"' for instance"),
        // Endpoints.
        (
            ["--listen", "stdin", "memory:1M"],
            "stdin is one client's connection, with whose end the server ends; no other endpoint goes with it"
        ),
        (
            ["--listen", "unix:/s,mode=999", "memory:1M"],
            "'999' is no mode of a socket; octal permissions are needed, as in mode=0660"
        ),
        (
            ["--listen", "localhost", "memory:1M"],
            "'localhost' is no endpoint; use unix:PATH, tcp:HOST:PORT, iscsi:HOST:PORT, vsock:PORT, fd:N, "
                + "systemd:NAME or stdin"
        ),
        (
            ["--listen", "udp:localhost:1", "memory:1M"],
            "'udp:localhost:1' is no endpoint; use unix:PATH, tcp:HOST:PORT, iscsi:HOST:PORT, vsock:PORT, fd:N, "
                + "systemd:NAME or stdin"
        ),
        (
            ["--listen", "unix:", "memory:1M"],
            "'unix:' is no endpoint; use unix:PATH, tcp:HOST:PORT, iscsi:HOST:PORT, vsock:PORT, fd:N, "
                + "systemd:NAME or stdin"
        ),
        (["--listen", "tcp:localhost", "memory:1M"], "endpoint 'tcp:localhost' has no port; use tcp:localhost:10809"),
        (["--listen", "tcp:localhost:65536", "memory:1M"], "'65536' is no port; a number from 0 to 65535 is needed"),
        (["--listen", "tcp:localhost:nbd", "memory:1M"], "'nbd' is no port; a number from 0 to 65535 is needed"),
        (
            ["--listen", "tcp::1:10809", "memory:1M"],
            "endpoint 'tcp::1:10809' has an IPv6 address without brackets; use tcp:[ADDRESS]:PORT"
        ),
        (
            ["--listen", "tcp::10809", "memory:1M"],
            "endpoint 'tcp::10809' has no host; use 127.0.0.1 for this machine only, 0.0.0.0 for every interface"
        ),
        (["--listen", "vsock:-1", "memory:1M"], "'-1' is no port; a number from 0 to 4294967294 is needed"),
        (["--listen", "fd:three", "memory:1M"], "'three' is no file descriptor; use fd:3, say"),
        (
            ["--listen", "unix:\(longPath)", "memory:1M"],
            "the socket path '\(longPath)' has 108 bytes, the system's limit is 107; use a shorter one"
        ),
    ])
    func badUsageIs64(arguments: [String], message: String) throws {
        try expectFailure(64, message, arguments, in: TemporaryFolder())
    }

    @Test func imagesThatAreNoImages() throws {
        let folder = try TemporaryFolder()
        let missing = folder.path + "/missing.img"
        let hint = "create it first, 'truncate -s 3G FILE' for instance"
        try expectFailure(
            1, "cannot open image '\(missing)': No such file or directory; \(hint)", [missing], in: folder)
        let needed = "a regular file or a block device is needed"
        let forEach = "dir:\(folder.path) is a drive for each file in it"
        try expectFailure(1, "image '\(folder.path)' is a directory; \(needed); \(forEach)", [folder.path], in: folder)
        try expectFailure(
            1, "image '\(folder.path)' is a directory; \(needed); \(forEach)", ["--read-only", folder.path], in: folder)
        try expectFailure(1, "image '/dev/zero' is a character device; \(needed)", ["/dev/zero"], in: folder)
        let pipe = folder.path + "/pipe"
        try run("mkfifo", [pipe], in: folder)
        try expectFailure(1, "image '\(pipe)' is a FIFO; \(needed)", [pipe], in: folder)
        // The images before it are of no use either.
        try expectFailure(1, "image '\(pipe)' is a FIFO; \(needed)", ["memory:1M", pipe], in: folder)
        let empty = try folder.file("empty.img", sizeBytes: 0)
        try expectFailure(
            1, "image '\(empty)' is empty; a drive has at least one sector of 512 bytes", [empty], in: folder)
        // What looks like a property or an option is a file name.
        try expectFailure(
            1, "cannot open image './memory:1': No such file or directory; \(hint)", ["./memory:1"], in: folder)
    }

    /// Root is kept from reading only when it gives its right to read everything away.
    @Test func imagesWithoutPermission() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("secret.img", sizeBytes: 1 << 20)
        let program = geteuid() == 0 ? try Program.tool("setpriv") : .spindle
        let before =
            geteuid() == 0 ? ["--bounding-set=-dac_override,-dac_read_search", Program.spindle.path] : []
        chmod(image, 0o000)
        let message = "cannot open image '\(image)': Permission denied; "
        try expectFailure(
            1, message + "this user needs the right to read and write it, or only to read it with --read-only", [image],
            in: folder, program: program, before: before)
        try expectFailure(
            1, message + "this user needs the right to read it", ["--read-only", image], in: folder, program: program,
            before: before)
        chmod(image, 0o444)
        try expectFailure(
            1, message + "this user needs the right to read and write it, or only to read it with --read-only", [image],
            in: folder, program: program, before: before)
    }

    @Test func moreMemoryThanThereIs() throws {
        let folder = try TemporaryFolder()
        // 127 PiB are beyond the address space of every processor.
        try expectFailure(
            1, "an image of 142989288169013248 bytes does not fit in memory; 'null:SIZE' has no such limit",
            ["memory:127P"], in: folder)
    }

    @Test func placesThatAreTaken() throws {
        let folder = try TemporaryFolder()
        let taken = "another program listens there already; choose another or stop it"
        try serving(Transport.listen + ["memory:1M"], in: folder) { server in
            let tcp = try #require(URLComponents(string: server.uri(of: "memory", over: .tcp))?.port)
            try expectFailure(
                1, "cannot listen on tcp:127.0.0.1:\(tcp): \(taken)",
                ["--listen", "tcp:127.0.0.1:\(tcp)", "memory:1M"],
                in: folder)
            let unix = server.socketPath
            try expectFailure(
                1, "cannot listen on unix:\(unix): \(taken)", ["--listen", "unix:\(unix)", "memory:1M"], in: folder)
            // The first server has not been disturbed.
            for transport in Transport.allCases {
                try expectSize(1 << 20, server.uri(of: "memory", over: transport), in: folder)
            }
        }
        // What looks like a socket that nobody listens on any more is only removed if it is one.
        let file = try folder.file("file", sizeBytes: 512)
        try expectFailure(
            1, "cannot listen on unix:\(file): there is a file that is no socket; choose another path or remove it",
            ["--listen", "unix:\(file)", "memory:1M"], in: folder)
        #expect(try folder.bytes("file").count == 512)
    }

    @Test(arguments: [
        ("unix:/nonexistent/socket", "No such file or directory; the socket's folder has to exist"),
        ("fd:99", "it is not open; a socket that listens is needed, as systemd passes it"),
        ("fd:2", "it is no socket; a socket that listens is needed, as systemd passes it"),
        // Documentation addresses (RFC 5737) are nobody's.
        (
            "tcp:192.0.2.1:10809",
            "Cannot assign requested address; use an address of this machine, 127.0.0.1 or 0.0.0.0 for instance"
        ),
    ])
    func placesThatAreNone(endpoint: String, reason: String) throws {
        try expectFailure(
            1, "cannot listen on \(endpoint): \(reason)", ["--listen", endpoint, "memory:1M"], in: TemporaryFolder())
    }

    @Test func anUnknownHost() throws {
        let folder = try TemporaryFolder()
        let result = try Program.spindle.run(
            ["serve", "--listen", "tcp:no.such.host.invalid:1", "memory:1M"], in: folder)
        #expect(result.status == 1)
        // The reason is the resolver's, which may have no network.
        #expect(result.errors.hasPrefix("Error: host 'no.such.host.invalid' has no address to listen on: "))
    }

    @Test func aNameBeyondTheProtocolsLimit() throws {
        let folder = try TemporaryFolder()
        let name = String(repeating: "n", count: 4097)
        try expectFailure(
            1, "the name of the export is 4097 bytes long; at most 4096 are allowed", ["\(name)=memory:1M"], in: folder)
        try serving(["\(name.dropLast())=memory:1M"], in: folder) { server in
            try expectSize(1 << 20, server.uri(of: String(name.dropLast())), in: folder)
        }
    }

    /// A socket that a killed server left behind is no obstacle.
    @Test func aStaleSocketIsReplaced() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/stale"
        let killed = try RunningServer(["--listen", "unix:\(path)", "memory:1M"], in: folder)
        try killed.stop(signal: SIGKILL)
        #expect(FileManager.default.fileExists(atPath: path))
        try serving(["--listen", "unix:\(path)", "memory:2M"], in: folder) { _ in
            try expectSize(2 << 20, "nbd+unix:///?socket=\(path)", in: folder)
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }
}
