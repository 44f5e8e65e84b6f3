// Two writers never have the same image, be it two of ours or QEMU and ours.

import Foundation
import Support
import Testing

@Suite struct ImageLockTests {
    /// Expects that a server refuses to begin because `image`, one of those in `arguments`, is in use.
    private func expectRefusal(
        of image: String, _ arguments: [String], in folder: TemporaryFolder, by export: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let result = try Program.spindle.run(
            ["serve", "--listen", "unix:\(folder.path)/second"] + arguments, in: folder)
        #expect(result.status == 1, "\(result.errors)", sourceLocation: sourceLocation)
        #expect(result.output.isEmpty, sourceLocation: sourceLocation)
        let holder = export.map { "export '\($0)' of this server" } ?? "another program (a second Spindle, or QEMU)"
        let advice = export == nil ? "stop the other one, or serve a copy" : "serve a copy, or both read-only"
        let message = "Error: image '\(image)' is in use by \(holder); two writers would destroy it: \(advice)\n"
        #expect(result.errors == message, sourceLocation: sourceLocation)
    }

    @Test func aSecondWriterIsRefused() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        try serving([image], in: folder) { _ in
            try expectRefusal(of: image, [image], in: folder)
            try expectRefusal(of: image, ["--read-only", image], in: folder)
            try expectRefusal(of: image, ["--cache", "none", "memory:1M", image], in: folder)
        }
        // The lock is gone with its holder, however that ended.
        let killed = try RunningServer([image], in: folder)
        try killed.stop(signal: SIGKILL)
        try serving([image], in: folder) { _ in }
    }

    @Test func oneServerDoesNotServeAnImageTwice() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        try expectRefusal(of: image, ["one=\(image)", "two=\(image)"], in: folder, by: "one")
        // The same file has another name.
        let other = folder.path + "/other.img"
        try FileManager.default.linkItem(atPath: image, toPath: other)
        try expectRefusal(of: other, ["memory:1M", "one=\(image)", "two=\(other)"], in: folder, by: "one")
    }

    @Test func readersShareAnImage() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        try serving(["--read-only", image], in: folder) { _ in
            try serving(["--read-only", "one=\(image)", "two=\(image)"], in: folder) { second in
                try expectSize(1 << 20, second.uri(of: "two"), in: folder)
            }
            try run("qemu-io", ["-r", "-f", "raw", "-c", "read -P 0 0 1M", image], in: folder)
            try expectRefusal(of: image, [image], in: folder)
            let writing = try runFailing("qemu-io", ["-f", "raw", "-c", "read 0 512", image], in: folder)
            #expect(writing.contains("Failed to get"), "\(writing)")
        }
    }

    /// QEMU sees that Spindle has the image.
    @Test func qemuIsKeptAway() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        try serving([image], in: folder) { _ in
            let writing = try runFailing("qemu-io", ["-f", "raw", "-c", "write 0 512", image], in: folder)
            #expect(writing.contains("Failed to get"), "\(writing)")
            #expect(writing.contains("Is another process using the image [\(image)]?"), "\(writing)")
            // A reader of a raw image does not mind writers, unless it probes the format.
            try run("qemu-io", ["-r", "-f", "raw", "-c", "read 0 512", image], in: folder)
            try run("qemu-img", ["info", "--force-share", image], in: folder)
        }
        try run("qemu-io", ["-f", "raw", "-c", "write 0 512", image], in: folder)
    }

    /// Spindle sees that QEMU has the image.
    @Test func qemuKeepsSpindleAway() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let socket = folder.path + "/qemu"
        let options = ["--persistent", "--socket=\(socket)", "--format=raw"]
        let qemu = try RunningProgram(Program.tool("qemu-nbd"), options + [image], in: folder)
        try qemu.wait("to listen") { (try? RawConnection(unix: socket)) != nil }
        try expectRefusal(of: image, [image], in: folder)
        try expectRefusal(of: image, ["--read-only", image], in: folder)
        try expectSize(1 << 20, "nbd+unix:///?socket=\(socket)", in: folder)
        // On SIGTERM it waits for clients that have begun a handshake.
        try qemu.stop(signal: SIGKILL)
        try serving([image], in: folder) { _ in }
    }
}
