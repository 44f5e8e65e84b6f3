// The commands of `spindle ctl` that are about overlays.

import ArgumentParser
import Control

extension Ctl {
    struct Revert: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an overlay like its image again, or as it was at a snapshot.",
            discussion: """
                All that was written to it since then is gone, also from a file that keeps it. Its clients are disconnected, and \
                find its drive as at power-on when they connect again.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "The export's name.") var name: String
        @Argument(help: ArgumentHelp("The snapshot's name.", valueName: "snapshot")) var snapshot: String?

        func run() throws {
            let body = snapshot.map(ControlRequest.snapshot) ?? []
            try show(
                try client().send("POST", ["v1", "exports", name, "revert"], body: body), ControlTables.reverted)
        }
    }

    struct Commit: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring an overlay's changes to its image.",
            discussion: """
                The overlay is empty then, and its disk the same. Clients are disconnected, and wait until that is done. If \
                it fails, the disk is as before. It is refused if another export, or another program, has the image.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "The export's name.") var name: String

        func run() throws {
            let answer = try client().send(
                "POST", ["v1", "exports", name, "commit"], seconds: ControlClient.copySeconds)
            try show(answer, ControlTables.committed)
        }
    }

    struct Changes: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show which sectors of an overlay are not those of its image, or of a snapshot.",
            discussion: """
                Clients notice nothing. What they have written to an overlay in a file is shown from their next flush on. Where \
                there would be more than 1024 ranges, they are rounded: there may be sectors too many, but none too few.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "The export's name.") var name: String
        @Argument(help: ArgumentHelp("The snapshot's name.", valueName: "snapshot")) var snapshot: String?

        func run() throws {
            let query = snapshot.map { "since=" + ControlClient.percentEncoded($0) }
            try show(try client().send("GET", ["v1", "exports", name, "changes"], query: query), ControlTables.changes)
        }
    }

    struct Snapshot: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Keep what an overlay has now, by a name.",
            discussion: """
                'revert' goes back to it, 'fork' makes other exports of it, until it is discarded. One of an overlay in memory \
                goes with the export, one of an overlay in FILE is the file FILE@NAME. \
                Clients are disconnected, and find the drive as at power-on when they connect again.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "The export's name.") var name: String
        @Argument(help: ArgumentHelp("The snapshot's name.", valueName: "snapshot")) var snapshot: String

        func run() throws {
            let body = ControlRequest.new(snapshot)
            try show(
                try client().send("POST", ["v1", "exports", name, "snapshots"], body: body), ControlTables.export)
        }
    }

    struct Fork: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Serve another overlay that begins as one is now, or was at a snapshot.",
            discussion: """
                It has the options of that, but for its name and its target, and for --changes. Without --snapshot the clients of \
                the old one are disconnected, with it they notice nothing.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Option(help: ArgumentHelp("The snapshot that it begins as.", valueName: "snapshot")) var snapshot: String?
        @Option(
            help: ArgumentHelp(
                "A new file that keeps its changes, beside that of the old one; without it they stay in memory.",
                valueName: "file"),
            completion: .file())
        var changes: String?
        @Argument(help: "The export's name.") var name: String
        @Argument(help: ArgumentHelp("The new export's name.", valueName: "new")) var new: String

        func run() throws {
            let body = ControlRequest.new(new, snapshot: snapshot, changes: try changes.map(pathSeenByServer))
            let answer = try client().send("POST", ["v1", "exports", name, "fork"], body: body)
            for warning in ControlTables.warnings(answer) { writeToStandardError("warning: \(warning)\n") }
            try show(answer, ControlTables.export)
        }
    }

    struct Discard: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a snapshot of an overlay.",
            discussion: """
                What the drive, other snapshots and other exports have of one in memory stays. The file of one is removed, unless \
                something begins with it.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "The export's name.") var name: String
        @Argument(help: ArgumentHelp("The snapshot's name.", valueName: "snapshot")) var snapshot: String

        func run() throws {
            _ = try client().send("DELETE", ["v1", "exports", name, "snapshots", snapshot])
        }
    }
}
