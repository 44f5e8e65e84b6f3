// `spindle serve`: drives on sockets.

import ATA
import ArgumentParser
import Backends
import Control
import Glibc
import ISCSI
import Listening
import Logging
import Logs
import Loop
import Sandbox
import Server
import Settings

/// The subcommand.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve images as ATA drives over NBD and iSCSI.",
        usage: """
            spindle serve [<options>] [NAME=]IMAGE ...
            spindle serve [<options>] --config FILE [[NAME=]IMAGE ...]
            """,
        discussion: """
            Each IMAGE is a file or block device, memory:SIZE or null:SIZE, SIZE as in 64M, 3G, 6291456s (sectors), or \
            overlay:PATH, whose changes stay in memory, or go to the FILE of --changes. NAME is what clients ask for, by default the file's name without \
            its extension; the first export answers to the empty name too. dir:PATH is a drive for each file in a directory, PREFIX=dir:PATH with something \
            before their names; files may come and go.

            ENDPOINT is unix:PATH (with ,mode=0660 and ,owner=USER:GROUP behind it), tcp:HOST:PORT (IPv6 addresses in \
            brackets), iscsi:HOST:PORT (with ,portal=HOST:PORT behind it \
            for the address that initiators are told), vsock:PORT, fd:N, systemd:NAME, or stdin for the one client that standard input is connected to. \
            Sockets passed by systemd are used without asking, unless some are asked for by name.

            SIGTERM and SIGINT end the server: what is in flight is finished and flushed. A second SIGINT (Ctrl-C) ends it at \
            once, if it comes a second or more after the first; a second SIGTERM does not. SIGHUP has it read FILE again; \
            without a FILE it ends the server, too.
            """)

    @Option(
        help: ArgumentHelp(
            "Where to listen, tcp:127.0.0.1:10809 if not given; may be repeated.", valueName: "endpoint"),
        completion: .list(["unix:", "tcp:", "tcp:127.0.0.1:10809", "iscsi:", "vsock:", "fd:", "systemd:", "stdin"]),
        transform: Endpoint.init(parsing:))
    var listen: [Endpoint] = []

    @Option(
        help: ArgumentHelp(
            "What stands before an export's name and a colon in the iSCSI name of its target.", valueName: "name"),
        transform: TargetName.init(_:))
    var targetPrefix: TargetName?

    @Option(
        help: "A file of CHAP secrets, lines of NAME:SECRET: iSCSI initiators have to prove who they are.",
        completion: .file())
    var chap: String?

    @Option(
        help: "A file with the target's own NAME:SECRET, for initiators that ask who it is.", completion: .file())
    var chapTarget: String?

    @Option(
        help: ArgumentHelp(
            "A folder that keeps the exports' persistent reservations while the server does not run.",
            valueName: "folder"), completion: .directory)
    var reservations: String?

    @Option(
        help: ArgumentHelp(
            "A configuration file; options given here go before it, images and endpoints come on top.",
            valueName: "file"), completion: .file(extensions: ["toml"]))
    var config: String?

    @Option(
        help: "The IDE controller: piix3-ide (default) or ich9-ahci.", completion: .controllers,
        transform: parseController)
    var controller: Controller?

    @Option(
        help: ArgumentHelp(
            "The drives, in the words of QEMU's -device option: ide-hd (default), ide-cd, spindle-cd, spindle-hd or spindle-ssd, with properties behind: ide-hd,serial=...",
            valueName: "spec"),
        completion: .devices, transform: DriveProperties.init(parsing:))
    var device: DriveProperties?

    @Option(
        help: ArgumentHelp(
            "QEMU's cache mode: writeback (default), writethrough, none, directsync or unsafe.", valueName: "mode"),
        completion: .cacheModes, transform: parseCacheMode)
    var cache: CacheMode?

    @Option(
        help: ArgumentHelp(
            "The format of the images, raw or qcow2: without it, names that end in .qcow2 are qcow2 images.",
            valueName: "format"),
        completion: .imageFormats, transform: DiskFormat.init(parsing:))
    var imageFormat: DiskFormat?

    @Option(
        help: ArgumentHelp(
            "An internal snapshot of a qcow2 image, by its name or number: the disk as it was then, with --read-only or below an "
                + "overlay; 'identify --snapshots' lists them.", valueName: "name"))
    var imageSnapshot: String?

    @Option(
        help: ArgumentHelp(
            "Where answered writes are until a flush: image (default), or volatile or volatile:SIZE, a cache in the drive that "
                + "'ctl power' empties.", valueName: "model"),
        completion: .list(["image", "volatile"]), transform: WriteCacheModel.init(parsing:))
    var writeCacheModel: WriteCacheModel?

    @Option(
        help: ArgumentHelp(
            "What is wrong with drives of spindle-hd or spindle-ssd, as in 'unreadable lba=81920..81927'; may be repeated.",
            valueName: "rule"),
        completion: .list(FaultRule.Kind.allCases.map(\.rawValue)), transform: FaultRule.init(parsing:))
    var fault: [FaultRule] = []

    @Option(
        help: ArgumentHelp(
            "A file that keeps the changes of an overlay over a restart, a qcow2 image above it; made if it is missing; for one "
                + "image.", valueName: "file"), completion: .file())
    var changes: String?

    @Option(
        help: ArgumentHelp(
            "A new file for a recording of all that the drive executes, of which 'spindle cut' makes power cuts; for one image.",
            valueName: "file"), completion: .file())
    var record: String?

    @Option(
        help: ArgumentHelp(
            "A file that keeps what a spindle-hd or spindle-ssd never forgets over a restart; made if it is missing; for one "
                + "image.", valueName: "file"), completion: .file())
    var state: String?

    @Flag(help: "Each connection gets a disk of its own, gone with it: of overlay:PATH or memory:SIZE, over NBD.")
    var perClient = false

    @Flag(help: "Open the images for reading only.")
    var readOnly = false

    @Option(
        help: ArgumentHelp(
            "Whether the images are locked against a second writer: on (default) or off, for file systems without locks.",
            valueName: "on|off"),
        completion: .waysOfLocking, transform: parseLocking)
    var locking: Bool?

    @OptionGroup(title: "TLS")
    var tls: TLSOptions

    @OptionGroup(title: "Limits")
    var limits: LimitOptions

    @OptionGroup(title: "Beginning and end")
    var process: ProcessOptions

    @OptionGroup(title: "What the server gives up")
    var sandbox: SandboxOptions

    @OptionGroup(title: "Control")
    var control: ControlOptions

    @Option(
        help: "How many threads serve; one for each processor if not given.",
        transform: number(in: ServeSettings.threadRange))
    var threads: Int?

    @OptionGroup(title: "Log, on standard error")
    var log: LogOptions

    @Argument(
        help: ArgumentHelp("An image to serve.", valueName: "[name=]image"), completion: .file(),
        transform: ImageArgument.init(parsing:))
    var images: [ImageArgument] = []

    func validate() throws {
        if images.isEmpty {
            guard config != nil else {
                throw ValidationError("there is nothing to serve; give an IMAGE or --config FILE")
            }
            guard device == nil, cache == nil, imageFormat == nil, imageSnapshot == nil, writeCacheModel == nil,
                fault.isEmpty, !readOnly, locking == nil
            else {
                throw ValidationError(
                    "--device, --cache, --image-format, --image-snapshot, --write-cache-model, --fault, --read-only and --locking "
                        + "are for images given here, and there is none"
                )
            }
        }
        if changes != nil {
            guard images.count == 1, case .export(var export) = images[0] else {
                throw ValidationError(
                    "--changes is for one image, overlay:PATH; in a configuration file each overlay may have a file")
            }
            export.changes = changes
            do {
                try export.checkChanges()
            } catch {
                throw ValidationError("\(error)")
            }
        }
        if state != nil {
            guard images.count == 1, case .export = images[0] else {
                throw ValidationError("--state is for one image; in a configuration file each disk may have a file")
            }
        }
        if perClient, images.isEmpty || images.contains(where: { if case .directory = $0 { true } else { false } }) {
            throw ValidationError("--per-client is for images given here: overlay:PATH, memory:SIZE or null:SIZE")
        }
        if record != nil {
            guard images.count == 1, case .export = images[0] else {
                throw ValidationError("--record is for one image; in a configuration file each may have a recording")
            }
            guard !drive.readOnly else {
                throw ValidationError("a drive that only reads has nothing to record: leave --record out")
            }
        }
        do {
            try drive.checkWriteCache()
            try drive.checkFaults()
            if let controller { try drive.device.kind.check(controller) }
            try ControlService.check(control: control.control, metrics: control.metrics)
        } catch {
            throw ValidationError("\(error)")
        }
        if listen.count > 1, listen.contains(.standardInput) { throw ValidationError("\(EndpointError.notAlone)") }
        if process.run != nil, listen.contains(.standardInput) {
            throw ValidationError("--run needs an endpoint that its command can connect to; stdin is none")
        }
        if process.run != nil, sandbox.user != nil {
            throw ValidationError(
                "--run and --user do not go together: another user could not end the command; become one before both")
        }
        // With a file, its keys may complete the options here.
        if config == nil { _ = try configuration(UserNames()) }
    }

    func run() throws {
        let signals = Signals(reloadsOnHangUp: config != nil)
        let parent = process.exitWithParent ? try ParentProcess() : nil
        if listen.contains(.standardInput) { keepOutputFromStandardInput() }
        var sandbox = try self.sandbox.prepare()
        let manager = ServiceManager()
        let users = UserNames()
        let configuration = try reporting { try self.configuration(users) }
        let settings = configuration.settings
        if settings.endpoints.contains(.standardInput) { keepOutputFromStandardInput() }
        // The command's output is all that is to be read, as long as there is no problem.
        let level = settings.logLevel ?? (process.run == nil ? .notice : .warning)
        let logs = Logs(format: settings.logFormat ?? .auto, level: level)
        defer { logs.finish() }
        let logger = logs.logger(label: "spindle")
        let loops = settings.threads ?? min(Server.processorCount, ServeSettings.threadRange.upperBound)
        let room = try DescriptorNeeds.room(for: settings, loops: loops, logger)
        let exports = try reporting { try OpenedExports(settings, file: configuration.file, room: room) }
        let tls = try settings.tls.open()
        let targets = try reporting { try configuration.locating(settings.targets) }
        let reservations = try reporting { try configuration.locating(settings.reservationFolder) }
        let pidFile = try process.pidFile.map { try PidFile($0) }
        defer { pidFile?.remove() }
        let privateSocket = process.run != nil && settings.endpoints.isEmpty ? try PrivateSocket() : nil
        defer { privateSocket?.remove() }
        let operators = try ControlService(control: control.control, metrics: control.metrics)
        defer { operators.stop() }
        let server = try Server(
            exports: exports.served, endpoints: privateSocket.map { [$0.endpoint] } ?? settings.endpoints,
            loops: loops, limits: settings.limits.limits, tls: tls,
            targets: targets, reservations: reservations, logger: logger)
        let command: ShellCommand?
        do {
            // It has the rights and files that its server is about to give up, and begins when clients are served.
            command = try process.run.map {
                try ShellCommand($0, variables: CommandVariables(server, tls: tls).environment)
            }
            // Clients can connect; they wait for the loops.
            try pidFile?.publish()
            try sandbox.enter(rules(of: settings, exports, server, privateSocket))
            // Another user would have to ask the kernel again.
            try parent?.endTogether()
        } catch {
            server.abandon()
            throw error
        }
        let exposed = (tls?.credentials.warnings ?? []) + (targets.secrets?.warnings ?? [])
        warn(of: settings, exports, exposed + sandbox.warnings, logger)
        logger.warn(exports.warnings)
        let registry = ExportRegistry(
            exports, settings: settings, control: server.control, logger: logger,
            deniedHint: self.sandbox.sandbox == .off ? nil : SandboxOptions.deniedHint)
        let reloading = config.map {
            Reloading(
                path: $0, controller: controller, users: users, commandLine: commandLine, registry: registry,
                started: settings, logs: logs, manager: manager, isSandboxed: self.sandbox.sandbox != .off)
        }
        // A failure to read again has been logged.
        let reload = { _ = try? reloading?.perform() }
        let status = try server.run(signals: signals, command: command, manager: manager, reload: reload) {
            users.seal()
            try sandbox.filterSystemCalls(command: command?.process, datagrams: manager.descriptor)
            registry.watchDirectories()
            try operators.start(program(of: server, users, registry, reloading, logs))
            // Nothing but the command prints.
            if command == nil { try announce(server, isEncrypted: settings.tls.mode == .require) }
            manager.tellReady()
        }
        if let status, status != 0 { throw ExitCode(status) }
    }

    /// Tells what is probably not meant. A server may have nothing to serve yet.
    private func warn(of settings: ServeSettings, _ exports: OpenedExports, _ warnings: [String], _ logger: Logger) {
        for warning in warnings + settings.unmetProtection.map(\.description) { logger.warning("\(warning)") }
        for error in settings.missingUnits(present: Set(exports.served.map(\.name))) { logger.warning("\(error)") }
        guard settings.exports.isEmpty, settings.directories.isEmpty else { return }
        logger.warning("nothing to serve: the configuration has no [[export]], [[template]] or [[directory]]")
    }

    /// The files that the sandbox leaves to the server.
    private func rules(
        of settings: ServeSettings, _ exports: OpenedExports, _ server: Server, _ privateSocket: PrivateSocket?
    ) -> Sandbox.Rules {
        var rules = Sandbox.Rules(
            of: settings, file: config, endpoints: server.endpoints + control.endpoints,
            isControlled: control.control != nil)
        rules.owned = exports.served.flatMap(\.madeFiles).compactMap(\.descriptor)
        if let path = process.pidFile { rules.removable.append(path) }
        if let privateSocket { rules.removableFolders.append(privateSocket.folder) }
        return rules
    }

    /// The program that the control socket controls.
    private func program(
        of server: Server, _ users: UserNames, _ registry: ExportRegistry, _ reloading: Reloading?, _ logs: Logs
    ) -> ControlledProgram {
        let handle = server.control
        let sandbox = sandbox
        var reload: (@Sendable () throws -> [String])?
        if let reloading { reload = { try reloading.perform() } }
        return ControlledProgram(
            version: Spindle.configuration.version, endpoints: server.endpoints, server: handle, users: users,
            add: { export in
                do {
                    return try registry.add(export)
                } catch {
                    throw sandbox.explaining(error)
                }
            },
            fork: { export, new, snapshot, changes in
                do {
                    return try registry.fork(export, to: new, snapshot: snapshot, changes: changes)
                } catch {
                    throw sandbox.explaining(error)
                }
            },
            insert: { image, export, isForced in
                do {
                    return try registry.insert(image, into: export, isForced: isForced)
                } catch {
                    throw sandbox.explaining(error)
                }
            },
            reload: reload, metrics: { Array(handle.metrics().utf8) }, logs: logs)
    }

    private func configuration(_ users: UserNames) throws -> Configuration {
        try Configuration(path: config, controller: controller, users: users, commandLine: commandLine)
    }

    /// The drives of images given here.
    private var drive: DriveSettings {
        var drive = DriveSettings()
        drive.device = device ?? DriveProperties()
        drive.cache = cache ?? .writeback
        drive.readOnly = readOnly
        drive.format = imageFormat
        drive.imageSnapshot = imageSnapshot
        drive.writeCacheModel = writeCacheModel ?? .image
        drive.faults = fault
        drive.isLocked = locking ?? true
        return drive
    }

    /// The command line's settings, on top of the file's.
    private var commandLine: @Sendable (ServeSettings) -> ServeSettings {
        var settings = ServeSettings()
        settings.endpoints = listen
        settings.targetPrefix = targetPrefix
        settings.chap = chap
        settings.chapTarget = chapTarget
        settings.reservations = reservations
        settings.threads = threads
        settings.controller = controller
        settings.logFormat = log.logFormat
        settings.logLevel = log.logLevel
        settings.tls = tls.files
        settings.limits = limits.settings
        return { [settings, drive, images, controller, changes, record, state, perClient] file in
            var settings = settings
            var drive = drive
            drive.controller = controller ?? file.controller ?? .piix3IDE
            for image in images {
                switch image {
                case .export(var export):
                    export.drive = drive
                    export.changes = changes
                    export.record = record
                    export.state = state
                    export.isPerClient = perClient
                    settings.exports.append(export)
                case .directory(var directory):
                    directory.drive = drive
                    settings.directories.append(directory)
                }
            }
            return settings
        }
    }

    /// A mistake in several places is told in as many lines.
    private func reporting<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let errors as SettingsErrors {
            throw fail(all(errors))
        }
    }

    /// A file's mistakes, and those in everything that it names.
    private func all(_ errors: SettingsErrors) -> SettingsErrors {
        guard let config else { return errors }
        do throws(SettingsErrors) {
            _ = try SettingsCheck(of: config)
            return errors
        } catch {
            return error.errors.count > errors.errors.count ? error : errors
        }
    }

    /// A line for each export and endpoint: what it is, and what a client connects to.
    private func announce(_ server: Server, isEncrypted: Bool) throws {
        guard !server.endpoints.contains(.standardInput) else { return }
        var lines = ""
        // There may be files in a directory later.
        if server.information.isEmpty { lines += "serving nothing yet at \(server.endpoints[0])\n" }
        for information in server.information {
            let name = String(decoding: information.name, as: UTF8.self)
            let description = String(decoding: information.description, as: UTF8.self).visible
            for endpoint in server.endpoints {
                if information.pattern != nil {
                    guard endpoint.frontEnd == .nbd else { continue }
                    lines +=
                        "serving \(name.quoted), one for each name that is asked for, at \(endpoint): \(description)\n"
                    continue
                }
                guard let uri = server.uri(ofExport: name, at: endpoint, isEncrypted: isEncrypted) else { continue }
                lines += "serving \(name.quoted) at \(uri): \(description)\n"
            }
        }
        // A client that starts its server by passing it a socket prints its own results there (nbdinfo, nbdcopy).
        if server.hasInheritedSockets {
            try writeToStandardError(Array(lines.utf8))
        } else {
            try writeToStandardOutput(Array(lines.utf8))
        }
    }
}
