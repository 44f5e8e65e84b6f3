// Settings for a server, from all places together.

import ATA
import ISCSI
import Listening
import Logging
import Logs
import Loop
import Server
import TLS

/// A server as its user describes it. Nil stands for a missing setting.
public struct ServeSettings: Equatable, Sendable {
    /// Where to listen.
    public var endpoints: [Endpoint] = []
    /// What stands before the names of exports in those of their targets.
    public var targetPrefix: TargetName?
    /// The file of initiators' CHAP secrets.
    public var chap: String?
    /// The file of the target's own.
    public var chapTarget: String?
    /// The folder that keeps persistent reservations.
    public var reservations: String?
    /// How many loops.
    public var threads: Int?
    /// The controller of drives that name none.
    public var controller: Controller?
    /// The form of the log's lines.
    public var logFormat: LogFormat?
    /// The least severe level of the log.
    public var logLevel: Logger.Level?
    /// Keys.
    public var tls = TLSFiles()
    /// Bounds.
    public var limits = LimitSettings()
    /// The drives.
    public var exports: [ExportSettings] = []
    /// Directories whose files are drives.
    public var directories: [DirectorySettings] = []
    /// Targets of several drives.
    public var targetTables: [TargetTable] = []

    /// How many threads there may be.
    public static let threadRange = 1...256

    /// Nothing said.
    public init() {}

    /// These, with what the command line says before what a file says; drives and endpoints of both.
    public func overridden(by other: ServeSettings) -> ServeSettings {
        var both = self
        both.endpoints += other.endpoints
        both.targetPrefix = other.targetPrefix ?? targetPrefix
        both.chap = other.chap ?? chap
        both.chapTarget = other.chapTarget ?? chapTarget
        both.reservations = other.reservations ?? reservations
        both.threads = other.threads ?? threads
        both.controller = other.controller ?? controller
        both.logFormat = other.logFormat ?? logFormat
        both.logLevel = other.logLevel ?? logLevel
        both.tls = tls.overridden(by: other.tls)
        both.limits = limits.overridden(by: other.limits)
        both.exports += other.exports
        both.directories += other.directories
        both.targetTables += other.targetTables
        return both
    }

    /// What all targets have in common; reads the secrets.
    public func targets() throws -> TargetSettings {
        if chap == nil, chapTarget != nil {
            throw SettingsError(
                "the target's own secret needs those of initiators, too: chap-target is nothing without chap")
        }
        let secrets = try chap.map { try CHAPSecrets(initiators: $0, target: chapTarget) }
        return TargetSettings(prefix: targetPrefix ?? .standardPrefix, secrets: secrets)
    }

    /// The names that more than one drive has.
    public var ambiguousNames: [String] {
        var seen: Set<String> = []
        var ambiguous: [String] = []
        for export in exports where !seen.insert(export.name).inserted { ambiguous.append(export.name) }
        return ambiguous
    }
}

/// A format of the log by its name.
public func parseLogFormat(_ text: String) throws(BadValue) -> LogFormat {
    guard let format = LogFormat(rawValue: text) else {
        throw BadValue(text, "log format", allowed: LogFormat.allCases.map(\.rawValue))
    }
    return format
}

/// A level by its name.
public func parseLogLevel(_ text: String) throws(BadValue) -> Logger.Level {
    guard let level = Logger.Level(rawValue: text) else {
        throw BadValue(text, "log level", allowed: Logger.Level.allCases.map(\.rawValue))
    }
    return level
}
