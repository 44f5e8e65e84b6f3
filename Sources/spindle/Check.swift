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

    @Argument(help: ArgumentHelp("The file.", valueName: "file"))
    var file: String

    func run() throws {
        do {
            let check = try SettingsCheck(SettingsFile(reading: file))
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
