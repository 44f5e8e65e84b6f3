// New qcow2 images, laid out in one pass, as QEMU sees them: nothing is wrong, nothing leaks, and every byte is there.

import Blocks
import Foundation
import Seeded
import Support
import Testing

@Suite struct Qcow2CreationTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    private static let shapes = [
        Qcow2Creation.Shape.sectors, .init(clusterBits: 16, hasSubclusters: true),
        .init(clusterBits: 21, hasSubclusters: true), .init(clusterBits: 12, hasSubclusters: false),
        .init(clusterBits: 16, hasSubclusters: false), .init(clusterBits: 21, hasSubclusters: false),
    ]

    /// Writes the file; the data of each extent are those that `disk` has there.
    private func make(_ creation: Qcow2Creation, _ name: String, _ disk: [UInt8]) throws -> String {
        let path = try folder.file(name, sizeBytes: creation.fileBytes)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        var end: UInt64 = 0
        try creation.forEachTable { offset, bytes in
            #expect(offset >= end && offset + UInt64(bytes.count) <= creation.fileBytes)
            end = offset + UInt64(bytes.count)
            try handle.seek(toOffset: offset)
            try handle.write(contentsOf: Data(bytes))
        }
        for (extent, offset) in zip(creation.extents, creation.dataOffsets) where !extent.isZero {
            try handle.seek(toOffset: offset)
            try handle.write(contentsOf: Data(disk[Int(extent.bytes.lowerBound)..<Int(extent.bytes.upperBound)]))
        }
        try handle.close()
        return path
    }

    private func check(_ path: String) throws {
        // Leaks would be 3.
        try run("qemu-img", ["check", "-f", "qcow2", path], in: folder)
    }

    @Test(arguments: shapes, [false, true])
    func everyByteIsWhereQEMULooks(shape: Qcow2Creation.Shape, hasBacking: Bool) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let sizeBytes = 10 << 20 | 512 * Int.random(in: 0..<100, using: &generator)
        var disk = [UInt8](repeating: hasBacking ? 0xBA : 0, count: sizeBytes)
        try Data(disk).write(to: URL(fileURLWithPath: folder.path + "/base.img"))
        var extents: [Qcow2Creation.Extent] = []
        let unit = Int(shape.unitBytes)
        var place = unit * Int.random(in: 0..<3, using: &generator)
        while place < sizeBytes {
            let most = Bool.random(using: &generator) ? 8 : 1 << 20 / unit + 2
            let end = min(place + unit * Int.random(in: 1...most, using: &generator), sizeBytes)
            let isZero = Int.random(in: 0..<3, using: &generator) == 0
            extents.append(.init(UInt64(place)..<UInt64(end), isZero: isZero))
            let value = isZero ? 0 : UInt8.random(in: 1...255, using: &generator)
            disk.replaceSubrange(place..<end, with: repeatElement(value, count: end - place))
            place = end + unit * Int.random(in: 0...40, using: &generator) * Int.random(in: 0...1, using: &generator)
        }
        let creation = try Qcow2Creation(
            sizeBytes: UInt64(sizeBytes), shape: shape,
            backing: hasBacking ? .init(name: "base.img", isQcow2: false) : nil, extents: extents)
        let path = try make(creation, "disk.qcow2", disk)
        try check(path)
        try Data(disk).write(to: URL(fileURLWithPath: folder.path + "/model.img"))
        let same = try run(
            "qemu-img", ["compare", "-f", "qcow2", "-F", "raw", path, folder.path + "/model.img"], in: folder)
        #expect(same.contains("Images are identical"), "seed \(seed)")
        // It can be written to.
        try run("qemu-io", ["-f", "qcow2", "-c", "write -P 9 1000 300k", "-c", "discard 4M 1M", path], in: folder)
        try check(path)
    }

    /// Of nothing there are only tables, whose refcounts count themselves; a name is a file's, whatever is in it.
    @Test func anEmptyImageHasNothingButTables() throws {
        let name = "a:b.qcow2"
        _ = try make(Qcow2Creation(sizeBytes: 1 << 20, backing: nil), name, [])
        for (sizeBytes, shape) in [
            (UInt64(512), Qcow2Creation.Shape.sectors), (1 << 40, .init(clusterBits: 16, hasSubclusters: true)),
            (1 << 43, .sectors), (1 << 41, .init(clusterBits: 12, hasSubclusters: false)),
        ] {
            let creation = try Qcow2Creation(
                sizeBytes: sizeBytes, shape: shape, backing: .init(name: name, isQcow2: true))
            let path = try make(creation, "empty.qcow2", [])
            try check(path)
            let info = try run("qemu-img", ["info", "--output=json", path], in: folder)
            #expect(info.contains("\"virtual-size\": \(sizeBytes),"))
            #expect(info.contains("\"backing-filename\": \"./a:b.qcow2\""))
            try FileManager.default.removeItem(atPath: path)
        }
    }

    /// All of a large disk is zero: tables and no data.
    @Test func zeroesTakeNoPlace() throws {
        let sizeBytes: UInt64 = 1 << 28
        let creation = try Qcow2Creation(
            sizeBytes: sizeBytes, backing: .init(name: "base.img", isQcow2: false),
            extents: [.init(0..<sizeBytes, isZero: true)])
        _ = try folder.file("base.img", sizeBytes: sizeBytes, beginning: [UInt8](repeating: 1, count: 1 << 20))
        let path = try make(creation, "zero.qcow2", [])
        try check(path)
        let map = try run("qemu-img", ["map", "--output=json", path], in: folder)
        #expect(map.contains("\"length\": \(sizeBytes)") && map.contains("\"zero\": true, \"data\": false"), "\(map)")
    }

    @Test func whatCannotBeMadeIsAnError() {
        #expect(throws: Qcow2CreationError.backingName(byteCount: 1024)) {
            try Qcow2Creation(
                sizeBytes: 512, backing: .init(name: String(repeating: "x", count: 1024), isQcow2: false))
        }
        #expect(throws: Qcow2CreationError.backingName(byteCount: 0)) {
            try Qcow2Creation(sizeBytes: 512, backing: .init(name: "", isQcow2: false))
        }
        #expect(throws: Qcow2CreationError.tooLarge(1 << 47, most: 1 << 46)) {
            try Qcow2Creation(sizeBytes: 1 << 47, backing: nil)
        }
    }
}
