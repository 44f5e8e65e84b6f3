// The API acts on this: the running program, as the command line put it together.

import Listening
import Logs
import Server
import Settings

/// The program behind a control socket. Its functions may be called by any thread, several at a time.
public struct ControlledProgram: Sendable {
    /// The program's version.
    public var version: String
    /// Where it listens for NBD clients.
    public var endpoints: [Endpoint]
    /// The server's handle.
    public var server: ServerControl
    /// Users that may be named as clients of an export.
    public var users: UserNames
    /// Opens the image of an export and serves it.
    public var add: @Sendable (ExportSettings) throws -> AddedExport
    /// Serves another overlay that begins as one is, or was at a snapshot, with its changes in a file, or in memory.
    public var fork: Fork
    /// See ``fork``.
    public typealias Fork =
        @Sendable (
            _ export: String, _ new: String, _ snapshot: String?, _ changes: String?
        ) throws -> AddedExport
    /// Puts a disc into a DVD-ROM; nil: the one that is in its tray, or the export's own.
    public var insert: @Sendable (_ image: String?, _ export: String, _ isForced: Bool) throws -> AddedExport
    /// Reads the configuration again and says what changed; nil: there is none.
    public var reload: (@Sendable () throws -> [String])?
    /// The counters, as Prometheus reads them.
    public var metrics: @Sendable () -> [UInt8]
    /// The log, whose level can be changed, and where changes are written down.
    public var logs: Logs

    /// Puts a program together.
    public init(
        version: String, endpoints: [Endpoint], server: ServerControl, users: UserNames,
        add: @escaping @Sendable (ExportSettings) throws -> AddedExport,
        fork: @escaping Fork,
        insert: @escaping @Sendable (_ image: String?, _ export: String, _ isForced: Bool) throws -> AddedExport,
        reload: (@Sendable () throws -> [String])?,
        metrics: @escaping @Sendable () -> [UInt8], logs: Logs
    ) {
        self.version = version
        self.endpoints = endpoints
        self.server = server
        self.users = users
        self.add = add
        self.fork = fork
        self.insert = insert
        self.reload = reload
        self.metrics = metrics
        self.logs = logs
    }
}
