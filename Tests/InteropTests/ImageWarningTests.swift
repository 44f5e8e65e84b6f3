// Images that are probably not what was meant: of another format, or in use by the machine itself.

import Foundation
import Support
import Testing

@Suite struct ImageWarningTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// What `serve`, `check` and `identify` say of an image.
    private func remarks(
        _ image: String, _ options: [String] = []
    ) throws -> (serve: String, check: String, identify: String) {
        var log = ""
        try serving(options + ["disk=\(image)"], in: folder) { log = $0.log }
        let file = folder.path + "/spindle.toml"
        let readOnly = options.contains("--read-only")
        try Data("[[export]]\nname = \"disk\"\nimage = \"\(image)\"\nread-only = \(readOnly)\n".utf8)
            .write(to: URL(fileURLWithPath: file))
        let check = try Program.spindle.run(["check", file], in: folder)
        let identify = try Program.spindle.run(["identify", image], in: folder)
        #expect(check.status == 0 && identify.status == 0, "\(check.errors)\(identify.errors)")
        return (log, check.errors, identify.errors)
    }

    @Test(arguments: [
        ("qcow2", "a qcow2 image"), ("vmdk", "a VMDK image"), ("vdi", "a VDI image"), ("vhdx", "a VHDX image"),
        ("vpc", "a VHD image"), ("qed", "a QED image"), ("parallels", "a Parallels image"), ("gzip", "a gzip file"),
        ("xz", "an xz file"),
    ])
    func otherFormatsAreSaid(format: String, words: String) throws {
        let image = folder.path + "/disk.img"
        if format == "gzip" || format == "xz" {
            let raw = try folder.randomFile("raw", sizeBytes: 4096)
            try run("sh", ["-c", "\(format) -c '\(raw)' > '\(image)'"], in: folder)
        } else {
            try run("qemu-img", ["create", "-f", format, image, "1M"], in: folder)
        }
        let remarks = try remarks(image)
        let reason = "'\(image)' begins like \(words); it is served as the raw file"
        for said in [remarks.serve, remarks.check, remarks.identify] {
            #expect(said.components(separatedBy: reason).count == 2, "\(said)")
        }
        #expect(remarks.check.contains("spindle.toml:3: export 'disk'.image: warning: "), "\(remarks.check)")
    }

    /// What clients write to these is in memory.
    @Test func moreThanTheMachineHas() throws {
        let image = try folder.file("large.img", sizeBytes: 8 << 40)
        let words = "export 'disk' keeps what is written in memory, 8388608 MiB at most, and this machine has "
        for name in ["memory:8T", "overlay:" + image] {
            let remarks = try remarks(name)
            #expect(remarks.serve.contains(words) && remarks.check.contains(words), "\(remarks)")
        }
        #expect(try !remarks("memory:8T", ["--read-only"]).serve.contains(words))
        #expect(try !remarks("memory:1M").serve.contains("in memory"))
        #expect(try !remarks(image).serve.contains("in memory"))
        #expect(try !remarks("null:16T").serve.contains("in memory"))
    }

    @Test func aRawImageIsNothingToSpeakOf() throws {
        let remarks = try remarks(try folder.file("disk.img", sizeBytes: 1 << 20))
        #expect(!remarks.serve.contains("warning") && remarks.check.isEmpty && remarks.identify.isEmpty, "\(remarks)")
    }

    @Test(.enabled(if: FullDisk.canBeMade, "mounting needs root"))
    func aMountedDeviceIsSaid() throws {
        let file = try folder.file("ext4", sizeBytes: 16 << 20)
        let mountPoint = folder.path + "/mnt"
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: false)
        try run("mkfs.ext4", ["-q", file], in: folder)
        let device = try run("losetup", ["--find", "--show", file], in: folder).trimmingCharacters(in: .newlines)
        defer { _ = try? run("losetup", ["--detach", device], in: folder) }
        let reason = "this machine uses the block device '\(device)' itself"
        #expect(try !remarks(device).serve.contains(reason))
        try run("mount", [device, mountPoint], in: folder)
        defer { umount2(mountPoint, Int32(MNT_DETACH)) }
        let remarks = try remarks(device)
        #expect(remarks.serve.contains(reason) && remarks.check.contains(reason), "\(remarks)")
        #expect(try !self.remarks(device, ["--read-only"]).serve.contains(reason))
    }
}
