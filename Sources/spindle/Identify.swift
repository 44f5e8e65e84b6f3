// `spindle identify`: what a drive looks like, without serving it.

import ATA
import ArgumentParser
import Backends
import Blocks
import Glibc
import Logs
import Reports
import Settings

/// The subcommand.
struct Identify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the drive that an image would be.",
        discussion: """
            The drive is shown as Linux 6.1 and its tools see it, once the kernel has chosen a transfer mode. \
            Nothing is served and nothing is written.

            FORMAT is one of \(ReportFormat.names.joined(separator: ", ")).
            PAGE is one of \(ReportFormat.pageNames).
            """)

    @Option(
        help: "The IDE controller: piix3-ide (default) or ich9-ahci.", completion: .controllers,
        transform: parseController)
    var controller: Controller?

    @Option(
        help: ArgumentHelp("The drive, in the words of QEMU's -device option.", valueName: "spec"),
        completion: .devices, transform: DriveProperties.init(parsing:))
    var device = DriveProperties()

    @Option(
        help: ArgumentHelp("QEMU's cache mode: it decides on write-cache=auto, the default.", valueName: "mode"),
        completion: .cacheModes, transform: parseCacheMode)
    var cache = CacheMode.writeback

    @Option(
        help: ArgumentHelp(
            "The format of the image, raw or qcow2: without it, the ending .qcow2 says it.", valueName: "format"),
        completion: .imageFormats, transform: DiskFormat.init(parsing:))
    var imageFormat: DiskFormat?

    @Option(
        help: ArgumentHelp(
            "An internal snapshot of a qcow2 image, by its name or number: the disk as it was then.",
            valueName: "name"))
    var imageSnapshot: String?

    @Flag(help: "List the internal snapshots of a qcow2 image instead: number, time, bytes of the disk, name.")
    var snapshots = false

    @Option(help: "The report.", completion: .list(ReportFormat.names), transform: parseReportFormat)
    var format = ReportFormat.summary

    @Flag(help: "Show the drive before Linux has chosen a transfer mode.")
    var powerOn = false

    @Argument(
        help: ArgumentHelp(
            "A file or block device, overlay:PATH, memory:SIZE or null:SIZE; SIZE as in 64M, 3G, 6291456s."),
        completion: .file(), transform: ImageReference.init(parsing:))
    var image: ImageReference

    func validate() throws {
        do {
            if let controller { try device.kind.check(controller) }
            try device.checkPlace(on: placed)
        } catch {
            throw ValidationError("\(error)")
        }
        guard imageSnapshot == nil && !snapshots || diskFormat == .qcow2 else {
            throw ValidationError("'\(image.name)' is no qcow2 image, and has no internal snapshots")
        }
    }

    /// The controller that the drive is on.
    private var placed: Controller { device.kind.controller(controller ?? .piix3IDE) }

    private var diskFormat: DiskFormat { DiskFormat(of: image, said: imageFormat) }

    func run() throws {
        if snapshots, let path = image.path {
            let lines = try ImageChain.snapshots(ofQcow2: path).map(Self.line)
            return try writeToStandardOutput(Array(lines.joined().utf8))
        }
        let facts = try ImageFacts(image, format: diskFormat, snapshot: imageSnapshot, device: device)
        if diskFormat == .raw, let path = image.path, let format = ImageFormat(path: path) {
            writeToStandardError("warning: '\(path.visible)' begins like \(format); it is served as the raw file\n")
        }
        var properties = device
        if properties.writeCache == .auto { properties.writeCache = cache.hasVolatileWriteCache ? .on : .off }
        let drive = Drive(properties, sectors: facts.sectors, bootSector: facts.bootSector, controller: placed)
        let placement = Placement(controller: placed, bus: properties.bus, unit: properties.unit)
        let report = DriveReport(
            drive: drive, placement: placement, atPowerOn: powerOn, diskSignature: facts.partitionTable?.signature,
            isPartitioned: facts.partitionTable?.hasPartitions == true)
        try writeToStandardOutput(try report.bytes(format))
    }

    /// What `--snapshots` prints of one, with tabs between. The name is last: it may have any letters.
    private static func line(_ snapshot: Qcow2Snapshot) -> String {
        var (seconds, parts) = unsafe (time_t(snapshot.seconds), tm())
        var time = [CChar](repeating: 0, count: 32)
        unsafe gmtime_r(&seconds, &parts)
        unsafe strftime(&time, time.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        let text = String(decoding: time.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(snapshot.id.visible)\t\(text)\t\(snapshot.sizeBytes)\t\(snapshot.name.visible)\n"
    }
}
