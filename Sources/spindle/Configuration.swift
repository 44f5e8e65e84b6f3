// The settings of a server, from its command line and its file; both again when it is told to reload.

import ATA
import ArgumentParser
import Glibc
import Listening
import Logs
import Server
import Settings

/// Settings and the file that some of them stand in.
struct Configuration {
    let file: SettingsFile?
    let settings: ServeSettings

    /// Reads the file, adds the command line, and checks whether all of it fits together.
    ///
    /// - Parameters:
    ///   - controller: that of the command line.
    ///   - users: who may be named as a client.
    ///   - commandLine: makes settings of the command line, given what the file says.
    init(
        path: String?, controller: Controller?, users: UserNames, commandLine: (ServeSettings) -> ServeSettings
    ) throws {
        file = try path.map { path throws(SettingsErrors) in
            try SettingsFile(reading: path, controller: controller, users: users)
        }
        let base = file?.settings ?? ServeSettings()
        settings = base.overridden(by: commandLine(base))
        if let name = settings.ambiguousNames.first {
            throw ValidationError("two exports are named '\(name)'; give one another name: NAME=IMAGE")
        }
        do {
            try Endpoint.check(settings.endpoints)
            for drive in settings.exports.map(\.drive) + settings.directories.map(\.drive) {
                try drive.device.checkPlace(on: drive.controller)
            }
            for export in settings.exports {
                try export.checkDisc()
                try export.checkPerClient()
            }
        } catch {
            throw ValidationError("\(error)")
        }
        try TLSOptions.check(settings.tls)
        if file == nil, let collision = settings.targetCollisions.first {
            throw ValidationError("export '\(collision.export)': \(collision.message)")
        }
        if let file {
            let errors = file.dilemmas(settings) + file.collisions(settings)
            guard errors.isEmpty else { throw SettingsErrors(file: file.path, errors) }
        }
    }

    /// Does something whose mistakes stand in the file, or on the command line.
    func locating<Result>(_ body: () throws(SettingsError) -> Result) throws -> Result {
        do throws(SettingsError) {
            return try body()
        } catch {
            guard let file, let line = file.located(error).line else { throw error }
            throw SettingsErrors(
                file: file.path, [SettingsError(line: line, place: error.place, error.message)])
        }
    }
}

/// Reads the configuration again.
struct Reloading: Sendable {
    let path: String
    let controller: Controller?
    let users: UserNames
    let commandLine: @Sendable (ServeSettings) -> ServeSettings
    let registry: ExportRegistry
    /// The settings that the server has begun with.
    let started: ServeSettings
    let logs: Logs
    let manager: ServiceManager
    /// Files that the server did not begin with may be out of reach.
    let isSandboxed: Bool

    /// Makes the server that of the new settings as far as that is possible while it runs.
    ///
    /// - Returns: what has changed, for people.
    func perform() throws -> [String] {
        manager.tellReloading()
        defer { manager.tellReady() }
        do {
            let new = try Configuration(
                path: path, controller: controller, users: users, commandLine: commandLine)
            guard let file = new.file else { preconditionFailure("the path leads to a file") }
            let old = registry.settings
            let logger = logs.logger(label: "spindle")
            let tls = try new.settings.tls.open()
            let targets = try new.locating(new.settings.targets)
            var lines = try registry.reload(new.settings, file: file)
            // A level that an operator has changed since then stays.
            if let level = new.settings.logLevel, level != old.logLevel { logs.level = level }
            var warnings = new.settings.unmetProtection.map(\.description)
            if let tls, registry.control.replace(tls: tls) { warnings += tls.credentials.warnings }
            if let secrets = targets.secrets, let present = registry.control.targets.secrets {
                registry.control.replace(secretsOf: targets)
                warnings += secrets.warnings
                if !secrets.isSame(as: present) { lines.append("CHAP has new secrets, for logins from now on") }
            }
            for warning in warnings { logger.warning("\(warning)") }
            let keys = started.keysThatNeedRestart(to: new.settings)
            if !keys.isEmpty {
                lines.append("only a restart takes up what has changed of: \(keys.joined(separator: ", "))")
            }
            for line in lines {
                logger.notice("configuration read again", metadata: ["file": "\(path)", "change": "\(line)"])
            }
            return lines
        } catch {
            var lines = (error as? SettingsErrors)?.lines ?? ["\(error)"]
            let denied = unsafe String(cString: strerror(EACCES))
            if isSandboxed, lines.contains(where: { $0.contains(denied) }) {
                lines.append(SandboxOptions.deniedHint)
            }
            for line in lines {
                logs.logger(label: "spindle").error(
                    "configuration not read again: nothing has changed",
                    metadata: ["file": "\(path)", "reason": "\(line)"])
            }
            throw error
        }
    }
}
