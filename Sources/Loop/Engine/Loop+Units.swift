// Only the home loop changes a unit's state, and publishes the new one to all loops.

import Export

/// Something that changes the state of a unit for all who use it.
public enum UnitChange: Sendable {
    /// The medium has so many sectors; a drive never shrinks.
    case size(sectors: UInt64)
}

extension Loop {
    /// Changes the drive of an export whose home this loop is. The loops serve the drive as it was until they have read
    /// their mail: each request meets one of the two.
    ///
    /// - Returns: the sectors that the drive has now.
    mutating func change(_ entry: ExportEntry, _ change: UnitChange) -> UInt64 {
        precondition(entry.homeLoop == index, "another loop is the unit's home")
        var drive = entry.drive
        switch change {
        case .size(let sectors):
            drive.resize(toSectors: max(sectors, drive.sectorCount))
        }
        entry.publish(drive)
        shared.postToAll(.refresh(entry))
        return drive.sectorCount
    }

    /// What initiators have reserved holds for clients of NBD, too.
    mutating func noteReservations(_ export: ExportNumber) {
        let strangers = exports[export].server.strangers
        guard strangers != exports[export].served.strangers else { return }
        exports[export].served.strangers = strangers
        publishUnit(export)
    }

    /// A command of an initiator may have changed the unit, whose home this loop is.
    mutating func publishUnit(_ export: ExportNumber) {
        let entry = exports[export].entry
        precondition(entry.homeLoop == index, "another loop is the unit's home")
        entry.publish(exports[export].served)
        shared.postToAll(.refresh(entry))
    }

    /// Takes over the drive that the home loop has published. Connected clients know the old size. But one can tell
    /// Linux's driver the new one while its device is in use, so old connections are served beyond the old end, too.
    mutating func refresh(_ entry: ExportEntry) {
        guard exports.contains(entry.number), exports[entry.number].entry === entry else { return }
        let drive = entry.drive
        if drive.sectorCount != exports[entry.number].served.sectorCount {
            exports[entry.number].server.capacityChanged()
        }
        exports[entry.number].served = drive
        for slot in usedSlots where connections[slot].entry === entry {
            resizeUnit(of: slot, to: drive.sizeBytes)
        }
    }
}
