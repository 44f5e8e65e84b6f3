// Only the home loop changes a unit's state, and publishes the new one to all loops.

import Export
import Units

/// Something that changes the state of a unit for all who use it.
public enum UnitChange: Sendable {
    /// The medium has so many sectors; a drive never shrinks.
    case size(sectors: UInt64)
    /// The tray opens, and the disc is gone. Unless it is forced, a locked tray keeps it.
    case eject(isForced: Bool)
    /// The tray closes over a disc of so many blocks.
    case insert(sectors: UInt64)
    /// The tray closes over the disc in it.
    case closeTray
    /// Something is done to the faults of a whole disk.
    case faults(FaultOrder)
}

extension Loop {
    /// Changes the drive of an export whose home this loop is. The loops serve the drive as it was until they have read
    /// their mail: each request meets one of the two.
    ///
    /// - Returns: the sectors that the drive has now.
    mutating func change(_ entry: ExportEntry, _ change: UnitChange) -> UInt64 {
        precondition(entry.homeLoop == index, "another loop is the unit's home")
        let isOpen = isOpen(entry)
        // The drive's memory beside what all loops know is here alone.
        var drive = isOpen ? exports[entry.number].served : entry.drive
        let before = drive.sectorCount
        switch change {
        case .size(let sectors):
            drive.resize(toSectors: max(sectors, before))
        case .eject(let isForced): drive.eject(isForced: isForced)
        case .insert(let sectors): drive.resize(toSectors: sectors)
        case .closeTray: drive.closeTray()
        case .faults(let order): drive.carryOut(order, at: clock.turnStart)
        }
        if isOpen {
            exports[entry.number].served = drive
            if drive.hasTray {
                exports[entry.number].server.operatorActed(on: drive)
            } else if drive.sectorCount != before {
                exports[entry.number].server.capacityChanged()
            }
        }
        entry.publish(drive)
        shared.postToAll(.refresh(entry))
        return drive.sectorCount
    }

    func isOpen(_ entry: ExportEntry) -> Bool {
        exports.contains(entry.number) && exports[entry.number].entry === entry
    }

    /// Reservations of initiators hold for clients of NBD, too.
    mutating func noteReservations(_ export: ExportNumber) {
        let strangers = exports[export].server.strangers
        guard strangers != exports[export].served.strangers else { return }
        exports[export].served.strangers = strangers
        publishUnit(export)
    }

    /// A tray stays locked for as long as an initiator is there that has locked it.
    mutating func unlockTray(_ export: ExportNumber) {
        guard exports[export].served.drive.trayIsLocked else { return }
        exports[export].served.drive.unlockTray()
        publishUnit(export)
    }

    /// A command of an initiator may have changed the unit, whose home this loop is.
    mutating func publishUnit(_ export: ExportNumber) {
        let entry = exports[export].entry
        precondition(entry.homeLoop == index, "another loop is the unit's home")
        let before = entry.drive.sizeBytes
        entry.publish(exports[export].served)
        shared.postToAll(.refresh(entry))
        if exports[export].served.sizeBytes != before { shared.exports.noteSize(of: entry) }
    }

    /// Takes over the drive that the home loop has published. Connected clients know the old size. But one can tell
    /// Linux's driver the new one while its device is in use, so old connections are served beyond the old end, too.
    mutating func refresh(_ entry: ExportEntry) {
        guard isOpen(entry) else { return }
        let drive = entry.drive
        // The home loop has it already, and may have changed it again.
        if entry.homeLoop != index { exports[entry.number].served = drive }
        for slot in usedSlots where connections[slot].entry === entry {
            resizeUnit(of: slot, to: drive.sizeBytes)
        }
    }
}
