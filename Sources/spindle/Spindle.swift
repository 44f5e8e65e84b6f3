// The `spindle` command and its subcommands.

import ATA
import ArgumentParser
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
            BenchCommand.self,
        ])

    static func main() {
        do {
            try checkArguments()
            var command = try parseAsRoot()
            try command.run()
        } catch {
            end(with: error)
        }
    }

    /// Prints an error, or what was asked for with --help and the like, and ends the program. Names that others chose
    /// are in messages: nothing in one begins a line, or is a command to the terminal.
    private static func end(with error: any Error) -> Never {
        let status = exitCode(for: error)
        let message = message(for: error)
        let text = fullMessage(for: error)
        if status.isSuccess {
            do { try writeToStandardOutput(Array((text.isEmpty ? text : text + "\n").utf8)) } catch {}
        } else if !text.isEmpty {
            let lines = text.replacing(message, with: message.visible, maxReplacements: 1)
            writeToStandardError(lines + "\n")
        }
        Glibc.exit(status.rawValue)
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
        var arguments = CommandLine.arguments.dropFirst()
        guard let first = arguments.popFirst() else { return }
        try check(first, isCommandOf: Spindle.self)
        if first == "ctl", let second = arguments.first { try check(second, isCommandOf: Ctl.self) }
    }

    private static func check(_ word: String, isCommandOf parent: any ParsableCommand.Type) throws {
        let names = parent.configuration.subcommands.map { $0._commandName } + ["help"]
        guard !word.hasPrefix("-"), !names.contains(word) else { return }
        let hint = nearestName(to: word, among: names).map { "did you mean '\($0)'?" }
        throw ValidationError("there is no command '\(word)'; \(hint ?? "there are \(names.joined(separator: ", "))")")
    }
}
