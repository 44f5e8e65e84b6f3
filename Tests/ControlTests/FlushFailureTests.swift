// After a flush has failed: nobody is told that data are stored which are not, until an operator knows of it.

import Foundation
import Support
import Testing

@Suite(.serialized, .enabled(if: FullDisk.canBeMade, "mounting a disk that is full needs root"))
struct FlushFailureTests {
    /// Helpers of the scripts: connections, calls that have to fail, `ctl`, and the file as it is on the disk.
    private static let prelude = """
        import nbd, os, subprocess, sys
        spindle, control, socket, image = sys.argv[1:]
        def ctl(*words):
            return subprocess.run([spindle, 'ctl', '--control', 'unix:' + control, *words], capture_output=True, text=True)
        def connect(name='disk'):
            h = nbd.NBD()
            h.connect_uri(f'nbd+unix:///{name}?socket={socket}')
            return h
        def fails(call, *arguments, **more):
            try: call(*arguments, **more)
            except nbd.Error as error: assert error.errno in ('EIO', 'ENOSPC'), error
            else: raise AssertionError('it has succeeded')
        def stored(count, offset):
            file = os.open(image, os.O_RDONLY)
            # What is dirty stays; all else has to come from the disk.
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            try: return os.pread(file, count, offset)
            except OSError: return None
            finally: os.close(file)
        MiB = 1 << 20

        """

    /// Runs a script against a server whose image lies on a full disk.
    ///
    /// - Returns: the server's log, and its exit status when it was stopped.
    @discardableResult
    private func serve(
        _ options: [String] = [], _ kind: FullDisk.Kind = .device, config: String? = nil, _ script: (FullDisk) -> String
    ) throws -> (log: String, status: Int32) {
        let folder = try TemporaryFolder()
        let disk = try FullDisk(kind)
        let image = disk.image
        var arguments = options.map { $0.replacingOccurrences(of: "IMAGE", with: image) }
        arguments += ["--sandbox-path", image]
        if let config {
            let file = folder.path + "/spindle.toml"
            try Data(config.replacingOccurrences(of: "IMAGE", with: image).utf8).write(to: URL(fileURLWithPath: file))
            arguments += ["--config", file]
        } else {
            arguments.append("disk=" + image)
        }
        let server = try ControlledServer(arguments, in: folder)
        let result = try Program.tool("python3").run(
            [
                "-c", Self.prelude + script(disk), Program.spindle.path, server.socketPath,
                server.server.socketPath, image,
            ], in: folder)
        try #require(result.status == 0, "\(result.errors)\n\(server.server.log)")
        let status = try server.server.stop()
        return (server.server.log, status)
    }

    /// One of two clients writes what there is no room for, the other one's flush meets that.
    private static let fail = """
        a, b = connect(), connect()
        data = os.urandom(MiB)
        for number in range(10, 40): b.pwrite(data, number * MiB)
        a.pwrite(b'a' * 4096, 0)
        fails(a.flush)
        fails(b.flush)

        """

    /// The place of a flush that a WRITE makes is the WRITE's.
    @Test func theLogHasThePlaceOfTheRequest() throws {
        let (log, _) = try serve(["--cache", "writethrough"]) { _ in
            """
            a = connect()
            data = os.urandom(MiB)
            for number in range(10, 40):
                try: a.pwrite(data, number * MiB)
                except nbd.Error: break
            else: raise AssertionError('it has succeeded')
            """
        }
        let line = log.split(separator: "\n").first { $0.contains("the medium failed") } ?? ""
        let offset = line.firstMatch(of: /offset=([0-9]+)/).flatMap { Int($0.1) } ?? 0
        #expect(line.contains("command=write") && line.contains("operation=flush"), "\(log)")
        #expect(offset >= 10 << 20 && offset % (1 << 20) == 0, "\(log)")
    }

    private static let everythingIsStored =
        "assert all(stored(MiB, number * MiB) == data for number in range(10, 40))\n"

    private static func makeRoom(_ disk: FullDisk) -> String {
        "subprocess.run(\(disk.makingRoom), check=True)\n"
    }

    @Test(arguments: FullDisk.Kind.allCases, [1, 2])
    func everyLaterFlushFailsUntilTheLossIsAccepted(kind: FullDisk.Kind, threads: Int) throws {
        let (log, status) = try serve(["--threads", String(threads)], kind) { disk in
            Self.fail + """
                for _ in range(3):
                    fails(a.flush)
                    fails(b.flush)
                # Of the same loop, and of the other one.
                for h in [connect() for _ in range(4)]: fails(h.flush)
                assert 'flush failed (' in ctl('list').stdout, ctl('list')
                assert 'spindle_flush_failed{export="disk"} 1\\n' in ctl('metrics').stdout

                """ + Self.makeRoom(disk) + """
                    fails(a.flush)
                    assert ctl('accept-loss', 'disc').returncode == 1
                    accepted = ctl('accept-loss', 'disk')
                    assert accepted.returncode == 0, accepted
                    assert 'flush failed' not in ctl('list').stdout
                    assert 'spindle_flush_failed{export="disk"} 0\\n' in ctl('metrics').stdout
                    for h in [a, b] + [connect() for _ in range(4)]: h.flush()
                    for number in range(10, 40): b.pwrite(data, number * MiB)
                    a.flush()

                    """ + (kind == .device ? Self.everythingIsStored : "")
        }
        #expect(status == 0, "\(log)")
        #expect(log.contains("level=error message=\"a flush has failed"), "\(log)")
        #expect(log.contains("level=notice message=\"loss accepted"), "\(log)")
    }

    /// Two exports of one image; nobody has kept one away from the other.
    @Test func exportsOfOneImageShareWhatIsKnown() throws {
        let (log, status) = try serve(["--locking", "off", "other=IMAGE"]) { disk in
            Self.fail + """
                other = connect('other')
                fails(other.flush)
                other.pwrite(data, 0)
                fails(other.flush)
                fails(a.flush)

                """ + Self.makeRoom(disk) + """
                    assert ctl('accept-loss', 'other').returncode == 0
                    for h in [a, b, other, connect(), connect('other')]: h.flush()
                    """
        }
        #expect(status == 0, "\(log)")
    }

    /// A loss that nobody has accepted is an error at the end; then the image is opened anew.
    @Test func theEndSaysSo() throws {
        let (log, status) = try serve { disk in Self.fail + Self.makeRoom(disk) }
        #expect(status == 1, "\(log)")
        #expect(log.contains("Error: the image of export 'disk' could not be flushed"), "\(log)")
    }

    /// Nobody has flushed: the last flush is the first that fails.
    @Test func theLastFlushIsOne() throws {
        let (log, status) = try serve { _ in
            "h = connect()\nfor number in range(10, 40): h.pwrite(os.urandom(MiB), number * MiB)\n"
        }
        #expect(status == 1, "\(log)")
        #expect(log.contains("Error: the image of export 'disk' could not be flushed"), "\(log)")
    }

    /// Removing says so, too; an export that is added after that has a new opening. The end remembers.
    @Test func removingAndAddingAnew() throws {
        let (log, status) = try serve { disk in
            Self.fail + Self.makeRoom(disk) + """
                a.shutdown()
                b.shutdown()
                removed = ctl('remove', '--force', 'disk')
                assert removed.returncode == 1 and 'could not be flushed' in removed.stderr, removed
                added = ctl('add', 'disk=' + image)
                assert added.returncode == 0, added
                h = connect()
                h.pwrite(data, 0)
                h.flush()
                assert stored(MiB, 0) == data
                """
        }
        #expect(status == 1, "\(log)")
    }

    /// A drive that grows and a configuration that is read again are the same image.
    @Test func growingAndReloadingForgetNothing() throws {
        let config = """
            [[export]]
            name = "disk"
            image = "IMAGE"
            """
        let (log, status) = try serve([], .file, config: config) { disk in
            Self.fail + Self.makeRoom(disk) + """
                grown = ctl('grow', 'disk', '50M')
                assert grown.returncode == 0, grown
                fails(a.flush)
                fails(connect().flush)
                read = ctl('reload')
                assert read.returncode == 0, read
                fails(a.flush)
                fails(connect().flush)
                assert ctl('accept-loss', 'disk').returncode == 0
                a.flush()
                """
        }
        #expect(status == 0, "\(log)")
    }

    /// Data answered with success are stored: all clients flush at once, or write to a drive without a write cache.
    @Test(arguments: ["writeback", "writethrough"], [1, 2])
    func noSuccessIsALie(cache: String, threads: Int) throws {
        try serve(["--cache", cache, "--threads", String(threads)]) { _ in
            """
            handles = [connect() for _ in range(6)]
            def together(calls):
                cookies = [call() for call in calls]
                successes = set()
                for number, (h, cookie) in enumerate(zip(handles, cookies)):
                    try:
                        while not h.aio_command_completed(cookie): h.poll(-1)
                        successes.add(number)
                    except nbd.Error as error:
                        assert error.errno in ('EIO', 'ENOSPC'), error
                return successes
            for turn in range(5):
                # Six that are stored, and then three that cannot be.
                place = lambda number: (number + (10 if turn > 1 and number % 2 else 0)) * MiB
                buffers = [nbd.Buffer.from_bytearray(bytearray(os.urandom(MiB))) for _ in handles]
                safe = together([lambda n=n, h=h: h.aio_pwrite(buffers[n], place(n)) for n, h in enumerate(handles)])
                if '\(cache)' == 'writeback':
                    safe = together([lambda h=h: h.aio_flush() for h in handles])
                    assert len(safe) == (6 if turn < 2 else 0), (turn, safe)
                assert turn > 1 or len(safe) == 6, (turn, safe)
                assert turn < 3 or not safe, (turn, safe)
                for number in safe:
                    assert stored(MiB, place(number)) == buffers[number].to_bytearray(), (turn, number)
            """
        }
    }
}
