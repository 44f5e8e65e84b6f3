// Overlays: a disk of its own for a test, and `spindle ctl revert`.

import Foundation
import Support
import Testing

@Suite struct RevertTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    private static let prelude = """
        import json
        def revert(name):
            return json.loads(works('--json', 'revert', name))['reverted-bytes']

        """

    /// Two overlays of one image, one of them with a volatile cache: each sees its own writes above the image, nothing
    /// reaches the image, and a revert forgets all, also what is in the cache.
    @Test func twoDisksOfOneImage() throws {
        let base = try folder.file(
            "base.img", sizeBytes: 16 << 20, beginning: [UInt8](repeating: 0x11, count: 16 << 20))
        let before = try Data(contentsOf: URL(fileURLWithPath: base))
        let server = try ControlledServer(
            ["--threads", "2", "--write-cache-model", "volatile:1M", "a=overlay:\(base)", "b=overlay:\(base)"],
            in: folder)
        let log = try server.run(
            script: Self.prelude + """
                a, b = connect('a'), connect('b')
                assert a.get_size() == 16 << 20 and not a.is_read_only()
                a.pwrite(b'A' * 1536, 512)
                a.flush()
                a.zero(4096, 8192)
                a.trim(4096, 65536)
                b.pwrite(b'B' * 4096, 0)
                assert a.pread(16384, 0) == b'\\x11' * 512 + b'A' * 1536 + b'\\x11' * 6144 + bytes(4096) + b'\\x11' * 4096
                assert a.pread(4096, 65536) == bytes(4096)
                assert b.pread(8192, 0) == b'B' * 4096 + b'\\x11' * 4096
                a.flush()
                assert revert('a') == 1536 + 8192
                assert is_cut_off(a) and b.pread(4096, 0) == b'B' * 4096
                a = connect('a')
                assert a.pread(131072, 0) == b'\\x11' * 131072
                # What no flush has asked for is forgotten, too.
                assert revert('b') == 0 and is_cut_off(b)
                assert connect('b').pread(4096, 0) == b'\\x11' * 4096
                # A power cut loses what was not flushed, and nothing else.
                a.pwrite(b'C' * 4096, 0)
                a.flush()
                a.pwrite(b'D' * 4096, 4096)
                works('power', 'a', 'cut', '--keep', 'none')
                assert connect('a').pread(8192, 0) == b'C' * 4096 + b'\\x11' * 4096
                works('power', 'a', 'off')
                refused("is cut already; 'spindle ctl power a on'", 'revert', 'a')
                works('power', 'a', 'on')
                assert revert('a') == 4096
                # What is left in the cache when the last client goes is the overlay's as well.
                h = connect('a')
                h.pwrite(b'E' * 4096, 4096)
                works('power', 'a', 'cut', '--keep', 'all')
                assert connect('a').pread(8192, 0) == b'\\x11' * 4096 + b'E' * 4096
                works('add', '--locking', 'off', f'plain={others[0]}', '--read-only')
                refused('is no overlay', 'revert', 'plain')
                refused('no export', 'revert', 'nothing')
                refused('an overlay is as large as the image below it', 'grow', 'a', '32M')
                """, [base])
        #expect(log.contains("overlay reverted"), "\(log)")
        let isUntouched = try Data(contentsOf: URL(fileURLWithPath: base)) == before
        #expect(isUntouched, "an overlay has written to its image")
    }

    /// A qcow2 image with a backing file, as cloud images are used: it is served as it is, and written above.
    @Test func aQcow2ImageBelow() throws {
        let raw = try folder.file("raw.img", sizeBytes: 4 << 20, beginning: [UInt8](repeating: 0x22, count: 2 << 20))
        let image = folder.path + "/cloud.qcow2"
        let qemu = try Program.tool("qemu-img")
        let made = try qemu.run(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, image, "4M"], in: folder)
        try #require(made.status == 0, "\(made.errors)")
        let written = try Program.tool("qemu-io").run(
            ["-f", "qcow2", "-c", "write -P 0x33 1M 64k", "-c", "write -z 128k 64k", image], in: folder)
        try #require(written.status == 0, "\(written.errors)")
        let before = try Data(contentsOf: URL(fileURLWithPath: image))
        let server = try ControlledServer(["cloud=overlay:\(image)"], in: folder)
        let same = try qemu.run(
            ["compare", "-U", "-f", "raw", "-F", "qcow2", server.uri("cloud"), image], in: folder)
        #expect(same.status == 0, "\(same.text) \(same.errors)")
        _ = try server.run(
            script: Self.prelude + """
                h = connect('cloud')
                h.pwrite(b'W' * 1024, (1 << 20) + 512)
                assert h.pread(2048, 1 << 20) == b'\\x33' * 512 + b'W' * 1024 + b'\\x33' * 512
                assert h.pread(1024, 131072) == bytes(1024) and h.pread(512, 0) == b'\\x22' * 512
                assert revert('cloud') == 1024
                assert connect('cloud').pread(2048, 1 << 20) == b'\\x33' * 2048
                """, [])
        let isUntouched = try Data(contentsOf: URL(fileURLWithPath: image)) == before
        #expect(isUntouched, "an overlay has written to its image")
    }

    /// The mistakes that can be made in naming one.
    @Test(arguments: [
        (["overlay:"], "'overlay:' has no image below it: write it as overlay:PATH"),
        (["overlay:nowhere.img"], "nowhere.img"),
        (["overlay:memory:1M"], "'overlay:memory:1M' is above no file: what is below an overlay is a file"),
        (["overlay:dir:x"], "a file of that name is overlay:./dir:x"),
        (["overlay:./memory:1M"], "cannot open image './memory:1M'"),
        (
            ["--changes", "c", "disk.img"],
            "'disk.img' is no overlay, and has no changes beside it: name it overlay:disk.img"
        ),
        (["--changes", "c", "memory:1M"], "has no changes beside it: only overlay:PATH has, or leave changes out"),
        (
            ["--read-only", "overlay:disk.img"],
            "this drive only reads: serve 'disk.img' itself, or leave read-only out"
        ),
        (
            ["--device", "ide-cd", "overlay:disk.img"],
            "'overlay:disk.img' is there to be written, and this drive only reads"
        ),
        (["a=overlay:/FOLDER/disk.img", "b=/FOLDER/disk.img"], "disk.img' is in use by export 'a' of this server"),
    ])
    func mistakes(arguments: [String], expected: String) throws {
        _ = try folder.file("disk.img", sizeBytes: 1 << 20)
        let named = arguments.map { $0.replacingOccurrences(of: "/FOLDER", with: folder.path) }
        let result = try Program.spindle.run(["serve", "--listen", "unix:s"] + named, in: folder)
        #expect(result.status != 0 && result.errors.contains(expected), "\(result.errors)")
    }
}
