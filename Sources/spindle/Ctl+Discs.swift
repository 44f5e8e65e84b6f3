// The commands of `spindle ctl` that are about the tray of a DVD-ROM.

import ArgumentParser
import Control
import Settings

extension Ctl {
    struct Eject: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the disc out of a DVD-ROM.",
            discussion: """
                The tray stays open. Clients of NBD are disconnected when what they have in flight is done; iSCSI's initiators \
                are told. A tray that a host has locked stays closed, and the host is told that its disc is wanted.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Flag(help: "Also if a host has locked the tray.") var force = false
        @Argument(help: "The export's name.") var name: String

        func run() throws {
            let answer = try client().send("POST", ["v1", "exports", name, "eject"], query: trayMode(force))
            try show(answer, ControlTables.export)
        }
    }

    struct Insert: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a disc into a DVD-ROM.",
            discussion: """
                A disc that is in it is ejected first. Without IMAGE the tray closes over the disc that a host has left in it; \
                if there is none, the export's own image comes back.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Flag(help: "Also if a host has locked the tray.") var force = false
        @Argument(help: "The export's name.") var name: String
        @Argument(help: "The image of the disc.", completion: .file()) var image: String?

        func run() throws {
            let body = try image.map { ControlRequest.disc(try ExportSettings(name: name, image: $0).seenByServer()) }
            let answer = try client().send(
                "POST", ["v1", "exports", name, "insert"], query: trayMode(force), body: body ?? [])
            for warning in ControlTables.warnings(answer) { writeToStandardError("warning: \(warning)\n") }
            try show(answer, ControlTables.export)
        }
    }
}

/// The parameter that says whether a locked tray opens.
private func trayMode(_ isForced: Bool) -> String { "mode=" + (isForced ? "force" : "safe") }
