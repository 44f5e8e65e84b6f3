// Snapshots of overlays in files: `spindle ctl snapshot`, `revert`, `fork` and `discard`, over restarts and kills.

import Foundation
import Support
import Testing

@Suite struct FileSnapshotTests {
    private let folder: TemporaryFolder
    private let base: String

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        base = try folder.file("base.img", sizeBytes: 4 << 20, beginning: [UInt8](repeating: 0x11, count: 2 << 20))
        try FileManager.default.createDirectory(atPath: folder.path + "/c", withIntermediateDirectories: false)
    }

    /// Runs a script that begins and ends servers itself.
    private func run(_ script: String) throws {
        let words = ["-c", Self.helpers + script, Program.spindle.path, folder.path, base]
        let result = try Program.tool("python3").run(words, in: folder)
        #expect(result.status == 0, "\(result.text)\(result.errors)")
    }

    /// `Server` begins and ends; `ctl`, `works` and `refused` run `spindle ctl`; `content` is all of a disk; `is_image`
    /// has qemu-img look at a file.
    static let helpers = """
        import atexit, json, nbd, os, random, subprocess, sys, time
        spindle, folder, base = sys.argv[1:]
        changes, socket, control = folder + '/c/disk', folder + '/s', folder + '/k'
        image = 'overlay:' + base
        class Server:
            def __init__(self, *options, disk=('--changes', changes), export='disk=' + image):
                self.log = open(folder + '/log', 'w+')
                self.process = subprocess.Popen([spindle, 'serve', '--listen', 'unix:' + socket, '--control',
                    'unix:' + control, *options, *disk, export], stdout=subprocess.PIPE, stderr=self.log, text=True)
                atexit.register(self.process.kill)
                assert self.process.stdout.readline(), open(folder + '/log').read()
            def end(self, kill=False):
                self.process.kill() if kill else self.process.terminate()
                status = self.process.wait()
                assert status == (-9 if kill else 0), (status, open(folder + '/log').read())
                if kill:
                    for path in socket, control: os.path.exists(path) and os.remove(path)
        def ctl(*words):
            return subprocess.run([spindle, 'ctl', '--control', 'unix:' + control, *words], capture_output=True, text=True)
        def works(*words):
            done = ctl(*words)
            assert done.returncode == 0, (words, done)
            return done.stdout
        def refused(text, *words):
            done = ctl(*words)
            assert done.returncode == 1 and text in done.stderr, (words, done)
        def shown(name='disk'): return json.loads(works('--json', 'show', name)).get('snapshots', [])
        def connect(name='disk'):
            h = nbd.NBD()
            h.connect_uri(f'nbd+unix:///{name}?socket={socket}')
            return h
        def content(name='disk'):
            h = connect(name)
            data = b''.join(h.pread(min(1 << 23, h.get_size() - at), at) for at in range(0, h.get_size(), 1 << 23))
            h.shutdown()
            return data
        def until(happened):
            'Waits for an event, which takes less than a minute.'
            end = time.monotonic() + 60
            while not happened():
                assert time.monotonic() < end, 'waited in vain'
                os.sched_yield()
        def write(data, offset, name='disk'):
            h = connect(name)
            h.pwrite(data, offset)
            h.flush()
            h.shutdown()
        def qemu(*words):
            done = subprocess.run(['qemu-img', *words], capture_output=True, text=True)
            assert done.returncode == 0, (words, done)
            return done.stdout
        def is_image(path, data):
            'What QEMU finds there, which has nothing to complain about.'
            open(folder + '/mirror', 'wb').write(data)
            qemu('check', '-q', '-U', path)
            qemu('compare', '-q', '-U', '-f', 'qcow2', '-F', 'raw', path, folder + '/mirror')
        def changed(name='disk', *since):
            'The sectors that are not those of the image, or of a snapshot, as the server says.'
            said = json.loads(works('--json', 'changes', name, *since))['changed']
            sectors = {sector for first, last in said['ranges'] for sector in range(first, last + 1)}
            assert said['sectors'] == len(sectors) and len(said['ranges']) <= 1024
            return sectors
        def different(one, other):
            return {place // 512 for place in range(0, len(one), 512) if one[place:place + 512] != other[place:place + 512]}
        def mapped(path):
            "The sectors that are in images above the base, as QEMU says."
            levels = len(json.loads(qemu('info', '-U', '--output=json', '--backing-chain', path))) - 1
            return {sector for part in json.loads(qemu('map', '-U', '--output=json', path)) if part['depth'] < levels
                for sector in range(part['start'] // 512, (part['start'] + part['length']) // 512)}
        start = bytearray(open(base, 'rb').read())

        """

    /// Whatever is written between them, and however the server ends, each state is there again, for QEMU, too.
    @Test(arguments: ["image", "volatile:64K"], ["writeback", "none"])
    func everyStateIsThereAgain(model: String, cache: String) throws {
        let before = try Data(contentsOf: URL(fileURLWithPath: base))
        try run(
            """
            seed = random.randrange(1 << 32)
            dice = random.Random(seed)
            print('seed', seed)
            disk, kept = bytearray(start), {}
            def work():
                h = connect()
                for number in range(30):
                    count = 512 * dice.choice([1, 8, 100])
                    offset = dice.randrange(0, (len(disk) - count) // 512 + 1) * 512
                    kind = dice.choice('wwwzr')
                    if kind == 'w':
                        disk[offset:offset + count] = dice.randbytes(count)
                        h.pwrite(disk[offset:offset + count], offset)
                    elif kind == 'r': assert h.pread(count, offset) == disk[offset:offset + count], offset
                    else:
                        h.zero(count, offset)
                        disk[offset:offset + count] = bytes(count)
                # All that was answered is kept by a snapshot; a kill takes what was not flushed.
                if dice.randrange(2): h.flush()
                h.shutdown()
            for life in range(4):
                server = Server('--threads', '2', '--cache', '\(cache)', '--write-cache-model', '\(model)')
                assert content() == disk and sorted(shown()) == sorted(kept), (life, shown(), list(kept))
                for round in range(8):
                    what = dice.choice('wwwssrrRd')
                    name = f's{life}{round}'
                    if what == 'w': work()
                    elif what == 's' and len(kept) < 8:
                        works('snapshot', 'disk', name)
                        kept[name] = bytes(disk)
                    elif what == 'r' and kept:
                        name = dice.choice(sorted(kept))
                        said = json.loads(works('--json', 'revert', 'disk', name))['changed']['ranges']
                        for sector in different(kept[name], disk):
                            assert '\(model)' != 'image' or any(first <= sector <= last for first, last in said), sector
                        disk[:] = kept[name]
                    elif what == 'R':
                        works('revert', 'disk')
                        disk[:] = start
                    elif what == 'd' and kept:
                        name = dice.choice(sorted(kept))
                        done = ctl('discard', 'disk', name)
                        assert done.returncode == 0 or 'begins with it' in done.stderr, done
                        if done.returncode == 0: del kept[name]
                    assert content() == disk, (life, round, what)
                    assert sorted(shown()) == sorted(kept), (what, shown(), list(kept))
                    if dice.randrange(3) == 0:
                        connect().flush()
                        assert changed() == mapped(changes) >= different(start, disk)
                        for name in kept: assert changed('disk', name) >= different(kept[name], disk), name
                connect().flush()
                server.end(kill=dice.randrange(2))
                is_image(changes, disk)
                for name in kept: is_image(f'{changes}@{name}', kept[name])
                files = {'disk'} | {'disk@' + name for name in kept}
                assert set(os.listdir(folder + '/c')) == files, os.listdir(folder + '/c')
            """)
        let isUntouched = try Data(contentsOf: URL(fileURLWithPath: base)) == before
        #expect(isUntouched, "an overlay has written to its image")
    }

    /// Killed at any moment of a snapshot or a revert: the old state is there, or the new one, and whole.
    @Test func killedMeanwhile() throws {
        try run(
            """
            seed = random.randrange(1 << 32)
            dice = random.Random(seed)
            print('seed', seed)
            states, kept = [bytes(start)], {}
            for life in range(40):
                server = Server()
                now = content()
                assert now in states, (life, 'neither the old nor the new state')
                names = shown()
                # The one that was being taken is there, or not.
                assert set(kept) - {maybe for maybe in kept if kept[maybe][1]} <= set(names) <= set(kept), (names, kept)
                kept = {name: (kept[name][0], False) for name in names}
                data = dice.randbytes(65536)
                write(data, 65536 * dice.randrange(0, 64))
                now = content()
                if dice.randrange(4) == 0:
                    words, states = ['revert', 'disk'], [now, bytes(start)]
                elif kept and dice.randrange(2):
                    name = dice.choice(sorted(kept))
                    words, states = ['revert', 'disk', name], [now, kept[name][0]]
                else:
                    name = f's{life}'
                    words, states = ['snapshot', 'disk', name], [now]
                    if len(kept) > 5:
                        works('revert', 'disk')
                        for old in reversed(shown()): ctl('discard', 'disk', old)
                        kept, now = {old: kept[old] for old in shown()}, bytes(start)
                        states = [now]
                    kept[name] = (now, True)
                def file(): return (lambda status: (status.st_ino, status.st_size))(os.stat(changes))
                # What is made, named and exchanged, and that it is said; something of all that comes.
                files, before = len(os.listdir(folder + '/c')), file()
                moment = dice.choice([lambda: os.path.exists(changes + '@@'), lambda: file() != before,
                    lambda: len(os.listdir(folder + '/c')) > files, lambda: False])
                asking = subprocess.Popen([spindle, 'ctl', '--control', 'unix:' + control, *words],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                until(lambda: asking.poll() is not None or moment())
                server.end(kill=True)
                asking.wait()
                if os.path.getsize(changes) > 1 << 17: qemu('check', '-q', changes)
            server = Server()
            for name in shown():
                works('revert', 'disk', name)
                assert content() == kept[name][0], name
            server.end()
            assert not [name for name in os.listdir(folder + '/c') if name.endswith('@@')]
            """)
    }

    /// What a killed server may have left is cleaned up, and is no snapshot.
    @Test func leftOvers() throws {
        try run(
            """
            server = Server()
            write(b'A' * 4096, 0)
            works('snapshot', 'disk', 'first')
            write(b'B' * 4096, 0)
            server.end(kill=True)
            # Between link(2) and rename(2), while the next file was begun.
            os.link(changes, changes + '@second')
            open(changes + '@@', 'wb').write(b'x' * 1000)
            server = Server()
            assert shown() == ['first'] and content()[:4096] == b'B' * 4096
            assert sorted(os.listdir(folder + '/c')) == ['disk', 'disk@first'], os.listdir(folder + '/c')
            works('snapshot', 'disk', 'second')
            write(b'C' * 4096, 0)
            works('revert', 'disk', 'second')
            assert content()[:4096] == b'B' * 4096 and shown() == ['first', 'second']
            server.end()
            # A level is missing: nothing is begun in its place.
            os.rename(changes + '@first', folder + '/away')
            done = subprocess.run([spindle, 'serve', '--listen', 'unix:' + socket, '--changes', changes, image],
                capture_output=True, text=True)
            assert done.returncode == 1 and "its backing file 'disk@first' is missing" in done.stderr, done
            """)
    }

    /// QEMU has brought the changes to the image, and a snapshot was left: that one does not fit, and not the new file.
    @Test func aSnapshotThatWasLeft() throws {
        try run(
            """
            server = Server()
            write(b'A' * 4096, 0)
            works('snapshot', 'disk', 'old')
            server.end()
            qemu('commit', '-q', '-f', 'qcow2', '-b', base, changes)
            os.remove(changes)
            server = Server()
            assert shown() == ['old'] and content()[:4096] == b'A' * 4096
            refused("'" + base + "' has changed since '" + changes + "@old', which is below it, was made", 'revert', 'disk', 'old')
            refused("remove '" + changes + "@old', and what is above that", 'revert', 'disk', 'old')
            assert content()[:4096] == b'A' * 4096
            works('discard', 'disk', 'old')
            assert shown() == []
            server.end()
            """)
    }

    /// Other disks that begin with a snapshot, in memory and in files of their own, which a restart finds again.
    @Test func forks() throws {
        try run(
            """
            server = Server('--sandbox-path', folder)
            write(b'A' * 4096, 0)
            works('snapshot', 'disk', 'first')
            client = connect()
            client.pwrite(b'B' * 4096, 4096)
            works('fork', 'disk', 'memory', '--snapshot', 'first')
            forked = works('fork', 'disk', 'file', '--snapshot', 'first', '--changes', folder + '/c/file')
            assert 'Changed:      8 sectors in 1 place' in forked and 'Changes:      ' + folder + '/c/file' in forked, forked
            assert 'Image:        ' + image in works('show', 'file')
            # With a snapshot the clients of the old one notice nothing.
            client.flush()
            for name in 'memory', 'file':
                assert content(name) == b'A' * 4096 + start[4096:]
                write(name.encode() * 512, 8192, name)
            assert client.pread(8192, 4096) == b'B' * 4096 + start[8192:12288]
            # Without one, one is taken with the new name.
            works('fork', 'disk', 'now')
            try: client.pread(512, 0)
            except nbd.Error: pass
            else: raise AssertionError('not cut off')
            assert content('now')[:8192] == b'A' * 4096 + b'B' * 4096 and shown() == ['first', 'now']
            # A fork in memory goes back to what it began with, and has snapshots in memory.
            works('snapshot', 'memory', 'mine')
            works('fork', 'memory', 'again', '--snapshot', 'mine')
            works('revert', 'memory')
            assert content('memory') == b'A' * 4096 + start[4096:]
            works('revert', 'memory', 'mine')
            assert content('memory')[8192:11264] == content('again')[8192:11264] == b'memory' * 512
            works('snapshot', 'file', 'own')
            assert os.path.exists(folder + '/c/file@own')
            for words in [('fork', 'memory', 'x', '--changes', folder + '/c/x'),]:
                refused("'memory' has its changes in memory, and a file can only be above files", *words)
            refused('it is there already, and a fork begins with a new one', 'fork', 'disk', 'x', '--changes', folder + '/c/file')
            refused("it has to be in the folder of '" + changes + "'", 'fork', 'disk', 'x', '--changes', folder + '/x')
            refused("has no snapshot 'none'", 'fork', 'disk', 'x', '--snapshot', 'none')
            refused("has a snapshot 'first' already", 'snapshot', 'disk', 'first')
            refused("has no snapshot 'none'", 'revert', 'disk', 'none')
            refused("no '/' and no second '@'", 'snapshot', 'disk', '../x')
            refused("no '/' and no second '@'", 'snapshot', 'disk', '@')
            refused("File name too long", 'snapshot', 'disk', 'x' * 300)
            assert content()[:4096] == b'A' * 4096
            for name in 'first', 'now': refused('begins with it', 'discard', 'disk', name)
            works('revert', 'disk')
            refused("the snapshot 'first' of 'disk' stays: the export '", 'discard', 'disk', 'first')
            for name in 'now', 'again', 'memory': works('remove', name)
            works('discard', 'disk', 'now')
            assert not os.path.exists(changes + '@now')
            server.end()
            is_image(changes, start)
            chain = qemu('info', '--backing-chain', folder + '/c/file')
            for name in 'file', 'file@own', 'disk@first': assert 'image: ' + folder + '/c/' + name in chain, chain
            server = Server(disk=('--changes', folder + '/c/file'))
            assert content() == b'A' * 4096 + start[4096:8192] + b'file' * 512 + start[10240:] and shown() == ['own']
            server.end()
            """)
    }

    /// A file may be named from the folder of the server: what the disk begins with stays nevertheless.
    @Test(arguments: ["disk", "./disk", "../c/disk"]) func namesFromTheServersFolder(file: String) throws {
        try run(
            """
            os.chdir(folder + '/c')
            server = Server('--sandbox-path', folder, disk=('--changes', '\(file)'))
            write(b'A' * 4096, 0)
            works('snapshot', 'disk', 'first')
            write(b'B' * 4096, 4096)
            works('snapshot', 'disk', 'second')
            for name in 'first', 'second': refused('begins with it', 'discard', 'disk', name)
            server.end()
            server = Server('--sandbox-path', folder, disk=('--changes', '\(file)'))
            assert content()[:8192] == b'A' * 4096 + b'B' * 4096 and shown() == ['first', 'second']
            works('revert', 'disk')
            refused('begins with it', 'discard', 'disk', 'first')
            works('discard', 'disk', 'second')
            works('discard', 'disk', 'first')
            assert os.listdir('.') == ['disk']
            server.end()
            """)
    }

    /// What has changed, to the sector, or to the unit in which a file keeps it.
    @Test func theReportIsExact() throws {
        try run(
            """
            server = Server('--sandbox-path', folder)
            write(b'A' * 512, 512 * 5)
            # A subcluster has 2 KiB.
            assert changed() == set(range(4, 8)) == mapped(changes)
            works('snapshot', 'disk', 'first')
            write(b'A' * 2048, 1 << 20)
            h = connect()
            h.zero(65536, 2 << 20)
            # No flush has brought that to the file.
            assert changed('disk', 'first') == set(range(2048, 2052))
            h.flush()
            both = set(range(2048, 2052)) | set(range(4096, 4224))
            assert changed('disk', 'first') == both and changed() == both | set(range(4, 8)) == mapped(changes)
            # A client that is connected has noticed nothing.
            assert h.pread(512, 512 * 5) == b'A' * 512
            works('snapshot', 'disk', 'second')
            assert changed('disk', 'second') == set() and changed('disk', 'first') == both
            works('fork', 'disk', 'fork', '--snapshot', 'first', '--changes', folder + '/c/fork')
            write(b'F' * 2048, 0, 'fork')
            assert changed('fork') == set(range(0, 8))
            # A revert that goes aside: what either has, and not what both have.
            works('revert', 'disk', 'first')
            write(b'B' * 2048, 3 << 20)
            assert changed('disk', 'second') == both | set(range(6144, 6148))
            said = works('changes', 'disk', 'first')
            assert '4 sectors in 1 place' in said and '6144  6147        4' in said, said
            h = connect()
            h.pwrite(b'C' * 2048, 8192)
            h.shutdown()
            # What was not flushed is forgotten, too, and reported.
            said = json.loads(works('--json', 'revert', 'disk'))['changed']
            assert said == {'sectors': 12, 'unit-sectors': 1, 'ranges': [[4, 7], [16, 19], [6144, 6147]]}, said
            assert changed() == set() and 'nothing' in works('changes', 'disk')
            refused("has no snapshot 'none'", 'changes', 'disk', 'none')
            server.end()
            # In memory.
            server = Server('--sandbox-path', folder, disk=())
            write(b'A' * 512, 512 * 5)
            works('snapshot', 'disk', 'first')
            write(b'A' * 1024, 1 << 20)
            h = connect()
            h.zero(65536, 2 << 20)
            both = set(range(2048, 2050)) | set(range(4096, 4224))
            assert changed('disk', 'first') == both and changed() == both | {5}
            works('snapshot', 'disk', 'second')
            works('fork', 'disk', 'fork', '--snapshot', 'first')
            write(b'F' * 512, 0, 'fork')
            assert changed('fork') == {0, 5}
            works('revert', 'disk', 'first')
            write(b'B' * 512, 3 << 20)
            assert changed('disk', 'second') == both | {6144} and changed('disk', 'first') == {6144}
            said = json.loads(works('--json', 'revert', 'disk'))['changed']
            assert said == {'sectors': 2, 'unit-sectors': 1, 'ranges': [[5, 5], [6144, 6144]]}, said
            # Too many places for a list.
            h = connect()
            for sector in range(0, 6000, 2): h.pwrite(b'x' * 512, sector * 512)
            said = json.loads(works('--json', 'changes', 'disk'))['changed']
            assert said['ranges'] == [[0, 5999]] and said['unit-sectors'] == 2 and said['sectors'] == 6000, said
            for sector in range(0, 6000, 2): h.zero(512, sector * 512)
            h.shutdown()
            server.end()
            """)
    }

    /// In its sandbox, without any other option: snapshots of a file that it began with.
    @Test func inTheSandbox() throws {
        try run(
            """
            server = Server()
            write(b'A' * 4096, 0)
            # Nothing was written since: each is as cheap as a name, and more than there may be in a row.
            for number in range(30): works('snapshot', 'disk', f'same{number}')
            for number in range(14):
                write(b'x' * 512, 8192)
                works('snapshot', 'disk', f'row{number}')
            write(b'y' * 512, 8192)
            refused('there can be no more in a row', 'snapshot', 'disk', 'one more')
            assert content()[8192:8704] == b'y' * 512 and content()[:4096] == b'A' * 4096
            works('revert', 'disk', 'same7')
            works('snapshot', 'disk', 'one more')
            server.end()
            # A server without an operator has no such rights, and one with another folder is told.
            server = Server('--sandbox-path', folder + '/c', disk=(), export='null:1M')
            server.end()
            server = Server('--sandbox', 'off', '--locking', 'off', '--cache', 'unsafe')
            works('revert', 'disk', 'same3')
            assert content()[8192:8704] == start[8192:8704]
            server.end()
            """)
    }
}
