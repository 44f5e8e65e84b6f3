// Settings for a server, from all places together.

import ATA
import Backends
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
    /// The text before the names of exports in those of their targets.
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

    /// The settings of all targets; reads the secrets.
    public func targets() throws(SettingsError) -> TargetSettings {
        var targets = TargetSettings(prefix: targetPrefix ?? .standardPrefix)
        do throws(TLSCredentialsError) {
            targets.secrets = try chap.map { path throws(TLSCredentialsError) in try CHAPSecrets(initiators: path) }
        } catch {
            throw SettingsError(place: "chap", "\(error)")
        }
        guard let chapTarget else { return targets }
        guard targets.secrets != nil else {
            let message = "the target's own secret needs those of initiators, too: it is nothing without chap"
            throw SettingsError(place: "chap-target", message)
        }
        do throws(TLSCredentialsError) {
            try targets.secrets?.readTarget(chapTarget)
        } catch {
            throw SettingsError(place: "chap-target", "\(error)")
        }
        return targets
    }

    /// Opens the folder that keeps persistent reservations; nil: there is none.
    public func reservationFolder() throws(SettingsError) -> ReservationFolder? {
        do throws(ReservationFolderError) {
            return try reservations.map { path throws(ReservationFolderError) in try ReservationFolder(path) }
        } catch {
            throw SettingsError(place: "reservations", "\(error)")
        }
    }

    /// Protection that is asked for, and that clients get past: probably not what was meant.
    public var unmetProtection: [SettingsError] {
        var unmet: [SettingsError] = []
        if let endpoint = endpoints.first(where: { $0.frontEnd == .iscsi }) {
            let areAllKept = (exports.map(\.drive) + directories.map(\.drive)).allSatisfy(\.requiresTLS)
            if tls.mode == .require, !areAllKept {
                let message =
                    "TLS is required of clients of NBD only: iSCSI has none, and all data are in the clear at \(endpoint); "
                    + "tls-only keeps initiators from an export"
                unmet.append(SettingsError(place: "tls.mode", message))
            }
            return unmet
        }
        if chap != nil {
            let message =
                "only iSCSI initiators are asked for a secret, and there is no iSCSI endpoint: clients of NBD are let in "
                + "without one; access and TLS keep them out"
            unmet.append(SettingsError(place: "chap", message))
        }
        return unmet + targetTables.compactMap(\.unmetAccess)
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
