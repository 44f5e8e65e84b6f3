// `spindle ctl commit`: an overlay's changes come to its image, and nothing is lost if that goes wrong.

import Foundation
import Support
import Testing

@Suite struct CommitTests {
    private let folder: TemporaryFolder
    private let base: String

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        // It ends inside of its last sector.
        base = try folder.file(
            "base.img", sizeBytes: 8 << 20 - 100, beginning: [UInt8](repeating: 0x11, count: 2 << 20))
        try FileManager.default.createDirectory(atPath: folder.path + "/c", withIntermediateDirectories: false)
    }

    private func run(_ script: String) throws {
        let words = ["-c", FileSnapshotTests.helpers + script, Program.spindle.path, folder.path, base]
        let result = try Program.tool("python3").run(words, in: folder)
        #expect(result.status == 0, "\(result.text)\(result.errors)")
    }

    /// Whatever is in the overlay, in memory or in a file, above a raw image or a qcow2 image with another behind it:
    /// the image has it then, and the overlay nothing.
    @Test(arguments: ["memory", "file"], ["raw", "qcow2"])
    func theImageHasIt(place: String, format: String) throws {
        try run(
            """
            seed = random.randrange(1 << 32)
            dice = random.Random(seed)
            print('seed', seed)
            below, form = base, '\(format)'
            if form == 'qcow2':
                below = folder + '/above.qcow2'
                qemu('create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', 'base.img', below)
            disk = start + bytes(-len(start) % 512)
            def server():
                return Server('--sandbox-path', folder, '--write-cache-model', dice.choice(['image', 'volatile:64K']),
                    disk=('--changes', changes) if '\(place)' == 'file' else (), export='disk=overlay:' + below)
            def is_committed():
                open(folder + '/mirror', 'wb').write(disk)
                if form == 'qcow2': qemu('check', '-q', '-U', below)
                qemu('compare', '-q', '-U', '-f', form, '-F', 'raw', below, folder + '/mirror')
            one = server()
            for round in range(4):
                h = connect()
                for number in range(40):
                    count = 512 * dice.choice([1, 8, 100, 1000])
                    offset = dice.randrange(0, (len(disk) - count) // 512 + 1) * 512
                    if dice.randrange(3):
                        disk[offset:offset + count] = dice.randbytes(count)
                        h.pwrite(disk[offset:offset + count], offset)
                    else:
                        h.zero(count, offset)
                        disk[offset:offset + count] = bytes(count)
                h.pwrite(b'last' * 128, len(disk) - 512)
                disk[-512:] = b'last' * 128
                if round == 1 and '\(place)' == 'memory':
                    # A level without a name.
                    works('snapshot', 'disk', 'x')
                    works('discard', 'disk', 'x')
                    h = connect()
                    h.pwrite(b'y' * 512, 512)
                    disk[512:1024] = b'y' * 512
                assert json.loads(works('--json', 'commit', 'disk'))['committed-bytes'] > 0
                try: h.pread(512, 0)
                except nbd.Error: pass
                else: raise AssertionError('not cut off')
                assert content() == disk and changed() == set(), round
                is_committed()
                assert json.loads(works('--json', 'commit', 'disk'))['committed-bytes'] == 0
                # It is the overlay that is written again.
                write(b'z' * 512, 0)
                assert content()[:512] == b'z' * 512
                is_committed()
                works('revert', 'disk')
                assert content() == disk
                if dice.randrange(2):
                    one.end(kill=dice.randrange(2))
                    one = server()
                    assert content() == disk
            one.end()
            is_committed()
            """)
    }

    /// Killed at any moment: the disk is the same, and a later commit brings all of it to the image.
    @Test func killedMeanwhile() throws {
        try run(
            """
            seed = random.randrange(1 << 32)
            dice = random.Random(seed)
            print('seed', seed)
            os.truncate(base, 64 << 20)
            disk, middle = bytearray(open(base, 'rb').read()), 0
            for life in range(10):
                server = Server('--sandbox-path', folder)
                assert content() == disk, life
                data = dice.randbytes(1 << 20)
                h = connect()
                for place in range(0, 64 << 20, 1 << 20):
                    disk[place:place + (1 << 20)] = data
                    h.pwrite(data, place)
                h.flush()
                h.shutdown()
                asking = subprocess.Popen([spindle, 'ctl', '--control', 'unix:' + control, 'commit', 'disk'],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                image, far = open(base, 'rb'), dice.randrange(64) << 20
                until(lambda: asking.poll() is not None or os.pread(image.fileno(), 512, far) == data[:512])
                server.end(kill=True)
                asking.wait()
                done = [os.pread(image.fileno(), 1 << 20, place) == data for place in range(0, 64 << 20, 1 << 20)]
                middle += any(done) and not all(done)
                # One without a byte is begun by the next server.
                if os.path.getsize(changes): qemu('check', '-q', changes)
            assert middle > 0, 'never in the middle'
            server = Server('--sandbox-path', folder)
            assert content() == disk
            works('commit', 'disk')
            server.end()
            assert open(base, 'rb').read() == disk
            """)
    }

    /// The image cannot take all of it: the disk is as before, there and after a restart.
    @Test(arguments: ["memory", "file"]) func theImageIsFull(place: String) throws {
        try run(
            """
            import resource
            os.truncate(base, 64 << 20)
            disk = bytearray(open(base, 'rb').read())
            option = ('--changes', changes) if '\(place)' == 'file' else ()
            server = Server('--sandbox-path', folder, disk=option)
            for place in 4096, 1 << 20, 48 << 20:
                disk[place:place + 4096] = b'A' * 4096
                write(b'A' * 4096, place)
            limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (32 << 20, limits[1]))
            refused("its changes stay where they are: its image cannot be written: File too large", 'commit', 'disk')
            assert content() == disk
            assert open(base, 'rb').read() != disk
            write(b'B' * 512, 0)
            disk[:512] = b'B' * 512
            if option:
                server.end(kill=True)
                server = Server('--sandbox-path', folder, disk=option)
            else: resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
            assert content() == disk
            works('commit', 'disk')
            server.end()
            assert open(base, 'rb').read() == disk
            """)
    }

    /// Whoever else has the image keeps it as it is.
    @Test func othersHaveTheImage() throws {
        try run(
            """
            before = open(base, 'rb').read()
            server = Server('--sandbox-path', folder)
            client = connect()
            client.pwrite(b'A' * 512, 0)
            client.flush()
            def is_locked():
                done = subprocess.run(['qemu-io', '-f', 'raw', '-c', 'write 0 512', base], capture_output=True, text=True)
                assert 'lock' in done.stderr, done
            works('add', 'other=' + image)
            refused("the export 'other' has the same image", 'commit', 'disk')
            works('remove', 'other')
            # Another process.
            reader = subprocess.Popen([spindle, 'serve', '--listen', 'unix:' + folder + '/r', '--read-only', base],
                stdout=subprocess.PIPE, text=True)
            atexit.register(reader.kill)
            assert reader.stdout.readline()
            refused('is in use by another program', 'commit', 'disk')
            # Nothing has happened to anybody, and the lock is as before.
            assert client.pread(1024, 0) == b'A' * 512 + before[512:1024]
            reader.kill()
            reader.wait()
            is_locked()
            works('add', 'plain=null:1M')
            refused('is no overlay', 'commit', 'plain')
            refused('no export', 'commit', 'nothing')
            works('snapshot', 'disk', 'kept')
            refused("it has snapshots, which are above its image", 'commit', 'disk')
            works('fork', 'disk', 'fork', '--snapshot', 'kept', '--changes', folder + '/c/fork')
            refused("it begins with a snapshot", 'commit', 'fork')
            works('remove', 'disk')
            refused("it begins with a snapshot", 'commit', 'fork')
            works('remove', 'fork')
            assert open(base, 'rb').read() == before
            works('add', '--changes', folder + '/c/again', 'again=' + image)
            write(b'C' * 512, 0, 'again')
            works('commit', 'again')
            is_locked()
            server.end()
            assert open(base, 'rb').read(1024) == b'C' * 512 + before[512:1024]
            # A server that may not write to the image.
            server = Server(disk=('--changes', folder + '/c/again'))
            write(b'D' * 512, 0)
            refused('in its sandbox the server writes to it only below a --sandbox-path', 'commit', 'disk')
            assert content()[:512] == b'D' * 512
            server.end()
            """)
    }
}
