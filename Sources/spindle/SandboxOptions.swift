// The options of `serve` that say what it gives up, and what it keeps.

import ArgumentParser
import Backends
import Glibc
import Sandbox
import Settings

/// `--sandbox` and its companions.
struct SandboxOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Become this user once everything is open; its name or number.", valueName: "name"),
        completion: .users)
    var user: String?

    @Option(help: ArgumentHelp("Have this group, in place of those of --user.", valueName: "name"), completion: .groups)
    var group: String?

    @Option(
        help: """
            Whether system calls and files that serving does not need are forbidden (on), forbidden files and a note in \
            the kernel's log (log), or not (off).
            """, completion: .list(Sandbox.Mode.allCases.map(\.rawValue)), transform: parseSandboxMode)
    var sandbox = Sandbox.Mode.on

    @Option(
        help: ArgumentHelp(
            "A folder, or file, whose images may be opened later, and new ones made; may be repeated.",
            valueName: "path"),
        completion: .file())
    var sandboxPath: [String] = []

    @Flag(help: "Keep all memory in memory: for clients on this machine.")
    var lockMemory = false

    func validate() throws {
        if group != nil, user == nil {
            throw ValidationError("--group needs --user: root could have its groups again")
        }
    }

    /// Looks up who to become, while there are the rights to read that, and locks memory, while there is little of it.
    func prepare() throws -> PreparedSandbox {
        let identity = try user.map { name throws(SandboxError) in try Identity(user: name, group: group) }
        for path in sandboxPath where unsafe access(path, F_OK) != 0 {
            throw SandboxError.path(path, errno: errno)
        }
        var warnings: [String] = []
        if lockMemory {
            try MemoryLock.lock(for: identity)
            if !MemoryLock.becomeFlusher() {
                warnings.append(
                    "memory is locked, but the server is no IO_FLUSHER: that takes CAP_SYS_RESOURCE, which root has")
            }
        }
        return PreparedSandbox(
            sandbox: Sandbox(mode: sandbox, identity: identity), writable: sandboxPath, warnings: warnings)
    }
}

extension SandboxOptions {
    /// Why a file may be out of reach that the server did not begin with.
    static let deniedHint =
        "the sandbox has only the folders of what the server began with; --sandbox-path names others"

    /// An image that could not be opened while the server runs: why that may be the sandbox's doing.
    struct HiddenImage: Error, CustomStringConvertible {
        let error: ImageError

        var description: String {
            "\(error); in its sandbox the server opens no images but those below a --sandbox-path PATH, and those of "
                + "the configuration file"
        }
    }

    /// Says more about what an image's opening has failed with.
    func explaining(_ error: any Error) -> any Error {
        guard sandbox != .off, let error = error as? ImageError else { return error }
        switch error {
        case .cannotOpen(_, EACCES, _), .cannotMakeChanges(_, EACCES): return HiddenImage(error: error)
        default: return error
        }
    }
}

/// The sandbox's needs, known before images are opened.
struct PreparedSandbox {
    private let sandbox: Sandbox
    /// Places that the command line keeps reachable.
    private let writable: [String]
    /// There are folders where files get other names.
    private var exchangesFiles = false
    /// Warnings for the log.
    private(set) var warnings: [String]

    init(sandbox: Sandbox, writable: [String], warnings: [String]) {
        self.sandbox = sandbox
        self.writable = writable
        self.warnings = warnings
    }

    /// Gives up rights and files.
    mutating func enter(_ rules: Sandbox.Rules) throws {
        var rules = rules
        exchangesFiles = !(rules.exchangeable + writable).isEmpty
        // What is opened later may have to be made: an overlay's changes, a recording. Snapshots of overlays exchange
        // files.
        rules.exchangeable += writable
        if try !sandbox.enter(rules) {
            warnings.append("Landlock cannot be used here: the sandbox leaves all files of the user reachable")
        }
    }

    /// Forbids system calls, once the loops have their rings.
    ///
    /// - Parameters: see ``Sandbox/filterSystemCalls(command:datagrams:exchangesFiles:)``.
    func filterSystemCalls(command: pid_t?, datagrams: Int32?) throws {
        try sandbox.filterSystemCalls(command: command, datagrams: datagrams, exchangesFiles: exchangesFiles)
    }
}

/// A value of `--sandbox`.
private func parseSandboxMode(_ text: String) throws -> Sandbox.Mode {
    guard let mode = Sandbox.Mode(rawValue: text) else {
        throw BadValue(text, "mode of the sandbox", allowed: Sandbox.Mode.allCases.map(\.rawValue))
    }
    return mode
}
