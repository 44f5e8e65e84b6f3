// The exports as clients find them.

import NBD

/// The exports as a handshake sees them: a value that stays as it is.
public struct ExportDirectory: Sendable {
    /// In their order, the first of which answers to the empty name.
    public var entries: [ExportEntry]
    /// The facts of each export that clients are told.
    public var information: [ExportInformation]
    /// How often it has changed.
    public var version: Int

    /// A directory of exports, or of none.
    public init(entries: [ExportEntry] = [], information: [ExportInformation] = [], version: Int = 0) {
        self.entries = entries
        self.information = information
        self.version = version
    }

    /// Those that clients can find. Nobody finds what was made for another connection, or has gone with its last
    /// client.
    var visible: ExportDirectory {
        let indices = entries.indices.filter { entries[$0].isVisible }
        guard indices.count < entries.count else { return self }
        return ExportDirectory(
            entries: indices.map { entries[$0] }, information: indices.map { information[$0] }, version: version)
    }

    /// The export of a name.
    public func entry(named name: String) -> ExportEntry? { entries.first { $0.name == name } }

    /// The export that initiators find at a place, or that keeps others away from it.
    public func occupant(of place: TargetPlace) -> ExportEntry? {
        entries.first { $0.target?.collides(with: place) == true }
    }
}

/// Where the loops of a server find its exports. No request asks.
public protocol ExportSource: AnyObject, Sendable {
    /// The exports for a handshake that begins now.
    var directory: ExportDirectory { get }

    /// Pages of mapped images no longer count as memory of this process.
    func dropMappedPages()

    /// An initiator has made a drive larger or smaller: handshakes that begin later are told.
    func noteSize(of entry: ExportEntry)

    /// A withdrawn export has lost its last connection.
    func noteEnd()

    /// Has a thread make an export.
    ///
    /// - Returns: false if too many are to be made already.
    func make(_ making: ExportMaking) -> Bool
}
