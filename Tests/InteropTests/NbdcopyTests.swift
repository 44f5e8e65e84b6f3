// nbdcopy brings images in and out again.

import Foundation
import Support
import Testing

@Suite struct NbdcopyTests {
    private static let sizeBytes = 64 << 20

    @Test(arguments: Transport.allCases)
    func memoryKeepsWhatIsCopiedIn(transport: Transport) throws {
        let folder = try TemporaryFolder()
        let source = try folder.randomFile("source", sizeBytes: Self.sizeBytes)
        try serving(Transport.listen + ["memory:64M"], in: folder) { server in
            let uri = try server.uri(of: "memory", over: transport)
            try run("nbdcopy", [source, uri], in: folder)
            try run("nbdcopy", [uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, folder.path + "/copy")
    }

    @Test(arguments: ["writeback", "writethrough", "none", "directsync", "unsafe"], Transport.allCases)
    func filesKeepWhatIsCopiedIn(mode: String, transport: Transport) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let source = try folder.randomFile("source", sizeBytes: Self.sizeBytes)
        let image = try folder.file("disk.img", sizeBytes: UInt64(Self.sizeBytes))
        try serving(Transport.listen + ["--cache", mode, image], in: folder) { server in
            let uri = try server.uri(of: "disk", over: transport)
            // Where there is no write cache there is no FLUSH.
            let flush = ["writethrough", "directsync"].contains(mode) ? [] : ["--flush"]
            try run("nbdcopy", flush + [source, uri], in: folder)
            // The page cache of others sees it while it is served.
            try folder.expectSame(source, image)
            try run("nbdcopy", [uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, folder.path + "/copy")
        try folder.expectSame(source, image)
    }

    /// Four connections on two loops, large and small requests.
    @Test(arguments: [256 << 10, 32 << 20, 4096])
    func manyConnectionsCopyTogether(requestBytes: Int) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let source = try folder.randomFile("source", sizeBytes: Self.sizeBytes)
        let image = try folder.file("disk.img", sizeBytes: UInt64(Self.sizeBytes))
        try serving(["--threads", "2", image], in: folder) { server in
            let options = ["--connections=4", "--requests=32", "--request-size=\(requestBytes)"]
            try run("nbdcopy", options + [source, server.uri], in: folder)
            try run("nbdcopy", options + [server.uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, folder.path + "/copy")
        try folder.expectSame(source, image)
    }

    /// From one export to another of the same server.
    @Test func exportsAreCopiedToEachOther() throws {
        let folder = try TemporaryFolder()
        let source = try folder.randomFile("source.img", sizeBytes: Self.sizeBytes)
        let target = try folder.file("target.img", sizeBytes: UInt64(Self.sizeBytes))
        try serving([source, target], in: folder) { server in
            try run("nbdcopy", [server.uri(of: "source"), server.uri(of: "target")], in: folder)
        }
        try folder.expectSame(source, target)
    }

    @Test func nullIsZeroesWhateverIsWritten() throws {
        let folder = try TemporaryFolder()
        let source = try folder.randomFile("source", sizeBytes: 8 << 20)
        let zeroes = try folder.file("zeroes", sizeBytes: 8 << 20)
        try serving(["null:8M"], in: folder) { server in
            try run("nbdcopy", [source, server.uri], in: folder)
            try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(zeroes, folder.path + "/copy")
    }

    /// A file of an odd size is a drive of whole sectors: the tail reads as zeroes, and a write there makes the file
    /// whole.
    @Test(arguments: ["writeback", "none", "directsync"])
    func oddSizesAreWholeSectors(mode: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.randomFile("odd.img", sizeBytes: 1_000_001)
        let before = try folder.bytes("odd.img")
        let source = try folder.randomFile("source", sizeBytes: 1_000_448)
        try serving(["--cache", mode, image], in: folder) { server in
            try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
            #expect(try folder.bytes("copy") == before + [UInt8](repeating: 0, count: 447))
            // Reading changes nothing.
            #expect(try folder.bytes("odd.img") == before)
            try run("nbdcopy", [source, server.uri], in: folder)
            try run("nbdcopy", [server.uri, folder.path + "/second"], in: folder)
        }
        try folder.expectSame(source, folder.path + "/second")
        try folder.expectSame(source, image)
    }

    /// What is a hole in the source becomes one in the image, what was data there before included.
    @Test func holesStayHoles() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let source = try folder.file("source", sizeBytes: UInt64(Self.sizeBytes), beginning: Array("data".utf8))
        let image = try folder.randomFile("disk.img", sizeBytes: Self.sizeBytes)
        try serving([image], in: folder) { server in
            try run("nbdcopy", [source, server.uri], in: folder)
            try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, image)
        try folder.expectSame(source, folder.path + "/copy")
        let allocated = (image: try allocatedBytes(image), copy: try allocatedBytes(folder.path + "/copy"))
        #expect(allocated.image <= 1 << 20)
        #expect(allocated.copy <= 1 << 20)
    }

    /// The same without holes: the space is kept.
    @Test func allocatedZeroesKeepTheirSpace() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let source = try folder.file("source", sizeBytes: UInt64(Self.sizeBytes), beginning: Array("data".utf8))
        let image = try folder.file("disk.img", sizeBytes: UInt64(Self.sizeBytes))
        try serving([image], in: folder) { server in
            try run("nbdcopy", ["--allocated", source, server.uri], in: folder)
        }
        try folder.expectSame(source, image)
        #expect(try allocatedBytes(image) >= Self.sizeBytes)
    }

    /// A larger image in and out, through qemu-img's eyes as well; Tests/Interop/soak.sh does it with 1 GiB.
    @Test func qemuImgFindsAnImageIdenticalAfterTheWayInAndOut() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let size = 256 << 20
        let source = try folder.randomFile("source", sizeBytes: size)
        let image = try folder.file("disk.img", sizeBytes: UInt64(size))
        try serving([image], in: folder) { server in
            try run("nbdcopy", [source, server.uri], in: folder)
            let compared = try run("qemu-img", ["compare", "-f", "raw", "-F", "raw", source, server.uri], in: folder)
            #expect(compared == "Images are identical.\n")
            try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
        }
        let compared = try run(
            "qemu-img", ["compare", "-f", "raw", "-F", "raw", source, folder.path + "/copy"], in: folder)
        #expect(compared == "Images are identical.\n")
    }
}
