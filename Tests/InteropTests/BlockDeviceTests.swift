// A block device as the image: a loop device, which only root can make.

import Foundation
import Support
import Testing

@Suite(.enabled(if: geteuid() == 0 && access("/dev/loop-control", R_OK | W_OK) == 0, "only root has loop devices"))
struct BlockDeviceTests {
    private static let sizeBytes = 16 << 20

    /// Gives `body` a loop device on a file of random bytes.
    private func withLoopDevice(
        _ options: [String] = [], _ body: (_ device: String, _ backing: String, TemporaryFolder) throws -> Void
    ) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let backing = try folder.randomFile("backing", sizeBytes: Self.sizeBytes)
        let device = try run("losetup", ["--find", "--show"] + options + [backing], in: folder)
            .trimmingCharacters(in: .newlines)
        do {
            try body(device, backing, folder)
        } catch {
            try run("losetup", ["--detach", device], in: folder)
            throw error
        }
        try run("losetup", ["--detach", device], in: folder)
    }

    @Test(arguments: ["writeback", "writethrough", "none", "directsync"])
    func imagesInAndOut(mode: String) throws {
        try withLoopDevice { device, backing, folder in
            let source = try folder.randomFile("source", sizeBytes: Self.sizeBytes)
            try serving(["--cache", mode, "disk=\(device)"], in: folder) { server in
                try expectSize(Self.sizeBytes, server.uri, in: folder)
                try run("nbdcopy", [server.uri, folder.path + "/before"], in: folder)
                try folder.expectSame(backing, folder.path + "/before")
                try run("nbdcopy", ["--connections=2", source, server.uri], in: folder)
                try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
            }
            // The end of the server has made it stable.
            try folder.expectSame(source, folder.path + "/copy")
            try folder.expectSame(source, backing)
        }
    }

    @Test(arguments: ["writeback", "none"])
    func unalignedZeroesAndDiscards(mode: String) throws {
        try withLoopDevice { device, _, folder in
            try serving(["--cache", mode, "disk=\(device)"], in: folder) { server in
                let commands = [
                    "write -P 1 0 2M", "write -P 2 1000 5000", "write -z 64k 64k", "write -z -u 200001 70001",
                    "read -P 1 0 1000", "read -P 2 1000 5000", "read -P 0 64k 64k", "read -P 0 200001 70001",
                    "read -P 1 270002 70000", "discard 1M 512k", "read -P 1 1536k 512k", "write -P 3 16776704 512",
                    "read -P 3 16776704 512", "flush",
                ]
                try run("qemu-io", ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [server.uri], in: folder)
            }
        }
    }

    /// Physical sectors of 4 KiB on the host: what is smaller goes another way than O_DIRECT.
    @Test func sectorsOf4KiBOnTheHost() throws {
        try withLoopDevice(["--sector-size=4096"]) { device, _, folder in
            try serving(["--cache", "none", "disk=\(device)"], in: folder) { server in
                let commands = [
                    "write -P 1 0 64k", "write -P 2 512 512", "read -P 1 0 512", "read -P 2 512 512", "flush",
                ]
                try run("qemu-io", ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [server.uri], in: folder)
            }
        }
    }

    @Test func discardsReachTheDevice() throws {
        try withLoopDevice { device, backing, folder in
            #expect(try allocatedBytes(backing) >= Self.sizeBytes)
            try serving(["disk=\(device)"], in: folder) { server in
                try nbdsh(
                    [server.uri],
                    """
                    h.connect_uri(uri[0])
                    h.trim(8 << 20, 0)
                    h.flush()
                    """, in: folder)
            }
            #expect(try allocatedBytes(backing) <= Self.sizeBytes / 2)
        }
    }

    @Test func aReadOnlyDeviceNeedsTheOption() throws {
        try withLoopDevice(["--read-only"]) { device, backing, folder in
            let result = try Program.spindle.run(["serve", "disk=\(device)"], in: folder)
            #expect(result.status == 1)
            #expect(result.errors == "Error: block device '\(device)' is read-only; serve it with --read-only\n")
            try serving(["--read-only", "disk=\(device)"], in: folder) { server in
                try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
            }
            try folder.expectSame(backing, folder.path + "/copy")
        }
    }

    @Test func aSecondWriterIsRefused() throws {
        try withLoopDevice { device, _, folder in
            try serving(["disk=\(device)"], in: folder) { _ in
                let arguments = ["serve", "--listen", "unix:\(folder.path)/second", "disk=\(device)"]
                let second = try Program.spindle.run(arguments, in: folder)
                #expect(second.status == 1)
                #expect(second.errors.hasPrefix("Error: image '\(device)' is in use"), "\(second.errors)")
                try runFailing("qemu-io", ["-f", "raw", "-c", "write 0 512", device], in: folder)
            }
        }
    }
}
