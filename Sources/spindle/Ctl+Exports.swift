// The commands of `spindle ctl` that are about exports.

import ATA
import ArgumentParser
import Backends
import Control
import Glibc
import ISCSI
import Loop
import Settings

extension Ctl {
    struct List: ControlCommand {
        static let configuration = CommandConfiguration(abstract: "List the exports.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions

        func run() throws {
            try show(try client().send("GET", ["v1", "exports"]), ControlTables.exports)
        }
    }

    struct Show: ControlCommand {
        static let configuration = CommandConfiguration(abstract: "Show one export.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "Its name.") var name: String

        func run() throws {
            try show(try client().send("GET", ["v1", "exports", name]), ControlTables.export)
        }
    }

    struct Add: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Serve one more image.",
            discussion: "The options are those of 'spindle serve', and two that place it among the iSCSI targets.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        // The server knows what they mean; that they mean nothing is found here.
        @Option(
            help: "The IDE controller: piix3-ide or ich9-ahci.", completion: .controllers,
            transform: checked(parseController))
        var controller: String?
        @Option(
            help: ArgumentHelp("The drive, in the words of QEMU's -device option.", valueName: "spec"),
            completion: .devices, transform: checked(DriveProperties.init(parsing:)))
        var device: String?
        @Option(
            help: ArgumentHelp(
                "QEMU's cache mode: writeback, writethrough, none, directsync or unsafe.", valueName: "mode"),
            completion: .cacheModes, transform: checked(parseCacheMode))
        var cache: String?
        @Option(
            help: ArgumentHelp("The format of the image: raw or qcow2.", valueName: "format"),
            completion: .imageFormats, transform: checked(DiskFormat.init(parsing:)))
        var imageFormat: String?
        @Option(
            help: ArgumentHelp(
                "An internal snapshot of a qcow2 image, by its name or number: the disk as it was then.",
                valueName: "name"))
        var imageSnapshot: String?
        @Option(
            help: ArgumentHelp(
                "Where answered writes are until a flush: image, volatile or volatile:SIZE.", valueName: "model"),
            completion: .list(["image", "volatile"]), transform: checked(WriteCacheModel.init(parsing:)))
        var writeCacheModel: String?
        @Option(
            help: ArgumentHelp(
                "What is wrong with a drive of spindle-hd or spindle-ssd; may be repeated.", valueName: "rule"),
            completion: .list(FaultRule.Kind.allCases.map(\.rawValue)), transform: checked(FaultRule.init(parsing:)))
        var fault: [String] = []
        @Option(
            help: ArgumentHelp(
                "A file that keeps the changes of an overlay over a restart; made if it is missing.", valueName: "file"),
            completion: .file())
        var changes: String?
        @Option(
            help: ArgumentHelp("A new file for a recording of all that the drive executes.", valueName: "file"),
            completion: .file())
        var record: String?
        @Option(
            help: ArgumentHelp(
                "A file that keeps what a spindle-hd or spindle-ssd never forgets over a restart; made if it is missing.",
                valueName: "file"),
            completion: .file())
        var state: String?
        @Flag(help: "Each connection gets a disk of its own, gone with it.") var perClient = false
        @Flag(help: "Open the image for reading only.") var readOnly = false
        @Option(
            help: ArgumentHelp("Whether the image is locked against a second writer.", valueName: "on|off"),
            completion: .waysOfLocking, transform: checked(parseLocking))
        var locking: String?
        @Option(
            help: ArgumentHelp(
                "The iSCSI name of its target. Without it: that of the [[target]] that names the export, or one of its own.",
                valueName: "name"),
            transform: checked(TargetName.init(_:)))
        var target: String?
        @Option(
            help: ArgumentHelp("Its logical unit in that target, which may then have others.", valueName: "number"),
            transform: number(in: 0...TargetPlace.logicalUnitLimit - 1))
        var lun: Int?
        @Argument(
            help: ArgumentHelp("An image to serve.", valueName: "[name=]image"), completion: .file(),
            transform: ExportSettings.init(parsing:))
        var image: ExportSettings

        func run() throws {
            let request = ControlRequest.NewExport(
                name: image.name, image: try image.seenByServer(), device: device, controller: controller, cache: cache,
                imageFormat: imageFormat, imageSnapshot: imageSnapshot, writeCacheModel: writeCacheModel,
                fault: fault.isEmpty ? nil : fault,
                changes: try changes.map(pathSeenByServer), record: try record.map(pathSeenByServer),
                state: try state.map(pathSeenByServer),
                locking: locking, target: target, lun: lun, perClient: perClient, readOnly: readOnly)
            let answer = try client().send("POST", ["v1", "exports"], body: request.body)
            for warning in ControlTables.warnings(answer) { writeToStandardError("warning: \(warning)\n") }
            try show(answer, ControlTables.export)
        }
    }

    struct Remove: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop serving an image.",
            discussion: "An export that clients have open stays, unless --drain or --force is given.")

        /// The fate of clients.
        enum Mode: String, EnumerableFlag {
            case drain
            case force

            static func help(for value: Mode) -> ArgumentHelp? {
                switch value {
                case .drain: "They may go on, nobody else may come, and it goes with the last one."
                case .force: "What they have in flight is finished, then they are disconnected."
                }
            }
        }

        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Flag var mode: Mode?
        @Argument(help: "Its name.") var name: String

        func run() throws {
            let query = "mode=" + (mode?.rawValue ?? "safe")
            let answer = try client().send("DELETE", ["v1", "exports", name], query: query)
            // There is one only when some are left.
            if !answer.isEmpty { try show(answer, ControlTables.export) }
        }
    }

    struct Grow: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a drive larger.",
            discussion: """
                Without SIZE it becomes as large as its image is now. Clients that are connected keep the size they know; \
                they see the new one when they connect again.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "Its name.") var name: String
        @Argument(
            help: "The size that its image is to have, as in 20G, 512M or 6291456s (sectors).",
            transform: checked { try ImageReference.sizeBytes($0) })
        var size: String?

        func run() throws {
            let body = size.map(ControlRequest.growth) ?? []
            try show(try client().send("POST", ["v1", "exports", name, "grow"], body: body), ControlTables.export)
        }
    }

    struct AcceptLoss: ControlCommand {
        static let configuration = CommandConfiguration(
            commandName: "accept-loss",
            abstract: "Let flushes succeed again after one has failed.",
            discussion: """
                When a flush fails, written data are lost, and every further flush fails, so that no client takes them for \
                stored. Remove the cause, check or restore what is on the drive, then accept the loss.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "The export's name.") var name: String

        func run() throws {
            try show(try client().send("POST", ["v1", "exports", name, "accept-loss"]), ControlTables.export)
        }
    }
}

extension ExportSettings {
    /// The image as the server, which runs in another folder, finds it.
    func seenByServer() throws -> String {
        guard let path = reference.path else { return image }
        return reference.at(path: try pathSeenByServer(path)).name
    }
}

/// A path as the server, which runs in another folder, finds it.
func pathSeenByServer(_ path: String) throws -> String {
    guard !path.hasPrefix("/") else { return path }
    guard let folder = unsafe getcwd(nil, 0) else {
        throw ValidationError("'\(path)' begins at a folder that is gone; give a path that begins with /")
    }
    defer { unsafe free(folder) }
    guard let name = unsafe String(validatingCString: folder) else {
        throw ValidationError(
            "'\(path)' begins at a folder whose name is no UTF-8, which paths have to be here")
    }
    return name + "/" + path
}
