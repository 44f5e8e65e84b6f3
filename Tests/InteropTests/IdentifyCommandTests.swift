// The contract of `spindle identify`: images, options, exit statuses, messages.

import Foundation
import Support
import Testing

@Suite struct IdentifyCommandTests {
    private func identify(_ arguments: String...) throws -> ProgramResult {
        try Program.spindle.run(["identify"] + arguments, in: TemporaryFolder())
    }

    /// The line of the summary that begins with a name, without the name.
    private func fact(_ name: String, _ arguments: String..., in folder: TemporaryFolder? = nil) throws -> String? {
        let result = try Program.spindle.run(["identify"] + arguments, in: folder ?? TemporaryFolder())
        #expect(result.status == 0, "\(result.errors)")
        return result.text.split(separator: "\n").first { $0.hasPrefix(name + ":") }.map {
            $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
        }
    }

    @Test func theDefaultsAreAQEMUHardDisk() throws {
        #expect(try fact("Model", "memory:3G") == "QEMU HARDDISK")
        #expect(try fact("Serial number", "memory:3G") == "QM00001")
        #expect(try fact("Write cache", "memory:3G") == "on")
        #expect(try fact("Controller", "memory:3G") == "piix3-ide")
    }

    /// As `serve` does it: such a drive is none.
    @Test func nothingIsNoDrive() throws {
        let folder = try TemporaryFolder()
        let file = try folder.file("empty", sizeBytes: 0)
        for (arguments, image) in [
            ([file], file), (["null:0"], "null:0"), (["memory:0"], "memory:0"), (["--device", "ide-cd", file], file),
        ] {
            let result = try Program.spindle.run(["identify"] + arguments, in: folder)
            #expect(result.status == 1 && result.output.isEmpty, "\(result.text)")
            #expect(
                result.errors.contains("image '\(image)' is empty; a drive has at least one sector"), "\(result.errors)"
            )
        }
        #expect(try identify("--device", "ide-cd", "null:0").status == 0)
    }

    @Test(arguments: [(1, 1), (512, 1), (1_000_001, 1954), (3_221_225_472, 6_291_456)])
    func aFileHasItsSizeRoundedUp(bytes: UInt64, sectors: UInt64) throws {
        let folder = try TemporaryFolder()
        let file = try folder.file("image", sizeBytes: bytes)
        let size = sectors == 1 ? "1 sector " : "\(sectors) sectors "
        #expect(try fact("Size", file, in: folder)?.hasPrefix(size) == true)
    }

    @Test func aPartitionTableImpliesTheGeometry() throws {
        var sector = [UInt8](repeating: 0, count: 512)
        sector.replaceSubrange(446..<462, with: [0, 1, 1, 0, 0x83, 9, 32, 0, 32, 0, 0, 0, 0, 0, 16, 0])
        sector.replaceSubrange(510..<512, with: [0x55, 0xAA])
        let folder = try TemporaryFolder()
        let file = try folder.file("image", sizeBytes: 1 << 30, beginning: sector)
        #expect(try fact("Geometry", file, in: folder) == "6553 cylinders, 10 heads, 32 sectors a track")
        let given = "ide-hd,cyls=5,heads=4,secs=3"
        let geometry = try fact("Geometry", "--device", given, file, in: folder)
        #expect(geometry == "5 cylinders, 4 heads, 3 sectors a track")
    }

    @Test(arguments: [
        ("writeback", true), ("none", true), ("unsafe", true), ("writethrough", false), ("directsync", false),
    ])
    func theCacheModeDecidesOnTheWriteCache(mode: String, on: Bool) throws {
        let automatic = try fact("Write cache", "--cache", mode, "memory:1M")
        #expect((automatic == "on") == on)
        for (value, expected) in [("on", true), ("off", false), ("auto", on)] {
            let given = try fact("Write cache", "--cache", mode, "--device", "ide-hd,write-cache=\(value)", "memory:1M")
            #expect((given == "on") == expected, "write-cache=\(value)")
        }
    }

    @Test func binaryIs512Bytes() throws {
        #expect(try identify("--format", "binary", "memory:3G").output.count == 512)
    }

    @Test(arguments: [
        (["--format", "colour", "memory:1M"], "'colour' is no format: it is one of summary, kernel"),
        (["--format", "scsi:colour", "memory:1M"], "'colour' is no page of SCSI data: it is one of inquiry"),
        (["--controller", "scsi", "memory:1M"], "'scsi' is no controller: it is one of piix3-ide, ich9-ahci"),
        (["--cache", "fast", "memory:1M"], "'fast' is no cache mode: it is one of writeback"),
        (["--device", "ide-hd,serail=1", "memory:1M"], "ide-hd has no property 'serail': did you mean 'serial'?"),
        (["--device", "ide-hd,cyls=1,heads=17,secs=1", "memory:1M"], "heads=17: heads must be between 1 and 16"),
        (
            ["--device", "ide-cf", "memory:1M"],
            "unknown device 'ide-cf': there are ide-hd, ide-cd, spindle-cd, spindle-hd and spindle-ssd"
        ),
        (["--device", "ide-cd,heads=2", "memory:1M"], "ide-cd has no property 'heads': it has serial, model, ver"),
        (["--device", "ide-hd,bus=ide.3", "memory:1M"], "bus=ide.3: piix3-ide has the channels ide.0 and ide.1"),
        (["memory:lots"], "'memory:lots' has no size: write it as memory:64M"),
        ([], "Missing expected argument '<image>'"),
        (["memory:1M", "memory:2M"], "Unexpected argument 'memory:2M'"),
        (["--xyzzyplugh", "memory:1M"], "there is no option '--xyzzyplugh'"),
    ])
    func badUsageIs64(arguments: [String], message: String) throws {
        let result = try Program.spindle.run(["identify"] + arguments, in: TemporaryFolder())
        #expect(result.status == 64)
        #expect(result.output.isEmpty)
        #expect(result.errors.contains(message), "\(result.errors)")
    }

    @Test(arguments: [
        (["/nonexistent/disk.img"], "cannot open image '/nonexistent/disk.img': No such file or directory"),
        (
            ["/"],
            "image '/' is a directory; a regular file or a block device is needed; dir:/ is a drive for each file in it"
        ),
        (["/dev/null"], "image '/dev/null' is a special file"),
        (["--format", "scsi:vpd-b9", "memory:1M"], "the drive has no page vpd-b9: CHECK CONDITION 5/24/00"),
    ])
    func failureIs1(arguments: [String], message: String) throws {
        let result = try Program.spindle.run(["identify"] + arguments, in: TemporaryFolder())
        #expect(result.status == 1)
        #expect(result.output.isEmpty)
        #expect(result.errors.hasPrefix("Error: \(message)"), "\(result.errors)")
    }

    @Test func helpNamesEveryFormat() throws {
        let result = try identify("--help")
        #expect(result.status == 0)
        for name in ["summary", "kernel", "words", "binary", "hdparm", "lshw", "json", "scsi:PAGE", "readcap16"] {
            #expect(result.text.contains(name), "\(name)")
        }
    }
}
