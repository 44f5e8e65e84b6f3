// qemu-img: what it sees of an export, and images converted in and out.

import Foundation
import Support
import Testing

@Suite struct QemuImgTests {
    private static let sizeBytes = 32 << 20

    @Test(arguments: Transport.allCases, [["memory:64M"], ["--read-only", "memory:64M"], ["memory:1s"], ["null:8P"]])
    func infoHasTheSize(transport: Transport, arguments: [String]) throws {
        struct Information: Decodable, Equatable {
            let format: String
            let size: Int
            enum CodingKeys: String, CodingKey {
                case format
                case size = "virtual-size"
            }
        }
        let sizes = ["memory:64M": 64 << 20, "memory:1s": 512, "null:8P": 8 << 50]
        let image = try #require(arguments.last)
        let folder = try TemporaryFolder()
        try serving(Transport.listen + arguments, in: folder) { server in
            let uri = try server.uri(of: String(image.prefix { $0 != ":" }), over: transport)
            let text = try run("qemu-img", ["info", "--output=json", uri], in: folder)
            let information = try JSONDecoder().decode(Information.self, from: Data(text.utf8))
            #expect(information == Information(format: "raw", size: try #require(sizes[image])))
        }
    }

    /// An image with data at both ends of a hole.
    private func sparseImage(_ name: String, in folder: TemporaryFolder) throws -> String {
        let file = try folder.randomFile(name, sizeBytes: 1 << 20)
        try run("truncate", ["--size=\(Self.sizeBytes - (1 << 20))", file], in: folder)
        try run(
            "dd", ["if=/dev/urandom", "of=\(file)", "bs=1M", "count=1", "oflag=append", "conv=notrunc"], in: folder)
        return file
    }

    private func compare(_ first: String, _ second: String, format: String = "raw", in folder: TemporaryFolder) throws {
        let text = try run("qemu-img", ["compare", "-f", format, "-F", "raw", first, second], in: folder)
        #expect(text == "Images are identical.\n")
    }

    @Test(arguments: ["writeback", "writethrough", "none", "directsync", "unsafe"])
    func rawImagesInAndOut(mode: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let source = try sparseImage("source", in: folder)
        let image = try folder.randomFile("disk.img", sizeBytes: Self.sizeBytes)
        try serving(["--cache", mode, image], in: folder) { server in
            try run("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source, server.uri], in: folder)
            try compare(source, server.uri, in: folder)
            try run("qemu-img", ["convert", "-O", "raw", server.uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, image)
        try folder.expectSame(source, folder.path + "/copy")
        // What was random data before has become a hole.
        #expect(try allocatedBytes(image) < 8 << 20)
        #expect(try allocatedBytes(folder.path + "/copy") < 8 << 20)
    }

    /// qemu-img "creates" an NBD image by using it, and can be told that it is zero already.
    @Test(arguments: Transport.allCases, [[], ["-n", "--target-is-zero"], ["-n", "-W", "-m", "16"], ["-S", "0"]])
    func rawImagesIntoMemory(transport: Transport, options: [String]) throws {
        let folder = try TemporaryFolder()
        let source = try sparseImage("source", in: folder)
        try serving(Transport.listen + ["memory:32M"], in: folder) { server in
            let uri = try server.uri(of: "memory", over: transport)
            try run("qemu-img", ["convert"] + options + ["-f", "raw", "-O", "raw", source, uri], in: folder)
            try compare(source, uri, in: folder)
        }
    }

    @Test func qcow2ImagesInAndOut() throws {
        let folder = try TemporaryFolder()
        let source = try sparseImage("source", in: folder)
        let packed = folder.path + "/packed.qcow2"
        try run("qemu-img", ["convert", "-c", "-f", "raw", "-O", "qcow2", source, packed], in: folder)
        try serving(["memory:32M"], in: folder) { server in
            try run("qemu-img", ["convert", "-n", "-f", "qcow2", "-O", "raw", packed, server.uri], in: folder)
            try compare(packed, server.uri, format: "qcow2", in: folder)
            let unpacked = folder.path + "/unpacked.qcow2"
            try run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", server.uri, unpacked], in: folder)
            try compare(unpacked, source, format: "qcow2", in: folder)
        }
    }

    /// The drive holds a qcow2 image, as a disk may hold anything.
    @Test func qcow2OnTheDriveItself() throws {
        let folder = try TemporaryFolder()
        let source = try sparseImage("source", in: folder)
        try serving(["memory:64M"], in: folder) { server in
            try run("qemu-img", ["create", "-f", "qcow2", server.uri, "\(Self.sizeBytes)"], in: folder)
            try run("qemu-img", ["convert", "-n", "-f", "raw", "-O", "qcow2", source, server.uri], in: folder)
            try run("qemu-img", ["check", "-f", "qcow2", server.uri], in: folder)
            try compare(server.uri, source, format: "qcow2", in: folder)
        }
    }

    @Test func compareFindsOneByte() throws {
        let folder = try TemporaryFolder()
        let source = try sparseImage("source", in: folder)
        try serving(["memory:32M"], in: folder) { server in
            try run("nbdcopy", [source, server.uri], in: folder)
            try compare(source, server.uri, in: folder)
            try run("qemu-io", ["-f", "raw", "-c", "write -P 1 12345678 1", server.uri], in: folder)
            let result = try Program.tool("qemu-img").run(
                ["compare", "-f", "raw", "-F", "raw", source, server.uri], in: folder)
            #expect(result.status == 1)
            #expect(result.text.hasPrefix("Content mismatch at offset 12345"), "\(result.text)")
        }
    }

    /// qemu-img reads a file of an odd size as the drive that it becomes.
    @Test(arguments: ["writeback", "none"])
    func oddSizes(mode: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let source = try folder.randomFile("source", sizeBytes: 1_000_001)
        let image = try folder.file("odd.img", sizeBytes: 1_000_001)
        try serving(["--cache", mode, image], in: folder) { server in
            try run("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source, server.uri], in: folder)
            try compare(source, server.uri, in: folder)
        }
        let size = try #require(try FileManager.default.attributesOfItem(atPath: image)[.size] as? Int)
        // Writing to the last sector has made it a whole one.
        #expect(size == 1_000_448)
        try compare(source, image, in: folder)
    }
}
