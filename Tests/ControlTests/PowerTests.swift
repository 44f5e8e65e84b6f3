// `spindle ctl power`: what clients of NBD and of iSCSI lose, and what they do not.

import Foundation
import Support
import Testing

@Suite struct PowerTests {
    /// Helpers of the scripts.
    private static let prelude = """
        import json
        [image] = others
        def cut(*words):
            return json.loads(works('--json', 'power', 'disk', 'cut', *words))
        def arm(*words):
            return json.loads(works('--json', 'power', 'disk', 'cut', *words))['armed']
        def report():
            return json.loads(works('--json', 'power', 'disk', 'report', '--wait', '60'))['cut']
        def on_disk(offset, count):
            with open(image, 'rb') as file:
                file.seek(offset)
                return file.read(count)

        """

    /// Runs a script against a server with two loops, whose drive has a volatile cache of 1 MiB.
    private func serve(_ script: String, _ arguments: [String] = ["--write-cache-model", "volatile:1M"]) throws
        -> String
    {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file(
            "disk.img", sizeBytes: 16 << 20, beginning: [UInt8](repeating: 0x11, count: 16 << 20))
        let server = try ControlledServer(["--threads", "2"] + arguments + ["disk=\(image)"], in: folder)
        let log = try server.run(script: Self.prelude + script, [image])
        let bytes = try Data(contentsOf: URL(fileURLWithPath: image))
        return log + "\nimage: \(bytes[4096]) \(bytes[8192]) \(bytes[1 << 20])"
    }

    /// What was flushed is in the image, and what was not is in the drive: a client reads it, and a cut loses it.
    @Test func whatNoFlushHasAskedForIsLost() throws {
        let log = try serve(
            """
            h = connect()
            h.pwrite(b'F' * 4096, 4096)
            assert h.pread(8192, 0) == b'\\x11' * 4096 + b'F' * 4096
            assert on_disk(4096, 4096) == b'\\x11' * 4096, 'the cache is no cache'
            h.flush()
            assert on_disk(4096, 4096) == b'F' * 4096
            h.pwrite(b'G' * 8192, 4096)
            h.zero(4096, 65536)
            assert h.pread(4096, 65536) == bytes(4096)
            report = cut('--seed', '7')
            assert is_cut_off(h)
            assert report['power'] == 'on' and report['keep'] == 'none' and report['seed'] == '7', report
            assert report['flushes'] == 1 and len(report['connections']) == 1, report
            writes = [(w['kind'], w['lba'], w['sectors'], w['fate'], w['after-flush']) for w in report['writes']]
            assert writes == [('write', 8, 16, 'lost', 1), ('zeroes', 128, 8, 'lost', 1)], writes
            assert {w['connection'] for w in report['writes']} == {report['connections'][0]['number']}
            assert report['lost-sectors'] == 24 and report['kept-sectors'] == 0
            h = connect()
            assert h.pread(12288, 0) == b'\\x11' * 4096 + b'F' * 4096 + b'\\x11' * 4096
            assert h.pread(4096, 65536) == b'\\x11' * 4096
            assert 'every write had reached the image' in works('power', 'disk', 'cut')
            """)
        #expect(log.contains("power cut") && log.contains("the power of its drive was cut"), "\(log)")
        #expect(!log.contains("what clients have not flushed"), "what is lost is not stable: \(log)")
    }

    /// What a client has asked for with FUA is stable when it is answered (proto.md, NBD_CMD_FLAG_FUA): zeroes and
    /// trims as well as writes.
    @Test(arguments: ["spindle-hd", "spindle-ssd"]) func whatIsForcedIsStable(device: String) throws {
        _ = try serve(
            """
            import nbd
            h = connect()
            assert h.can_fua() and h.can_trim() == ('\(device)' == 'spindle-ssd')
            h.pwrite(b'O' * 65536, 4096)
            h.flush()
            h.pwrite(b'W' * 4096, 32768, nbd.CMD_FLAG_FUA)
            h.zero(4096, 4096, nbd.CMD_FLAG_FUA)
            h.zero(1024, 12288, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE)
            if h.can_trim(): h.trim(4096, 49152, nbd.CMD_FLAG_FUA)
            cut()
            h = connect()
            assert h.pread(4096, 32768) == b'W' * 4096
            assert h.pread(4096, 4096) == bytes(4096) and h.pread(1024, 12288) == bytes(1024)
            assert h.pread(4096, 49152) == (bytes(4096) if h.can_trim() else b'O' * 4096)
            """, ["--write-cache-model", "volatile:1M", "--device", device])
    }

    /// However many wait for a report, others are answered: the cut can be taken back, which ends all waiting.
    @Test func reportsThatAreWaitedForKeepNobodyElse() throws {
        _ = try serve(
            """
            import select
            import socket as sockets
            def ask(wait):
                s = sockets.socket(sockets.AF_UNIX)
                s.settimeout(60)
                s.connect(control)
                s.sendall(f'GET /v1/exports/disk/power?wait={wait} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'.encode())
                return s
            def answer(s):
                text = b''
                while piece := s.recv(65536):
                    text += piece
                return text.decode()
            arm('--at-flush', '1000')
            waiting = [ask(90) for _ in range(40)]
            answered = []
            while len(answered) < 32:
                answered += select.select([s for s in waiting if s not in answered], [], [], 60)[0]
            works('list')
            for s in answered:
                text = answer(s)
                assert ' 503 ' in text and '8 requests wait for power cuts already; try again later' in text, text
            works('power', 'disk', 'on')
            for s in waiting:
                assert s in answered or 'taken back' in answer(s)
            for wrong in ['+5', '101', '1&wait=2', '-1', '']:
                assert ' 400 ' in answer(ask(wrong)), wrong
            """)
    }

    /// What a cut keeps is in the image, sector by sector as the report says, and the same seed does the same.
    @Test func whatIsKeptIsInTheImage() throws {
        _ = try serve(
            """
            outcomes = []
            for round in range(3):
                for keep in ['all', 'prefix', 'subset', 'torn']:
                    h = connect()
                    h.pwrite(b'\\x11' * (1 << 20), 0)
                    h.flush()
                    for number in range(40):
                        h.pwrite(bytes([number + 65]) * 4096, number * 8192)
                    report = cut('--keep', keep, '--seed', '3')
                    content = on_disk(0, 1 << 20)
                    for write in report['writes']:
                        value = write['lba'] // 16 + 65
                        kept = {s for first, last in write['kept'] for s in range(first, last + 1)}
                        for sector in range(write['lba'], write['lba'] + write['sectors']):
                            expected = value if sector in kept else 0x11
                            assert content[sector * 512:][:512] == bytes([expected]) * 512, (keep, sector, expected)
                    fates = [w['fate'] for w in report['writes']]
                    assert len(fates) == 40
                    if keep == 'all': assert fates == ['kept'] * 40
                    if keep == 'prefix': assert fates == sorted(fates) and set(fates) <= {'kept', 'lost'}, fates
                    if keep == 'subset': assert set(fates) == {'kept', 'lost'}, fates
                    if keep == 'torn': assert 'torn' in fates, fates
                    outcomes.append((keep, fates, content))
            assert outcomes[:4] == outcomes[4:8] == outcomes[8:]
            """)
    }

    /// More than the cache holds goes to the image by itself; a server that ends in order loses nothing.
    @Test func whatHasNoRoomReachesTheImage() throws {
        let log = try serve(
            """
            h = connect()
            h.pwrite(b'A' * (8 << 20), 0)
            assert h.pread(8 << 20, 0) == b'A' * (8 << 20)
            lost = cut()['lost-sectors'] * 512
            assert 0 < lost <= 1 << 20, lost
            h = connect()
            content = h.pread(8 << 20, 0)
            assert content.count(b'A') == (8 << 20) - lost and content == on_disk(0, 8 << 20)
            h.pwrite(b'E' * 4096, 4096)
            assert on_disk(4096, 4096) != b'E' * 4096
            """)
        #expect(log.contains("image: 69 "), "\(log)")
    }

    @Test func powerIsOffUntilItIsOn() throws {
        let log = try serve(
            """
            h = connect()
            h.pwrite(b'O' * 512, 4096)
            refused("'half' is no way to keep: it is none, all, prefix, subset or torn", 'power', 'disk', 'cut', '--keep', 'half', status=64)
            refused("'dim' is no state of the power: it is off, on, cut or report", 'power', 'disk', 'dim', status=64)
            refused("'9-3' names no sectors: FIRST-LAST", 'power', 'disk', 'cut', '--lose', '9-3', status=64)
            refused("with 'on' nothing is cut", 'power', 'disk', 'on', '--seed', '3', status=64)
            refused("the drive 'disk' has power", 'power', 'disk', 'on')
            refused("there is no export named 'other'", 'power', 'other', 'cut')
            refused('more than 64 ranges of sectors are named', 'power', 'disk', 'cut', '--lose', ','.join(map(str, range(65))), status=64)
            works('power', 'disk', 'off', '--keep', 'all', '--lose', '9', '--lose', '100-32767')
            assert is_cut_off(h)
            try:
                connect()
                raise AssertionError('the drive has no power')
            except nbd.Error:
                pass
            refused("the power of 'disk' is cut already", 'power', 'disk', 'off')
            works('power', 'disk', 'on')
            assert connect().pread(512, 4096) == b'O' * 512
            """)
        #expect(log.contains("reason=\"the drive has no power; "), "\(log)")
        #expect(log.contains("power restored"), "\(log)")
    }

    /// So many writes are answered, and none after them; the seed says how many of a random number.
    @Test func theCutComesAfterSoManyWrites() throws {
        _ = try serve(
            """
            for count in [1, 7]:
                h = connect()
                h.pwrite(b'0' * 512, 0)
                armed = arm('--after-writes', str(count), '--keep', 'all', '--seed', '5')
                assert armed == f'spindle ctl power disk cut --after-writes {count} --keep all --seed 5', armed
                for number in range(count):
                    h.pwrite(bytes([number + 65]) * 512, (number + 1) * 512)
                assert is_unanswered(h.pwrite, b'Z' * 512, 8192)
                cut = report()
                assert [w['lba'] for w in cut['writes']] == list(range(count + 1)), cut
                assert cut['command'] == armed and len(cut['connections']) == 1, cut
                assert on_disk(0, 512) == b'0' * 512 and on_disk(8192, 512) == b'\\x11' * 512
            chosen = []
            for seed in [3, 4, 5, 3]:
                chosen.append(int(arm('--random', '1000', '--seed', str(seed)).split()[6]))
                works('power', 'disk', 'on')
            assert chosen[0] == chosen[3] and len(set(chosen)) == 3 and all(1 <= n <= 1000 for n in chosen), chosen
            """)
    }

    /// The first write to a range is in the cache and is not answered; others before it are.
    @Test func theCutComesAtAWriteToARange() throws {
        _ = try serve(
            """
            for sectors, offset in [('16-23', 16 * 512), ('16-23', 23 * 512), ('18', 16 * 512)]:
                h = connect()
                h.flush()
                armed = arm('--at-write', sectors, '--keep', 'all')
                h.pwrite(b'a' * 512, 15 * 512)
                h.pwrite(b'b' * 512, 24 * 512)
                assert is_unanswered(h.pwrite, b'c' * 2048, offset)
                cut = report()
                assert [w['lba'] for w in cut['writes']] == [15, 24, offset // 512], cut
                assert on_disk(offset, 2048) == b'c' * 2048
                assert on_disk(15 * 512, 512) == b'a' * 512
            # One that needs more room than there is goes to the image in part, and no further.
            h = connect()
            arm('--at-write', '20000-30000')
            assert is_unanswered(h.pwrite, b'd' * (4 << 20), 8 << 20)
            cut = report()
            assert cut['lost-sectors'] * 512 <= 1 << 20, cut
            assert on_disk(8 << 20, 4 << 20).count(b'd') <= 3 << 20
            """)
    }

    /// When a flush comes nothing of it is done; when it has ended everything is in the image, and nobody was told.
    @Test func theCutComesAtAFlush() throws {
        _ = try serve(
            """
            for number, value in [(1, b'f'), (3, b'g')]:
                h = connect()
                arm('--at-flush', str(number))
                for flush in range(number - 1):
                    h.flush()
                h.pwrite(value * 4096, 4096)
                before = on_disk(4096, 4096)
                assert is_unanswered(h.flush)
                cut = report()
                assert cut['lost-sectors'] == 8 and on_disk(4096, 4096) == before != value * 4096, cut
                h = connect()
                h.pwrite(value * 4096, 4096)
                arm('--at-flush-end', str(number))
                for flush in range(number - 1):
                    h.flush()
                flushes = cut['flushes']
                assert is_unanswered(h.flush)
                cut = report()
                assert cut['writes'] == [] and on_disk(4096, 4096) == value * 4096, cut
                assert cut['flushes'] == flushes + number, cut
            """)
    }

    /// A cut is armed once, and can be taken back; it waits while nobody has the drive open.
    @Test func anArmedCutIsTold() throws {
        let log = try serve(
            """
            assert json.loads(works('--json', 'power', 'disk', 'report')) == {'export': 'disk', 'power': 'on'}
            refused('a cut has one moment', 'power', 'disk', 'cut', '--at-flush', '1', '--random', '2', status=64)
            refused("'0' is no number of flushes: it is one from 1 to", 'power', 'disk', 'cut', '--at-flush', '0', status=64)
            refused("'1,2' is no range of sectors", 'power', 'disk', 'cut', '--at-write', '1,2', status=64)
            refused("with 'on' nothing is cut", 'power', 'disk', 'on', '--at-flush', '1', status=64)
            refused("with 'report' nothing is cut", 'power', 'disk', 'report', '--seed', '1', status=64)
            refused("--wait is for 'report'", 'power', 'disk', 'cut', '--wait', '1', status=64)
            refused("sessions can hang while the drive has no power", 'power', 'disk', 'cut', '--sessions', 'hang', status=64)
            armed = arm('--at-flush', '1', '--keep', 'torn', '--seed', '9')
            assert armed in works('power', 'disk', 'report')
            refused("a cut of the power of 'disk' is to come", 'power', 'disk', 'cut')
            refused("a cut of the power of 'disk' is to come", 'power', 'disk', 'off', '--at-flush', '2')
            refused('has not come within 1 s; it is to come still', 'power', 'disk', 'report', '--wait', '1')
            works('power', 'disk', 'on')
            h = connect()
            h.flush()
            refused("the drive 'disk' has power", 'power', 'disk', 'on')
            works('power', 'disk', 'off', '--at-flush', '1')
            assert is_unanswered(h.flush)
            assert report()['power'] == 'off'
            assert 'every write had reached the image' in works('power', 'disk', 'report')
            works('power', 'disk', 'on')
            # A cut is taken back while a report of it is waited for: there is none, and not one of another cut. If the
            # question comes after that, the next round gives it the time of more answers to others.
            for round in range(50):
                arm('--at-flush', '1')
                waiter = subprocess.Popen([spindle, 'ctl', '--control', 'unix:' + control, 'power', 'disk', 'report', '--wait',
                                           '60'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(round):
                    works('list')
                works('power', 'disk', 'on')
                words = waiter.communicate()[1]
                if waiter.returncode != 0:
                    break
            assert waiter.returncode == 1 and 'was taken back' in words, (waiter.returncode, words)
            arm('--at-flush', '1')
            works('remove', 'disk')
            """)
        #expect(log.contains("power cut armed") && log.contains("power cut taken back"), "\(log)")
    }

    /// Sessions that hang stay, and get no answer until the power is back: then they end.
    @Test func sessionsHangUntilThePowerIsBack() throws {
        let log = try serve(
            """
            for words in [[], ['--at-flush', '1']]:
                h = connect()
                h.pwrite(b'H' * 4096, 4096)
                works('power', 'disk', 'off', '--sessions', 'hang', '--keep', 'all', *words)
                answers = [h.aio_flush()] + [h.aio_pread(nbd.Buffer(512), n * 512) for n in range(100)]
                report()
                assert on_disk(4096, 4096) == b'H' * 4096
                assert h.poll(300) == 0 and not any(h.aio_command_completed(a) for a in answers)
                assert is_unanswered(connect)
                [connection] = json.loads(works('--json', 'connections'))['connections']
                works('power', 'disk', 'on')
                while not h.aio_is_dead() and not h.aio_is_closed():
                    try:
                        h.poll(1000)
                    except nbd.Error:
                        pass
                h = connect()
                assert h.pread(4096, 4096) == b'H' * 4096
                h.pwrite(b'\\x11' * 4096, 4096)
                h.flush()
            # One that is dropped goes although its requests wait.
            h.aio_flush()
            works('power', 'disk', 'off', '--sessions', 'hang')
            h.aio_pread(nbd.Buffer(512), 0)
            [connection] = json.loads(works('--json', 'connections'))['connections']
            works('drop', str(connection['number']))
            while json.loads(works('--json', 'connections'))['connections']: pass
            works('power', 'disk', 'on')
            h = connect()
            h.aio_flush()
            works('power', 'disk', 'off', '--sessions', 'hang')
            """)
        #expect(log.contains("client hangs"), "\(log)")
    }

    /// Of a drive with large physical sectors a torn write damages what lies beside it, as the report says.
    @Test func aTornPhysicalSectorIsDamaged() throws {
        _ = try serve(
            """
            damaged = set()
            for seed in range(12):
                h = connect()
                h.pwrite(b'\\x11' * 8192, 0)
                h.flush()
                h.pwrite(b'W' * 1536, 2 * 512)
                report = cut('--keep', 'torn', '--seed', str(seed))
                sectors = {s for first, last in report['damaged'] for s in range(first, last + 1)}
                assert sectors in [set(), {0, 1, 5, 6, 7}], report
                content = on_disk(0, 8192)
                for sector in range(16):
                    is_noise = len(set(content[sector * 512:][:512])) > 2
                    assert is_noise == (sector in sectors), (sector, report)
                damaged |= sectors
            assert damaged, 'nothing was ever damaged'
            # A client of a drive whose write cache is off at power-on may meet one whose cache is on.
            works('add', '--write-cache-model', 'volatile', '--device', 'ide-hd,write-cache=off', 'off=memory:1M')
            h = nbd.NBD()
            h.connect_uri(f'nbd+unix:///off?socket={socket}')
            assert h.can_flush()
            """,
            ["--write-cache-model", "volatile:1M", "--device", "ide-hd,physical_block_size=4096"])
    }

    /// A drive whose answered writes are in the image has no power to cut.
    /// An operator sees it where exports are listed.
    @Test func theListTellsOfIt() throws {
        _ = try serve(
            """
            def state(): return [line[7:].strip() for line in works('show', 'disk').splitlines() if line.startswith('State: ')]
            def members(): return {k: v for k, v in json.loads(works('--json', 'show', 'disk')).items() if k in ('power', 'armed')}
            assert state() == ['idle'] and members() == {'power': 'on'}, (state(), members())
            works('power', 'disk', 'off')
            assert state() == ['no power'] and members() == {'power': 'off'}, (state(), members())
            assert ' no power ' in works('list')
            works('power', 'disk', 'on')
            h = connect()
            armed = arm('--at-flush', '2')
            assert state() == ['in use, cut armed'] and members() == {'power': 'on', 'armed': armed}, (state(), members())
            works('power', 'disk', 'on')
            assert state() == ['in use']
            works('power', 'disk', 'off', '--sessions', 'hang')
            assert state() == ['in use, no power'], state()
            works('add', 'plain=null:1M')
            assert 'power' not in json.loads(works('--json', 'show', 'plain'))
            """)
    }

    /// A cut that could never come, or sectors that could never be lost, are a mistake.
    @Test func sectorsBeyondTheDrive() throws {
        _ = try serve(
            """
            words = "the drive 'disk' has 32768 sectors, from 0 to 32767, and "
            refused(words + '32768-32768', 'power', 'disk', 'cut', '--at-write', '32768')
            refused(words + '32767-32768', 'power', 'disk', 'cut', '--lose', '5', '--lose', '32767-32768')
            refused(words + '9-99999', 'power', 'disk', 'off', '--at-flush', '1', '--lose', '9-99999')
            works('power', 'disk', 'cut', '--lose', '32767')
            arm('--at-write', '0-32767')
            """)
    }

    @Test func otherDrivesHaveNone() throws {
        _ = try serve(
            """
            refused("the export 'disk' has no volatile write cache; --write-cache-model volatile gives it one", 'power', 'disk', 'cut')
            works('add', '--write-cache-model', 'volatile', 'more=memory:1M')
            works('power', 'more', 'cut')
            refused("is no model of a write cache: it is one of image, volatile, volatile:SIZE", 'add', '--write-cache-model', 'x', 'm=null:1M', status=64)
            refused("a drive that only reads has no write cache", 'add', '--write-cache-model', 'volatile', '--read-only', 'm=null:1M')
            """, [])
    }
}
