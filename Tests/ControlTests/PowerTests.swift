// `spindle ctl power`: what clients of NBD and of iSCSI lose, and what they do not.

import Foundation
import Support
import Testing

@Suite struct PowerTests {
    /// Helpers of the scripts.
    private static let prelude = """
        import json, nbd
        [image] = others
        def cut(*words):
            return json.loads(works('--json', 'power', 'disk', 'cut', *words))
        def connect():
            h = nbd.NBD()
            h.connect_uri(f'nbd+unix:///disk?socket={socket}')
            return h
        def is_cut_off(h):
            try:
                h.pread(512, 0)
            except nbd.Error:
                return True
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
            refused("'dim' is no state of the power: it is off, on or cut", 'power', 'disk', 'dim', status=64)
            refused("'9-3' names no sectors: FIRST-LAST", 'power', 'disk', 'cut', '--lose', '9-3', status=64)
            refused("with 'on' nothing is cut", 'power', 'disk', 'on', '--seed', '3', status=64)
            refused("the drive 'disk' has power", 'power', 'disk', 'on')
            refused("there is no export named 'other'", 'power', 'other', 'cut')
            refused('more than 64 ranges of sectors are named', 'power', 'disk', 'cut', '--lose', ','.join(map(str, range(65))), status=64)
            works('power', 'disk', 'off', '--keep', 'all', '--lose', '9', '--lose', '100-18446744073709551614')
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
        #expect(log.contains("reason=\"the drive has no power; 'spindle ctl power NAME on' gives it back\""), "\(log)")
        #expect(log.contains("power restored"), "\(log)")
    }

    /// A drive whose answered writes are in the image has no power to cut.
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
