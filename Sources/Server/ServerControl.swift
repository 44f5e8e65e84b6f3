// What an operator may want of a running server.

import IOUring
import Logging
import Media
import Synchronization

/// An export as an operator sees it.
public struct ExportStatus: Equatable, Sendable {
    /// What clients ask for.
    public var name: String
    /// What it tells people.
    public var description: String
    /// The drive's size.
    public var sizeBytes: UInt64
    /// Nothing can be written.
    public var isReadOnly: Bool
    /// Only clients with TLS may open it.
    public var requiresTLS: Bool
    /// How many connections have it open.
    public var connections: Int
    /// It is removed, and waits for the last of them to end.
    public var isDraining: Bool
    /// What its clients have done.
    public var totals: ExportTotals
}

/// A connection as an operator sees it.
public struct ConnectionStatus: Equatable, Sendable {
    /// No other connection of this server has, had or will have it.
    public var number: UInt64
    /// Where the client is.
    public var client: String
    /// Who it has proved to be.
    public var identity: String?
    /// What it has open; nil in the handshake.
    public var export: String?
    /// It has begun TLS.
    public var isEncrypted: Bool
    /// Its age.
    public var seconds: Int
    /// Requests that have begun and are not answered.
    public var requestsInFlight: Int
    /// The loop that serves it.
    public var loop: Int
}

/// What happens to the clients of an export that is removed.
public enum RemovalMode: String, CaseIterable, Sendable {
    /// It is removed only if there are none.
    case safe
    /// They may go on; the export ends with the last of them, and nobody new may open it.
    case drain
    /// What they have in flight is finished, then they are disconnected.
    case force
}

/// The handle of a running server for whoever operates it. Its calls may wait, for disks and for loops: they are not for
/// the loops themselves.
public final class ServerControl: Sendable {
    let shared: SharedState

    init(_ shared: SharedState) {
        self.shared = shared
    }

    /// All exports, in their order; behind them those that wait for their last client.
    public func exports() -> [ExportStatus] {
        let directory = shared.exports.directory
        let present = zip(directory.entries, directory.information).map { entry, information in
            ExportStatus(entry, information.description, sizeBytes: information.sizeBytes, isDraining: false)
        }
        let withdrawn = shared.exports.withdrawn.map { entry in
            ExportStatus(entry, nil, sizeBytes: entry.drive.sectorCount * 512, isDraining: true)
        }
        return present + withdrawn
    }

    /// Adds an export, which can be opened from then on.
    public func add(_ export: ServedExport) throws(ServerError) {
        try shared.exports.add(export)
        shared.logger.notice("export added", metadata: ["export": "\(export.name)"])
    }

    /// Puts exports into an order, of which the first answers to the empty name; those that are not named come behind.
    public func arrange(_ names: [String]) {
        shared.exports.arrange(names)
    }

    /// Gives the server other keys, and other wishes for clients: for connections from now on. It has to have TLS.
    public func replace(tls: TLSSettings) {
        shared.tls = tls
    }

    /// Removes an export. Except for `drain` this returns when its image is stable and closed.
    public func remove(_ name: String, _ mode: RemovalMode) throws(ServerError) {
        let entry = try shared.exports.withdraw(name, onlyIfUnused: mode == .safe)
        shared.logger.notice("export removed", metadata: ["export": "\(name)", "mode": "\(mode)"])
        if mode == .force { shared.postToAll(.endConnections(entry)) }
        shared.exportsEnded.signal()
        guard mode != .drain else { return }
        // The loops end the connections in time; the disk takes what it takes.
        guard entry.ended.wait(seconds: shared.limits.shutdownSeconds + 30) else { throw .stillInUse(name) }
        if let reason = entry.failure { throw .flush([.init(name: name, reason: reason)]) }
    }

    /// Makes an export's image and drive larger, for clients that open it from then on.
    ///
    /// - Parameter sizeBytes: the new size; nil: the image's own, which somebody else has made larger.
    /// - Returns: the size of the drive in bytes.
    public func grow(_ name: String, toBytes sizeBytes: UInt64?) throws(ServerError) -> UInt64 {
        guard let entry = shared.exports.directory.entry(named: name) else { throw .noSuchExport(name) }
        let present = entry.drive.sectorCount
        let image: UInt64
        do {
            image = try entry.definition.medium.grow(toBytes: sizeBytes)
        } catch {
            throw .cannotGrow(name, reason: "\(error)")
        }
        let sectors = ImageReference.sectors(sizeBytes: image)
        guard sectors >= present, sectors <= ImageReference.maximumSectors else {
            throw .cannotGrow(
                name,
                reason: "it has \(present) sectors, its image \(sectors); a drive never shrinks, and has at most"
                    + " \(ImageReference.maximumSectors) sectors")
        }
        let grown = try shared.exports.grow(name, toSectors: sectors)
        shared.postToAll(.refresh(grown))
        shared.logger.notice("export grown", metadata: ["export": "\(name)", "sectors": .stringConvertible(sectors)])
        return sectors * 512
    }

    /// All connections.
    public func connections() throws(ServerError) -> [ConnectionStatus] {
        let answers = try gather { .listConnections($0) } as [ConnectionStatus]
        return answers.sorted { $0.number < $1.number }
    }

    /// Ends a connection at once.
    public func drop(connection number: UInt64) throws(ServerError) {
        guard try gather({ .drop(number, $0) }).contains(true) else { throw .noSuchConnection(number) }
    }

    private func gather<Value>(
        _ command: (Gathered<Value>) -> LoopCommand
    ) throws(ServerError) -> [Value] {
        let gathered: Gathered<Value>
        do {
            gathered = try Gathered(loops: shared.loopCount)
        } catch {
            throw .ring(error)
        }
        shared.postToAll(command(gathered))
        guard let values = gathered.wait() else { throw .stopping }
        return values
    }
}

extension ExportStatus {
    init(_ entry: ExportEntry, _ description: [UInt8]?, sizeBytes: UInt64, isDraining: Bool) {
        self.init(
            name: entry.name, description: description.map { String(decoding: $0, as: UTF8.self) } ?? "",
            sizeBytes: sizeBytes, isReadOnly: entry.definition.medium.isReadOnly,
            requiresTLS: entry.definition.requiresTLS, connections: entry.connectionCount, isDraining: isDraining,
            totals: ExportTotals(entry))
    }
}

/// Makes the images of removed exports stable, and closes them, when their last client has gone.
func closeEndedExports(_ shared: SharedState) {
    while true {
        shared.exportsEnded.wait()
        shared.closing.withLock { _ in
            for entry in shared.exports.takeEnded() {
                entry.end(shared.logger)
                shared.exports.forget(entry)
            }
        }
    }
}
