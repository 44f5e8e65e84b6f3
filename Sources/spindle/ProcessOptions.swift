// The options of `serve` that say for whom it runs, and who has to know.

import ArgumentParser

/// `--run` and its companions.
struct ProcessOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Serve for the life of a shell command, which finds $uri, $unixsocket, $port, $tls and $exportname; without "
                + "--listen, on a private Unix socket. The exit status is the command's.", valueName: "command"))
    var run: String?

    @Flag(help: "End when the process that started the server ends.")
    var exitWithParent = false

    @Option(
        help: ArgumentHelp("A file with the process number, while clients can connect.", valueName: "path"),
        completion: .file())
    var pidFile: String?

    func validate() throws {
        if let run, run.allSatisfy(\.isWhitespace) {
            throw ValidationError("--run is empty; give a command, 'nbdinfo \"$uri\"' for instance")
        }
    }
}
