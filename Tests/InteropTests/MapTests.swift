// The map of an image as clients see it, and that they copy no holes: nbdinfo, nbdcopy, nbdsh, qemu-img
// (NBD_CMD_BLOCK_STATUS).

import Foundation
import Support
import Testing

@Suite struct MapTests {
    /// One line of a map.
    struct Piece: Equatable {
        var start: UInt64
        var length: UInt64
        var isHole: Bool
    }

    private static let size: UInt64 = 5 << 30
    /// Where the image has 64 KiB of data each: near the beginning, at 4 GiB, at the end.
    private static let places: [UInt64] = [1 << 20, 1 << 32, (5 << 30) - 65536]
    private static let pieces = [
        Piece(start: 0, length: 1 << 20, isHole: true),
        Piece(start: 1 << 20, length: 65536, isHole: false),
        Piece(start: (1 << 20) + 65536, length: (1 << 32) - (1 << 20) - 65536, isHole: true),
        Piece(start: 1 << 32, length: 65536, isHole: false),
        Piece(start: (1 << 32) + 65536, length: (1 << 30) - 2 * 65536, isHole: true),
        Piece(start: (5 << 30) - 65536, length: 65536, isHole: false),
    ]

    /// Makes the image.
    private func sparseImage(in folder: TemporaryFolder) throws -> String {
        let path = try folder.file("sparse.img", sizeBytes: Self.size)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        for (number, place) in Self.places.enumerated() {
            try handle.seek(toOffset: place)
            try handle.write(contentsOf: Data(repeating: UInt8(number + 1), count: 65536))
        }
        try handle.close()
        return path
    }

    struct NbdinfoPiece: Decodable {
        let offset: UInt64
        let length: UInt64
        let type: Int
    }

    struct QemuPiece: Decodable {
        let start: UInt64
        let length: UInt64
        let zero: Bool
        let data: Bool
    }

    @Test func nbdinfoDrawsTheMap() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let server = try RunningServer([sparseImage(in: folder)], in: folder)
        let text = try run("nbdinfo", ["--map", "--json", server.uri], in: folder)
        let pieces = try JSONDecoder().decode([NbdinfoPiece].self, from: Data(text.utf8))
        #expect(pieces.map { Piece(start: $0.offset, length: $0.length, isHole: $0.type == 3) } == Self.pieces)
        #expect(pieces.allSatisfy { $0.type == 3 || $0.type == 0 })
        let contexts = try run("nbdinfo", ["--json", server.uri], in: folder)
        #expect(contexts.contains("\"base:allocation\""))
        #expect(try server.stop() == 0)
    }

    @Test func qemuImgDrawsTheMap() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let server = try RunningServer([sparseImage(in: folder)], in: folder)
        let text = try run("qemu-img", ["map", "-f", "raw", "--output=json", server.uri], in: folder)
        let pieces = try JSONDecoder().decode([QemuPiece].self, from: Data(text.utf8))
        #expect(pieces.map { Piece(start: $0.start, length: $0.length, isHole: $0.zero) } == Self.pieces)
        #expect(pieces.allSatisfy { $0.data != $0.zero })
        #expect(try server.stop() == 0)
    }

    @Test(arguments: ["nbdcopy", "qemu-img"])
    func copiesStaySparse(tool: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try sparseImage(in: folder)
        let target = try folder.file("target.img", sizeBytes: Self.size)
        let server = try RunningServer(["source=" + image, "target=" + target], in: folder)
        let uris = ["source", "target"].map { "nbd+unix:///\($0)?socket=\(server.socketPath)" }
        let copy = folder.path + "/copy.img"
        if tool == "nbdcopy" {
            try run("nbdcopy", [uris[0], copy], in: folder)
            try run("nbdcopy", uris, in: folder)
        } else {
            try run("qemu-img", ["convert", "-f", "raw", "-O", "raw", uris[0], copy], in: folder)
            try run("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw"] + uris, in: folder)
        }
        #expect(try server.stop() == 0)
        for path in [copy, target] {
            #expect(try allocatedBytes(path) < 4 << 20)
            for (number, place) in Self.places.enumerated() {
                let bytes = try folder.bytes((path as NSString).lastPathComponent, from: place, count: 65536)
                #expect(bytes == [UInt8](repeating: UInt8(number + 1), count: 65536))
            }
        }
    }

    /// Lengths around the last of 32 bits, and beyond 4 GiB.
    @Test func nbdshAsksNearTheEndOf32Bits() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let server = try RunningServer([sparseImage(in: folder)], in: folder)
        try nbdsh(
            [server.uri],
            """
            h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
            h.connect_uri(uri[0])
            def ask(length, offset, flags=0):
                all = []
                def extents(context, start, entries, error):
                    assert context == nbd.CONTEXT_BASE_ALLOCATION and start == offset
                    all.extend(zip(entries[0::2], entries[1::2]))
                h.block_status(length, offset, extents, flags)
                return all
            first, data = 1 << 20, 65536
            for length in 0xffffffff // 512 * 512, 0xfffff000, 1 << 31, first + data + 512:
                assert ask(length, 0) == [(first, 3), (data, 0), (length - first - data, 3)], length
                assert ask(length, 0, nbd.CMD_FLAG_REQ_ONE) == [(first, 3)], length
            assert ask(data, 1 << 32) == [(data, 0)]
            assert ask(1 << 30, 1 << 32) == [(data, 0), ((1 << 30) - 2 * data, 3), (data, 0)]
            assert ask(512, (5 << 30) - 512) == [(512, 0)]
            assert ask(1 << 31, 3 << 30) == [(1 << 30, 3), (data, 0), ((1 << 30) - 2 * data, 3), (data, 0)]
            h.set_strict_mode(0)
            for length, offset in (512, 5 << 30), (1024, (5 << 30) - 512), (0xfffffe00, 2 << 30), (0, 0):
                refused('EINVAL', lambda: ask(length, offset))
            """, in: folder)
        #expect(try server.stop() == 0)
    }
}
