// The `spindle` command and its subcommands.

import ATA
import ArgumentParser
import Control
import Glibc
import Logs

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
            Cut.self,
            BenchCommand.self,
        ])

    static func main() {
        do {
            try checkArguments()
            var command = try parse()
            try command.run()
        } catch {
            end(with: error)
        }
    }

    /// The parser looks for what is missing first, and a mistyped option may be the reason.
    private static func parse() throws -> any ParsableCommand {
        do {
            return try parseAsRoot()
        } catch {
            if !exitCode(for: error).isSuccess { try checkOptions() }
            throw error
        }
    }

    /// Prints an error, or what was asked for with --help and the like, and ends the program. Names that others chose
    /// are in messages: nothing in one begins a line, or is a command to the terminal.
    private static func end(with error: any Error) -> Never {
        let status = exitCode(for: error)
        let message = message(for: error)
        let text = error is ValidationError ? explanation(of: message) : fullMessage(for: error)
        if status.isSuccess {
            do { try writeToStandardOutput(Array((text.isEmpty ? text : text + "\n").utf8)) } catch {}
        } else if !text.isEmpty {
            let shown =
                if case ControlClientError.refused = error { inItsLines(message) } else { inOneLine(message).visible }
            let lines = text.replacing(message, with: shown, maxReplacements: 1)
            writeToStandardError(lines + "\n")
        }
        Glibc.exit(status.rawValue)
    }

    /// The parser lists what an option takes line by line, if there is much.
    private static func inOneLine(_ message: String) -> String {
        message.replacing(":\n  - ", with: ": ").replacing("\n  - ", with: ", ")
    }

    /// A server says each of several mistakes in a line of its own.
    private static func inItsLines(_ message: String) -> String {
        message.split(separator: "\n").map { String($0).visible }.joined(separator: "\n")
    }

    /// A mistake that the parser has not found itself, and how the command is used.
    private static func explanation(of message: String) -> String {
        let commands = commandsAskedFor
        let name = commands.map { $0._commandName }.joined(separator: " ")
        return """
            Error: \(message)
            Usage: \(usageString(for: commands[commands.count - 1]))
              See '\(name) --help' for more information.
            """
    }

    /// The command that the first arguments name, behind those that it belongs to.
    private static var commandsAskedFor: [any ParsableCommand.Type] {
        var commands: [any ParsableCommand.Type] = [Spindle.self]
        for word in CommandLine.arguments.dropFirst() {
            let named = commands[commands.count - 1].configuration.subcommands.first { $0._commandName == word }
            guard let named else { break }
            commands.append(named)
        }
        return commands
    }

    /// Mistakes that the parser would explain badly: mistyped names of commands, and bytes that are no text.
    private static func checkArguments() throws {
        for index in 1..<max(Int(CommandLine.argc), 1) {
            guard let bytes = unsafe CommandLine.unsafeArgv[index] else { break }
            guard unsafe String(validatingCString: bytes) != nil else {
                let name = unsafe String(
                    showing: UnsafeBufferPointer(start: bytes, count: strlen(bytes)).map { UInt8(bitPattern: $0) })
                throw ValidationError(
                    "'\(name)' is no UTF-8 text, as names have to be; give the file another name, or a link to it (ln -s)"
                )
            }
        }
        var parent: any ParsableCommand.Type = Spindle.self
        for word in CommandLine.arguments.dropFirst() {
            try check(word, isCommandOf: parent)
            // The words behind it are looked for where 'help' stands.
            if word == "help" { continue }
            guard let named = parent.configuration.subcommands.first(where: { $0._commandName == word }),
                !named.configuration.subcommands.isEmpty
            else { return }
            parent = named
        }
    }

    /// Options that the command does not have.
    private static func checkOptions() throws {
        let commands = commandsAskedFor
        let command = commands[commands.count - 1]
        // Before the name of a command of `ctl` its options may stand, too.
        guard command.configuration.subcommands.isEmpty else { return }
        let lines = helpMessage(for: command, includeHidden: true, columns: 200).split(separator: "\n")
        let names = lines.filter { $0.hasPrefix("  -") }.flatMap { $0.split { !$0.isLetter && $0 != "-" } }
            .filter { $0.hasPrefix("--") }.map(String.init)
        for word in CommandLine.arguments.dropFirst(commands.count).prefix(while: { $0 != "--" }) {
            let name = word.prefix { $0 != "=" }
            guard name.hasPrefix("--"), !names.contains(String(name)) else { continue }
            let hint = nearestName(to: String(name), among: names).map { "; did you mean '\($0)'?" }
            throw ValidationError("there is no option '\(name)'\(hint ?? "")")
        }
    }

    private static func check(_ word: String, isCommandOf parent: any ParsableCommand.Type) throws {
        // What is no command's name there is the default one's first word.
        guard parent.configuration.defaultSubcommand == nil else { return }
        let names = parent.configuration.subcommands.map { $0._commandName } + ["help"]
        guard !word.hasPrefix("-"), !names.contains(word) else { return }
        let hint = nearestName(to: word, among: names).map { "did you mean '\($0)'?" }
        throw ValidationError("there is no command '\(word)'; \(hint ?? "there are \(names.joined(separator: ", "))")")
    }
}
