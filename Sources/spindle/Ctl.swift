// `spindle ctl`: what an operator tells a running server. Each command is one request of docs/openapi.yaml.

import ArgumentParser
import Control
import Server
import Settings

/// The subcommand.
struct Ctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ctl",
        abstract: "Watch and change a running server.",
        discussion: """
            The server has to be started with --control unix:PATH. Without --control, ctl uses the path in \
            $SPINDLE_CONTROL, or \(ControlClient.standardPath).
            """,
        subcommands: [
            Status.self, List.self, Show.self, Add.self, Remove.self, Grow.self, Revert.self, Changes.self, Commit.self,
            Snapshot.self,
            Fork.self, Discard.self, Eject.self, Insert.self,
            AcceptLoss.self, Power.self, Fault.self, Connections.self, Drop.self,
            LogLevel.self, Reload.self, Metrics.self,
        ])

    @OptionGroup var options: ControlClientOptions

    struct Status: ControlCommand {
        static let configuration = CommandConfiguration(abstract: "Show the server.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions

        func run() throws {
            try show(try client().send("GET", ["v1"]), ControlTables.server)
        }
    }

    struct Connections: ControlCommand {
        static let configuration = CommandConfiguration(abstract: "List the connections of clients.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions

        func run() throws {
            try show(try client().send("GET", ["v1", "connections"]), ControlTables.connections)
        }
    }

    struct Drop: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a connection.", discussion: "Nothing keeps its client from connecting again.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(
            help: "Its number, as 'connections' and the log show it.", transform: spindle.number(in: 0...UInt64.max))
        var number: UInt64

        func run() throws {
            _ = try client().send("DELETE", ["v1", "connections", String(number)])
        }
    }

    struct LogLevel: ControlCommand {
        static let configuration = CommandConfiguration(abstract: "Show or change the log level.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(
            help: "trace, debug, info, notice, warning, error or critical.", completion: .logLevels,
            transform: checked(parseLogLevel))
        var level: String?

        func run() throws {
            let path = ["v1", "log-level"]
            let answer = try level.map { try client().send("PUT", path, body: ControlRequest.logLevel($0)) }
            try show(try answer ?? client().send("GET", path), ControlTables.logLevel)
        }
    }

    struct Reload: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read the configuration file again.",
            discussion:
                "If anything in it is wrong, nothing is changed. Exports that did not change keep their clients.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions

        func run() throws {
            try show(try client().send("POST", ["v1", "reload"]), ControlTables.reload)
        }
    }

    struct Metrics: ControlCommand {
        static let configuration = CommandConfiguration(abstract: "Print the counters, as Prometheus reads them.")
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions

        func run() throws {
            try writeToStandardOutput(try client().send("GET", ["metrics"]))
        }
    }
}

/// A command of `ctl`.
protocol ControlCommand: ParsableCommand {
    /// Options that stand before the command...
    var ctl: Ctl { get }
    /// ...and behind it.
    var options: ControlClientOptions { get }
}

extension ControlCommand {
    /// The socket of the server.
    func client() throws -> ControlClient {
        ControlClient(path: try (options.control ?? ctl.options.control)?.path ?? ControlClientOptions.standardPath())
    }

    /// Prints an answer: as it came with --json, else as the table that is made of it.
    func show(_ json: [UInt8], _ table: ([UInt8]) throws -> String) throws {
        let isRaw = options.json || ctl.options.json
        try writeToStandardOutput(isRaw ? json : Array(try table(json).utf8))
    }
}
