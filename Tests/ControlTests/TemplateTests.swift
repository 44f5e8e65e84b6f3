// Exports that are made when clients ask for them, and disks of each client's own.

import Foundation
import Support
import Testing

@Suite struct TemplateTests {
    private let folder: TemporaryFolder
    private let base: String

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        base = try folder.file("base.img", sizeBytes: 16 << 20, beginning: Array("base".utf8))
    }

    private static let prelude = """
        import json, os, time
        def names():
            return sorted(e['name'] for e in json.loads(works('--json', 'list'))['exports'])
        def wait(condition):
            end = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < end, names()
                time.sleep(0.02)
        def why(name):
            h, words = nbd.NBD(), []
            # The server's own are among what libnbd tells who looks for mistakes.
            h.set_debug(True)
            h.set_debug_callback(lambda where, text: words.append(text) or 0)
            try: h.connect_uri(f'nbd+unix:///{name}?socket={socket}')
            except nbd.Error as error: return ' '.join(words) + error.string
            raise AssertionError(name + ' was opened')
        def listed():
            h, found = nbd.NBD(), []
            h.set_opt_mode(True)
            h.connect_unix(socket)
            h.opt_list(lambda name, text: found.append(name) or 0)
            h.opt_abort()
            return found

        """

    private func server(_ text: String) throws -> ControlledServer {
        try write(text)
        return try ControlledServer(["--threads", "2", "--log-level", "info", "--config", file], in: folder)
    }

    private var file: String { folder.path + "/spindle.toml" }

    private func write(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: file)) }

    /// Who asks for a name first has its disk made, all others of the name share it, and it stays.
    @Test func aDiskForEachName() throws {
        let server = try server(
            """
            [[export]]
            image = "memory:1M"
            [[template]]
            name = "vm-*"
            image = "overlay:base.img"
            most = 3
            """)
        _ = try server.run(
            script: Self.prelude + """
                before = names()
                assert listed() == ['memory'], listed()
                # Questions make nothing, and have the answers of what would be made.
                h = nbd.NBD()
                h.set_opt_mode(True)
                h.connect_unix(socket)
                h.set_export_name('vm-q')
                h.opt_info()
                assert h.get_size() == 16 << 20 and h.can_multi_conn() and names() == before
                h.opt_go()
                assert h.pread(512, 0)[:4] == b'base'
                a, b = connect('vm-a'), connect('vm-a')
                a.pwrite(b'A' * 512, 0)
                assert b.pread(512, 0) == b'A' * 512 and h.pread(512, 0)[:4] == b'base'
                for x in (a, b): x.shutdown()
                assert connect('vm-a').pread(512, 0)[:4] == b'AAAA'
                assert listed() == ['memory', 'vm-q', 'vm-a'], listed()
                for name in ('vm-', 'vm-a/b', 'vm-*', 'vm-' + 'n' * 65, 'wm-a', 'vm-a%20b'):
                    assert 'no export named' in why(name), why(name)
                c = connect('vm-c')
                assert "as many exports of 'vm-*' as there may be: 3" in why('vm-d'), why('vm-d')
                works('remove', 'vm-a', '--force')
                # A fresh one in its place.
                assert connect('vm-a').pread(512, 0)[:4] == b'base'
                assert names() == sorted(before + ['vm-q', 'vm-a', 'vm-c'])
                # Each is like any other: it can be reverted, and its serial number is its own.
                c.pwrite(b'C' * 512, 0)
                works('revert', 'vm-c')
                assert connect('vm-c').pread(512, 0)[:4] == b'base'
                texts = [e['description'] for e in json.loads(works('--json', 'list'))['exports'] if 'vm-' in e['name']]
                assert len(set(texts)) == len(texts), texts
                """, [])
        #expect(try folder.bytes("base.img", count: 4) == Array("base".utf8))
    }

    /// The old way to open an export has no words for a refusal, but the same exports.
    @Test func theOldWay() throws {
        let server = try server("[[template]]\nname = \"vm-*\"\nimage = \"memory:1M\"\nmost = 1")
        _ = try server.run(
            script: Self.prelude + """
                h = nbd.NBD()
                h.set_handshake_flags(0)
                h.connect_uri(f'nbd+unix:///vm-old?socket={socket}')
                assert h.get_protocol() == 'newstyle' and h.get_size() == 1 << 20
                h.pwrite(b'1' * 512, 0)
                assert connect('vm-old').pread(512, 0)[:2] == b'11'
                """, [])
    }

    /// 0: it goes with its last client. Others go when nobody has used them for a while.
    @Test func howLongTheyStay() throws {
        let server = try server(
            """
            [[template]]
            name = "job-*"
            image = "overlay:base.img"
            keep-seconds = 0
            [[template]]
            name = "vm-*"
            image = "overlay:base.img"
            keep-seconds = 1
            """)
        let log = try server.run(
            script: Self.prelude + """
                before = names()
                a, b = connect('job-1'), connect('job-1')
                a.pwrite(b'A' * 512, 0)
                a.shutdown()
                assert b.pread(512, 0)[:2] == b'AA'
                b.shutdown()
                wait(lambda: names() == before)
                assert connect('job-1').pread(512, 0)[:4] == b'base'
                v = connect('vm-1')
                v.pwrite(b'V' * 512, 0)
                # As long after it as another one stays that nobody uses, it is still there.
                connect('vm-2').shutdown()
                wait(lambda: 'vm-2' not in names())
                assert v.pread(512, 0)[:2] == b'VV' and 'vm-1' in names()
                v.shutdown()
                wait(lambda: names() == before)
                assert connect('vm-1').pread(512, 0)[:4] == b'base'
                """, [])
        #expect(log.contains("message=\"export removed\" export=vm-1 mode=safe"), "\(log)")
    }

    /// Clients that find what there is at one moment, and open an export at another.
    private static let slowClients = """
        import socket as sockets, struct
        def exactly(s, count):
            found = b''
            while len(found) < count:
                more = s.recv(count - len(found))
                if not more: return None
                found += more
            return found
        class Old:
            # Finds what there is with the greeting.
            def __init__(self):
                self.s = sockets.socket(sockets.AF_UNIX)
                self.s.connect(socket)
                exactly(self.s, 18)
            def go(self, name):
                data = struct.pack('>I', len(name)) + name.encode() + bytes(2)
                self.s.sendall(struct.pack('>IQII', 1, 0x49484156454F5054, 7, len(data)) + data)
                while True:
                    kind, length = struct.unpack('>II', exactly(self.s, 20)[12:])
                    data = exactly(self.s, length)
                    if kind != 3: return data.decode() if kind & 0x80000000 else 'open'
            def export_name(self, name):
                self.s.sendall(struct.pack('>IQII', 3, 0x49484156454F5054, 1, len(name)) + name.encode())
                return 'open' if exactly(self.s, 10) else 'closed'
        class Initiator:
            # Finds what there is with its first PDU, and opens its target with the second.
            def __init__(self, name):
                self.s = sockets.create_connection(tuple(others[0].rsplit(':', 1)))
                self.login(0x81, f'InitiatorName=iqn.2026-01.org.example:a\\0SessionType=Normal\\0'
                           f'TargetName=iqn.2026-11.org.spindle:{name}\\0AuthMethod=None\\0')
            def login(self, flags, text):
                head = struct.pack('>4BI8sIHHII16x', 0x43, flags, 0, 0, len(text), b'\\x80abcde\\0\\0', 1, 0, 0, 1, 0)
                self.s.sendall(head + text.encode() + bytes(-len(text) % 4))
                answer = exactly(self.s, 48)
                length = int.from_bytes(answer[5:8], 'big')
                exactly(self.s, length + -length % 4)
                return int.from_bytes(answer[36:38], 'big')

        """

    /// An export goes between the moment when a client finds it and that when it opens it: its name is as if it had not
    /// been there. That of one which an operator has removed is unknown from then on.
    @Test func goneOnTheWay() throws {
        let server = try server(
            """
            listen = "iscsi:127.0.0.1:0"
            [[export]]
            name = "plain"
            image = "memory:1M"
            [[template]]
            name = "job-*"
            image = "overlay:base.img"
            keep-seconds = 0
            """)
        let portal = try #require(server.server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") })
            .split(separator: "/")[1]
        let log = try server.run(
            script: Self.prelude + Self.slowClients + """
                before = names()
                def all_find(name):
                    return [Old().go, Old().export_name, lambda _, i=Initiator(name): hex(i.login(0x87, ''))]
                for number in range(3):
                    # The drive of the name, which all three find, goes before each of them opens it.
                    name = f'job-{number}'
                    user = connect(name)
                    user.pwrite(b'U' * 512, 0)
                    ask = all_find(name)[number]
                    user.shutdown()
                    wait(lambda: names() == before)
                    assert ask(name) == ('open', 'open', '0x0')[number], number
                    assert connect(name).pread(512, 0)[:4] == b'base'
                    del ask
                asks = all_find('plain')
                works('remove', 'plain')
                assert asks[0]('plain') == 'the export has just been removed'
                assert asks[1]('plain') == 'closed' and asks[2]('plain') == '0x204'
                """, [String(portal)])
        #expect(log.contains("the target has just been removed") && !log.contains("no access rule"), "\(log)")
    }

    /// The image below a template is exchanged: no disk is made that begins otherwise than others, until a server is
    /// told to take the new one.
    @Test func theBaseIsExchanged() throws {
        try FileManager.default.createSymbolicLink(
            atPath: folder.path + "/link.img", withDestinationPath: base)
        let server = try server(
            """
            [[export]]
            name = "plain"
            image = "memory:1M"
            [[template]]
            name = "vm-*"
            image = "overlay:link.img"
            [[export]]
            name = "own"
            image = "overlay:base.img"
            per-client = true
            """)
        let log = try server.run(
            script: Self.prelude + """
                base, new = others
                def exchange(size, text):
                    with open(new, 'wb') as file:
                        file.write(text)
                        file.truncate(size)
                    os.rename(new, base)
                def take():
                    told = works('reload')
                    assert "'vm-*'" in told and "'own'" in told and 'plain' not in told, told
                plain = connect('plain')
                a, o = connect('vm-a'), connect('own')
                # Of the same size, and of another.
                for held, fresh, size, text in (('vm-a', 'vm-b', 16 << 20, b'same'), ('vm-b', 'vm-c', 32 << 20, b'more')):
                    exchange(size, text)
                    for name in (fresh, 'own'):
                        assert "log says why" in why(name), why(name)
                    # Who has a disk keeps it.
                    old = a.pread(512, 0)[:4]
                    assert old == o.pread(512, 0)[:4] != text and connect(held).pread(512, 0)[:4] == old
                    take()
                    a, o = connect(fresh), connect('own')
                    for disk in (a, o): assert disk.pread(512, 0)[:4] == text and disk.get_size() == size
                os.truncate(base, 8 << 20)
                assert "log says why" in why('own'), why('own')
                take()
                assert connect('own').get_size() == 8 << 20
                assert 'no export has changed' in works('reload')
                plain.pread(512, 0)
                refused("'vm-*' stands for exports that clients ask for; name one of them", 'revert', 'vm-*')
                """, [base, folder.path + "/new"])
        #expect(log.contains("the base has changed: '"), "\(log)")
    }

    /// Each connection has a disk of its own, which nobody else finds, and which is gone with it.
    @Test func aDiskForEachClient() throws {
        let server = try ControlledServer(
            ["--threads", "2", "--per-client", "--write-cache-model", "volatile:1M", "own=overlay:\(base)"], in: folder)
        _ = try server.run(
            script: Self.prelude + """
                a, b = connect('own'), connect('own')
                assert not a.can_multi_conn() and a.get_size() == 16 << 20
                a.pwrite(b'A' * 512, 0)
                b.pwrite(b'B' * 512, 512)
                a.flush()
                assert a.pread(1024, 0) == b'A' * 512 + bytes(512)
                assert b.pread(1024, 0) == b'base' + bytes(508) + b'B' * 512
                assert len(names()) == 3 and listed() == ['own'], (names(), listed())
                other = [name for name in names() if '#' in name][0]
                assert 'no export named' in why(other.replace('#', '%23')), other
                assert 'own#' not in works('metrics') and 'export="own"' in works('metrics')
                for words in (('grow', 'own', '32M'), ('revert', 'own'), ('snapshot', 'own', 'a'), ('fork', 'own', 'b'),
                              ('power', 'own', 'cut'), ('power', 'own', 'report'), ('accept-loss', 'own')):
                    refused("'own' stands for disks of its clients' own; name one of them", *words)
                assert [e.get('template') for e in json.loads(works('--json', 'list'))['exports']] == [True, None, None]
                assert 'State:        template\\n' in works('show', 'own'), works('show', 'own')
                # Both are the same drive, so that a guest sees the same disk in every run.
                texts = [e['description'] for e in json.loads(works('--json', 'list'))['exports']]
                assert len(set(texts)) == 1, texts
                a.shutdown()
                wait(lambda: len(names()) == 2)
                assert connect('own').pread(512, 0)[:4] == b'base' and b.pread(512, 512)[:1] == b'B'
                works('drop', str([c['number'] for c in json.loads(works('--json', 'connections'))['connections']][0]))
                wait(lambda: names() == ['own'])
                """, [])
        #expect(try folder.bytes("base.img", count: 4) == Array("base".utf8))
    }

    /// In its sandbox the server reaches the image below them later, too, and nothing else of its folder for writing.
    @Test func inTheSandbox() throws {
        let server = try RunningServer(["--per-client", "own=overlay:\(base)"], in: folder)
        for _ in 0..<2 {
            let copy = try Program.tool("nbdcopy").run([server.uri, folder.path + "/copy"], in: folder)
            #expect(copy.status == 0, "\(copy.errors)")
            #expect(try folder.bytes("copy") == folder.bytes("base.img"))
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// One of the control socket, with a bound of connections, and a template's.
    @Test func disksOfTheirOwnElsewhere() throws {
        let server = try server(
            """
            [[export]]
            name = "two"
            image = "memory:1M"
            per-client = true
            connections = 2
            [[template]]
            name = "vm-*"
            image = "overlay:base.img"
            per-client = true
            most = 2
            """)
        _ = try server.run(
            script: Self.prelude + """
                a, b = connect('two'), connect('two')
                assert "as many exports of 'two' as there may be: 2" in why('two'), why('two')
                a.shutdown()
                wait(lambda: len(names()) == 3)
                connect('two').shutdown()
                c, d = connect('vm-1'), connect('vm-1')
                c.pwrite(b'C' * 512, 0)
                assert d.pread(512, 0)[:4] == b'base' and "may be: 2" in why('vm-2')
                works('add', '--per-client', 'mine=memory:1M')
                e, f = connect('mine'), connect('mine')
                e.pwrite(b'E' * 512, 0)
                assert f.pread(512, 0) == bytes(512)
                refused("'overlay:", 'add', '--per-client', others[0])
                """, [base])
    }

    /// Clients that go before they have an answer leave nothing behind, and neither does a flood of names.
    @Test func vanishingClientsAndFloods() throws {
        let server = try server(
            """
            [[export]]
            name = "steady"
            image = "memory:1M"
            [[export]]
            name = "own"
            image = "overlay:base.img"
            per-client = true
            [[template]]
            name = "job-*"
            image = "overlay:base.img"
            keep-seconds = 0
            [[template]]
            name = "few-*"
            image = "overlay:base.img"
            most = 4
            """)
        _ = try server.run(
            script: Self.prelude + """
                import socket as sockets, struct, threading
                before = names()
                files = lambda: len(os.listdir(f'/proc/{others[0]}/fd'))
                steady = connect('steady')
                # A first one of each: what stays in memory for the next is there then.
                for name in ('own', 'job-0'): connect(name).shutdown()
                wait(lambda: names() == before)
                open_files = files()
                def ask(name, waits):
                    s = sockets.socket(sockets.AF_UNIX)
                    s.connect(socket)
                    data = struct.pack('>I', len(name)) + name.encode() + bytes(2)
                    s.sendall(struct.pack('>IQII', 1, 0x49484156454F5054, 7, len(data)) + data)
                    if waits: s.recv(18)
                    s.close()
                for number in range(100): ask(('own', f'job-{number}')[number % 2], number % 3 == 0)
                wait(lambda: names() == before)
                wait(lambda: files() == open_files)
                # A hundred at once, of which four get what they ask for; another client notices nothing.
                kept, refusals = [], []
                def flood(number):
                    try: kept.append(connect(f'few-{number}'))
                    except nbd.Error as error: refusals.append(error.errno)
                threads = [threading.Thread(target=flood, args=(number,)) for number in range(100)]
                for thread in threads: thread.start()
                while any(thread.is_alive() for thread in threads):
                    steady.pwrite(b's' * 512, 0)
                    assert steady.pread(512, 0) == b's' * 512
                assert len(kept) == 4 and len(refusals) == 96, (len(kept), refusals[:3])
                assert 'may be: 4' in why('few-x'), why('few-x')
                assert len(names()) == len(before) + 4
                """, ["\(server.server.processIdentifier)"])
    }

    /// Whoever may not open it has nothing made, and is not told which names there are.
    @Test func accessIsAskedFirst() throws {
        let server = try server(
            """
            [[template]]
            name = "vm-*"
            image = "overlay:base.img"
            access = [{ user = \(geteuid() + 1) }]
            [[template]]
            name = "own-*"
            image = "overlay:base.img"
            per-client = true
            access = [{ user = \(geteuid() + 1) }]
            """)
        _ = try server.run(
            script: Self.prelude + """
                before = names()
                for name in ('vm-1', 'own-1'):
                    assert 'may not open' in why(name), why(name)
                assert names() == before and listed() == []
                """, [])
    }

    /// New settings: what did not change goes on, what did goes with its exports, and comes with the new keys.
    @Test func newSettings() throws {
        let same = "[[template]]\nname = \"same-*\"\nimage = \"overlay:base.img\"\n"
        func other(_ more: String) -> String {
            "[[template]]\nname = \"vm-*\"\nimage = \"overlay:base.img\"\n\(more)\n"
        }
        let own = "[[export]]\nname = \"own\"\nimage = \"overlay:base.img\"\nper-client = true\n"
        let server = try server(same + other("") + own)
        _ = try server.run(
            script: Self.prelude + """
                s, v, o = connect('same-1'), connect('vm-1'), connect('own')
                s.pwrite(b'S' * 512, 0)
                with open(others[0], 'w') as file: file.write(others[1])
                told = works('reload')
                assert "changed 'vm-*'; removed 'own'" in told, told
                assert is_cut_off(v) and is_cut_off(o) and s.pread(512, 0)[:1] == b'S'
                wait(lambda: names() == ['same-*', 'same-1', 'vm-*'])
                assert connect('vm-1').pread(512, 0)[:4] == b'base' and 'no export named' in why('own')
                assert [e['description'] for e in json.loads(works('--json', 'list'))['exports'] if e['name'] == 'vm-1'] == ['new']
                with open(others[0], 'w') as file: file.write(others[2])
                works('reload')
                assert is_cut_off(s) and names() == ['a'], names()
                """, [file, same + other("description = \"new\""), "[[export]]\nname = \"a\"\nimage = \"memory:1M\""])
    }

    /// An initiator that logs in to a target of such a name has it made, by the same rules.
    @Test func initiatorsAskByTheTargetsName() throws {
        try FileManager.default.createDirectory(
            atPath: folder.path + "/reservations", withIntermediateDirectories: false)
        let server = try server(
            """
            listen = "iscsi:127.0.0.1:0"
            reservations = "reservations"
            [[export]]
            name = "plain"
            image = "memory:1M"
            [[export]]
            name = "own"
            image = "memory:1M"
            per-client = true
            [[template]]
            name = "vm-*"
            image = "overlay:base.img"
            most = 2
            [[template]]
            name = "job-*"
            image = "overlay:base.img"
            keep-seconds = 0
            [[template]]
            name = "others-*"
            image = "overlay:base.img"
            access = [{ initiator = "iqn.2026-11.org.example:somebody" }]
            """)
        let portal = try #require(server.server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") })
            .split(separator: "/").prefix(2).joined(separator: "//")
        _ = try server.run(
            script: Self.prelude + """
                portal = others[0]
                def tool(*words):
                    return subprocess.run(words, capture_output=True, text=True)
                def login(name):
                    return tool('iscsi-readcapacity16', f'{portal}/iqn.2026-11.org.spindle:{name}/0')
                def found(): return tool('iscsi-ls', portal).stdout
                before = names()
                assert ':plain' in found() and 'vm-' not in found() and ':own' not in found(), found()
                for _ in range(2):
                    done = login('vm-a')
                    assert done.returncode == 0 and '16777216' in done.stdout, done
                assert names() == sorted(before + ['vm-a']) and ':vm-a' in found() and 'job' not in found()
                # The same disk, over both.
                a = connect('vm-a')
                a.pwrite(b'A' * 512, 0)
                read = tool('qemu-img', 'dd', '-f', 'raw', '-O', 'raw', 'bs=512', 'count=1',
                            f'if={portal}/iqn.2026-11.org.spindle:vm-a/0', f'of={others[1]}')
                assert read.returncode == 0, read
                assert open(others[1], 'rb').read() == b'A' * 512
                assert login('VM-B').returncode == 0 and 'vm-b' in names()
                for name in ('vm-c', 'vm-', 'vm-a_b', 'vm-a:b', 'own', 'own-1', 'others-1'):
                    assert login(name).returncode != 0, name
                assert login('job-1').returncode == 0
                wait(lambda: 'job-1' not in names())
                assert names() == sorted(before + ['vm-a', 'vm-b'])
                """, [portal, folder.path + "/read"])
        // What is gone leaves no file of its reservations for the next one of its name.
        let kept = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/reservations")
        #expect(kept.count == 1, "\(kept)")
    }
}
