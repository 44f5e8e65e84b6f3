// A drive that cannot grow: its image is what it was, and its clients are served as before.

import ATA
import Backends
import Foundation
import Support
import Testing

@testable import Loop
@testable import LoopSupport
@testable import Server

@Suite struct GrowFailureTests {
    private let folder: TemporaryFolder
    private let loops: RunningLoops
    private static let size: UInt64 = 1 << 20

    init() throws {
        folder = try TemporaryFolder()
        loops = try RunningLoops(try Backend(memoryOfSize: Self.size, readOnly: false), loops: 2, in: folder)
        for name in ["a", "read-only"] {
            let path = try folder.file(name, sizeBytes: Self.size, beginning: Array(name.utf8))
            try loops.control.add(
                ServedExport(
                    name: name, properties: DriveProperties(), controller: .piix3IDE,
                    backend: try Backend(path: path, cache: .writeback, readOnly: name == "read-only")))
        }
        try loops.control.add(
            ServedExport(
                name: "null", properties: DriveProperties(), controller: .piix3IDE,
                backend: Backend(nullOfSize: Self.size, readOnly: false)))
    }

    /// What a file is like for others: its size, and when it was changed.
    private struct Facts: Equatable {
        var size: off_t
        var blocks: blkcnt_t
        var modified: [Int]

        init(_ path: String) {
            var status = stat()
            stat(path, &status)
            size = status.st_size
            blocks = status.st_blocks
            modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
        }
    }

    private func expectNothingHappens(
        _ name: String, _ sizeBytes: UInt64?, _ words: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let path = folder.path + "/" + name
        let before = Facts(path)
        expectError(words, sourceLocation: sourceLocation) { _ = try loops.control.grow(name, toBytes: sizeBytes) }
        #expect(Facts(path) == before, "the file was touched", sourceLocation: sourceLocation)
        let status = loops.control.exports().first { $0.name == name }
        #expect(status?.sizeBytes == Self.size, sourceLocation: sourceLocation)
        let client = try Client(try RawConnection(unix: loops.path), export: name)
        #expect(client.sizeBytes == Self.size, sourceLocation: sourceLocation)
        #expect(try client.read(at: Self.size - 512, 512).count == 512, sourceLocation: sourceLocation)
        try client.request(.read, at: Self.size, 512)
        #expect(try client.connection.receive(16)[7] == 22, sourceLocation: sourceLocation)
    }

    private func cannot(_ name: String, _ reason: String) -> String {
        "the export '\(name)' cannot be made larger: \(reason)"
    }

    private func sectors(_ what: String) -> String {
        "it has 2048 sectors, and \(what) cannot be its size: a drive never shrinks, and has at most 281474976710656"
    }

    @Test func whatIsRefusedLeavesTheFile() throws {
        let before = try Client(try RawConnection(unix: loops.path), export: "a")
        for size: UInt64 in [0, 1, 1 << 19, (1 << 57) + 1, 1 << 63, .max] {
            let count = size / 512 + (size % 512 == 0 ? 0 : 1)
            try expectNothingHappens("a", size, cannot("a", sectors("the \(count) asked for")))
        }
        try expectNothingHappens(
            "read-only", 1 << 21, cannot("read-only", "the image cannot be made larger: it is served read-only"))
        try expectNothingHappens(
            "disk", 1 << 21, cannot("disk", "the image cannot be made larger: memory has a fixed size"))
        expectError("there is no export named 'none'") { _ = try loops.control.grow("none", toBytes: 1 << 21) }
        #expect(try before.read(at: 0, 1) == Array("a".utf8))
        #expect(try loops.stop())
    }

    /// Somebody has made the image shorter than its drive: what the server is told then must not touch it further.
    @Test func aShrunkImageIsLeftAsItIs() throws {
        #expect(truncate(folder.path + "/a", 1 << 19) == 0)
        let before = Facts(folder.path + "/a")
        let sizes: [(UInt64?, String)] = [
            (nil, "the 1024 of its image"), (1 << 19, "the 1024 asked for"), ((1 << 19) + 512, "the 1025 asked for"),
            (1 << 18, "the 512 asked for"),
        ]
        for (size, what) in sizes {
            expectError(cannot("a", sectors(what))) { _ = try loops.control.grow("a", toBytes: size) }
            #expect(Facts(folder.path + "/a") == before, "\(size ?? 0)")
            #expect(loops.control.exports().first { $0.name == "a" }?.sizeBytes == Self.size)
        }
        // To its old size and beyond is what an operator may want.
        #expect(try loops.control.grow("a", toBytes: 1 << 21).sizeBytes == 1 << 21)
        #expect(Facts(folder.path + "/a").size == 1 << 21)
        #expect(try loops.stop())
    }

    /// A size that it has already is none, and a drive may have more sectors than its image has whole ones.
    @Test func sizesThatAreNoMistake() throws {
        let before = Facts(folder.path + "/a")
        #expect(try loops.control.grow("a", toBytes: Self.size).sizeBytes == Self.size)
        #expect(try loops.control.grow("a", toBytes: nil).sizeBytes == Self.size)
        #expect(try loops.control.grow("read-only", toBytes: nil).sizeBytes == Self.size)
        #expect(try loops.control.grow("disk", toBytes: nil).sizeBytes == Self.size)
        #expect(try loops.control.grow("null", toBytes: 1 << 30).sizeBytes == 1 << 30)
        #expect(Facts(folder.path + "/a") == before)
        // Old connections on both loops are served to the new end.
        let clients = try (0..<2).map { _ in try Client(try RawConnection(unix: loops.path), export: "a") }
        #expect(try loops.control.grow("a", toBytes: Self.size + 100).sizeBytes == Self.size + 512)
        // Each loop has heard of it.
        _ = try loops.control.connections()
        for client in clients {
            #expect(try client.read(at: Self.size, 512) == [UInt8](repeating: 0, count: 512))
            try client.request(.read, at: Self.size + 512, 512)
            #expect(try client.connection.receive(16)[7] == 22)
        }
        #expect(try loops.stop())
    }
}
