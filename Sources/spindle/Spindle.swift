// The `spindle` command and its subcommands.

import ArgumentParser

/// The command line.
@main
struct Spindle: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spindle", version: "0.1.0",
        subcommands: [
            Serve.self,
            Ctl.self,
            Check.self,
            Identify.self,
            TLSKeys.self,
            BenchCommand.self,
        ])
}
