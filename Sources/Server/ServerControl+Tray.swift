// Discs come and go: what an operator does to the tray of a DVD-ROM.

import Backends
import IOUring
import Logging
import Loop

/// The tray of a DVD-ROM as an operator sees it.
public struct TrayStatus: Equatable, Sendable {
    /// A host, or an operator, has opened it.
    public var isOpen: Bool
    /// A host wants it to stay closed.
    public var isLocked: Bool
    /// The disc in it; nil: there is none.
    public var image: String?

    init?(_ entry: ExportEntry) {
        let drive = entry.drive
        guard drive.hasTray else { return nil }
        isOpen = drive.drive.trayIsOpen
        isLocked = drive.drive.trayIsLocked
        image = drive.sectorCount == 0 ? nil : entry.image
    }
}

extension ServerControl {
    /// Takes the disc out of a DVD-ROM, and leaves the tray open. Clients of NBD are disconnected when what they have
    /// in flight is done; initiators stay.
    ///
    /// - Parameter isForced: also if a host has locked the tray. Else it is told of the wish.
    public func eject(_ name: String, isForced: Bool) throws(ServerError) -> ExportStatus {
        let entry = try trayEntry(name)
        return try operate(entry) { () throws(ServerError) in
            try takeOut(entry, isForced: isForced)
            loops.logger.notice("disc ejected", metadata: ["export": "\(name)"])
            return status(of: entry)
        }
    }

    /// Puts a disc into a DVD-ROM. One that is in it is ejected first.
    ///
    /// - Parameters:
    ///   - backend: the disc, which is the server's from now on, whatever comes of it.
    ///   - image: its name, for people.
    public func insert(
        _ backend: Backend, image: String, into name: String, isForced: Bool
    ) throws(ServerError) -> ExportStatus {
        var isTaken = false
        defer { if !isTaken { backend.close() } }
        let entry = try trayEntry(name)
        let blocks = entry.drive.blockSize.blocks(holdingBytes: backend.sizeBytes)
        return try operate(entry) { () throws(ServerError) in
            try takeOut(entry, isForced: isForced)
            isTaken = true
            guard try exchange(entry, for: backend, image: image) else { throw .discInUse(name) }
            _ = try ask { () throws(RingError) in try loops.change(entry, .insert(sectors: blocks)) }
            try shared.exports.refresh(entry)
            loops.logger.notice("disc inserted", metadata: ["export": "\(name)", "image": "\(image)"])
            return status(of: entry)
        }
    }

    /// Closes the tray over the disc that a host has left in it.
    ///
    /// - Returns: nil if there is none.
    public func closeTray(_ name: String) throws(ServerError) -> ExportStatus? {
        let entry = try trayEntry(name)
        return try operate(entry) { () throws(ServerError) in
            let drive = entry.drive
            guard drive.sectorCount > 0 else { return nil }
            guard drive.drive.trayIsOpen else { throw .trayIsClosed(name) }
            _ = try ask { () throws(RingError) in try loops.change(entry, .closeTray) }
            loops.logger.notice("tray closed", metadata: ["export": "\(name)"])
            return status(of: entry)
        }
    }

    private func trayEntry(_ name: String) throws(ServerError) -> ExportEntry {
        let entry = try drive(named: name)
        guard entry.drive.hasTray else { throw .noTray(name) }
        return entry
    }

    private static var noDisc: Backend { Backend(nullOfSize: 0, readOnly: true) }

    /// Opens the tray, and closes the disc's image once nothing uses it.
    private func takeOut(_ entry: ExportEntry, isForced: Bool) throws(ServerError) {
        let left = try ask { () throws(RingError) in try loops.change(entry, .eject(isForced: isForced)) }
        guard left == 0 else { throw .trayIsLocked(entry.name) }
        try shared.exports.refresh(entry)
        guard try exchange(entry, for: Self.noDisc, image: "") else { throw .discInUse(entry.name) }
    }

    /// - Returns: whether nothing uses the old medium any more, which is closed then.
    private func exchange(_ entry: ExportEntry, for backend: Backend, image: String) throws(ServerError) -> Bool {
        let old = entry.exchange(backend, image: image)
        let isFree = try ask { () throws(RingError) in try loops.takeMedium(of: entry) }
        if isFree { old.close() } else { entry.closeLater(old) }
        return isFree
    }
}
