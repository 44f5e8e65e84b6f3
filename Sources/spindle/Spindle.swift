// The `spindle` command: serve, identify and tls-keys.

import ArgumentParser

/// The command line.
@main
struct Spindle: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spindle", version: "0.1.0", subcommands: [Serve.self, Identify.self, TLSKeys.self])
}
