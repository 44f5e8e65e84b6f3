// `spindle check`: a configuration file before a server has it.

import ArgumentParser
import Settings

/// The subcommand.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration file and everything that it names.",
        discussion: """
            Prints what 'spindle serve --config FILE' would serve, or all that is wrong, each with its line and key. \
            Images and keys are opened for reading, and not locked: a server may be using them.
            """)

    @Flag(
        help: "Print every key that a file may have instead: table, name, type, default and meaning, with tabs between."
    )
    var keys = false

    @Argument(help: ArgumentHelp("The file.", valueName: "file"), completion: .file(extensions: ["toml"]))
    var file: String?

    func validate() throws {
        guard keys == (file == nil) else {
            throw ValidationError(keys ? "--keys takes no FILE" : "there is nothing to check; give a FILE, or --keys")
        }
    }

    func run() throws {
        guard let file else {
            let lines = SettingsKey.all.map {
                [$0.section.rawValue, $0.name, $0.type, $0.standard, $0.help].joined(separator: "\t") + "\n"
            }
            try writeToStandardOutput(Array(lines.joined().utf8))
            return
        }
        do {
            let check = try SettingsCheck(of: file)
            for line in check.warnings { writeToStandardError(line + "\n") }
            try writeToStandardOutput(Array((check.summary.joined(separator: "\n") + "\n").utf8))
        } catch let errors as SettingsErrors {
            throw fail(errors)
        }
    }
}

/// Prints errors as compilers do, a line each.
///
/// - Returns: what ends the program.
func fail(_ errors: SettingsErrors) -> ExitCode {
    writeToStandardError(errors.lines.joined(separator: "\n") + "\n")
    return ExitCode.failure
}
