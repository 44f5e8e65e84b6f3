// The logical units of a session's target. Each is an export of its own; a task's request is to the unit that it names.
// They come and go while a session lasts (SPC-4, REPORTED LUNS DATA HAS CHANGED).

import Counters
import IOUring
import ISCSI
import Logging
import Units

extension Loop {
    /// A session becomes an I_T nexus of a unit that it has opened.
    ///
    /// - Returns: false if the unit has as many as it can have.
    mutating func connect(to unit: ExportNumber, _ slot: ConnectionSlot) -> Bool {
        let port = sessions.iscsi[slot].session.initiator.portName
        guard
            let nexus = exports[unit].server.connect(
                initiatorPort: port, mediaEvents: exports[unit].served.drive.mediaEvents)
        else { return false }
        let number = exports[unit].entry.target?.logicalUnit ?? 0
        let index = sessions.iscsi[slot].units.firstIndex { $0.logicalUnit > number }
        let new = SessionUnit(logicalUnit: number, export: unit, nexus: nexus)
        sessions.iscsi[slot].units.insert(new, at: index ?? sessions.iscsi[slot].units.count)
        setInventories(slot, isNews: false)
        return true
    }

    /// Opens the units of a target behind the first one. One that cannot be opened is not there for this session.
    mutating func openFurtherUnits(_ slot: ConnectionSlot) {
        let entries = sessions.iscsi[slot].further
        sessions.iscsi[slot].further = []
        guard !sessions.iscsi[slot].units.isEmpty else { return }
        for entry in entries { open(entry, slot, isNews: false) }
    }

    /// A target has one more unit: its sessions are told. One that still has the unit that had this number before
    /// keeps that, and one that has lost its last unit ends all the same.
    mutating func openAddedUnit(_ entry: ExportEntry) {
        guard !isStopping else { return }
        for slot in usedSlots
        where connections[slot].frontEnd == .iscsi && connections[slot].phase == .transmission
            && connections[slot].endsAt == nil
            && connections[slot].entry?.target?.name == entry.target?.name && !hasOpen(entry, slot)
            && mayOpen(entry, slot) && !hasUnit(numbered: entry.target?.logicalUnit, slot)
        {
            open(entry, slot, isNews: true)
        }
    }

    private func hasUnit(numbered number: UInt8?, _ slot: ConnectionSlot) -> Bool {
        sessions.iscsi[slot].units.contains { $0.leavesAt == nil && $0.logicalUnit == number }
    }

    private mutating func open(_ entry: ExportEntry, _ slot: ConnectionSlot, isNews: Bool) {
        precondition(entry.homeLoop == index, "the units of a target have one home")
        switch entry.open() {
        case .full(let reason), .refused(let reason): noteUnopened(entry, reason, slot)
        case .gone: noteUnopened(entry, OpeningRefusal.removed, slot)
        case .opened(let others):
            use(entry)
            guard connect(to: entry.number, slot) else {
                noteUnopened(entry, "too many sessions", slot)
                return leave(entry)
            }
            note(.info, "logical unit opened", slot, ["unit": "\(entry.name)"])
            if isNews { setInventories(slot, isNews: true) } else if others > 0 { raiseFence(slot, entry) }
        }
    }

    private func noteUnopened(_ entry: ExportEntry, _ reason: String, _ slot: ConnectionSlot) {
        note(.warning, "logical unit not opened", slot, ["unit": "\(entry.name)", "reason": "\(reason)"])
    }

    /// Each unit tells the session of all.
    private mutating func setInventories(_ slot: ConnectionSlot, isNews: Bool) {
        let units = sessions.iscsi[slot].units.filter { $0.leavesAt == nil }
        let numbers = units.map(\.logicalUnit)
        for unit in units { exports[unit.export].server.setInventory(numbers, of: unit.nexus, isNews: isNews) }
    }

    /// A session has read REPORT LUNS: none of its units has to tell it that there are others (SPC-4).
    mutating func noteInventoryRead(_ slot: ConnectionSlot) {
        for unit in sessions.iscsi[slot].units { exports[unit.export].server.noteInventoryRead(by: unit.nexus) }
    }

    /// A unit goes, and others of the session stay. Its commands under way for the session are finished.
    ///
    /// - Returns: false if there are no others.
    mutating func withdrawUnit(_ unit: ExportNumber, _ slot: ConnectionSlot) -> Bool {
        guard connections[slot].phase == .transmission,
            let index = sessions.iscsi[slot].units.firstIndex(where: { $0.export == unit }),
            sessions.iscsi[slot].units.contains(where: { $0.export != unit && $0.leavesAt == nil })
        else { return false }
        sessions.iscsi[slot].units[index].leavesAt = now + shared.limits.shutdownSeconds
        setInventories(slot, isNews: true)
        _ = leaveWithdrawnUnits(slot)
        return true
    }

    /// Leaves the units that go, if nothing of the session is under way for them any more.
    ///
    /// - Returns: whether the session was ended, because that takes too long.
    mutating func leaveWithdrawnUnits(_ slot: ConnectionSlot) -> Bool {
        guard sessions.iscsi[slot].units.contains(where: { $0.leavesAt != nil }) else { return false }
        for unit in sessions.iscsi[slot].units {
            guard let leavesAt = unit.leavesAt else { continue }
            guard !hasRequests(to: unit.export, slot) else {
                guard now > leavesAt else { continue }
                end(slot, .stopped, "a logical unit is gone, and commands to it have not ended in time")
                return true
            }
            sessions.iscsi[slot].units.removeAll { $0.export == unit.export }
            let entry = exports[unit.export].entry
            if connections[slot].entry === entry, let first = sessions.iscsi[slot].units.first {
                connections[slot].entry = exports[first.export].entry
            }
            disconnect(unit)
            leave(entry)
        }
        return false
    }

    private func hasRequests(to unit: ExportNumber, _ slot: ConnectionSlot) -> Bool {
        guard connections[slot].requestsInUse > 0 else { return false }
        for place in slot.places where requests.contains(place) && requests[place].unit == unit { return true }
        return connections[slot].line != nil && connections[slot].wantingExport == unit
    }

    /// A session is over, and its units forget it. The export of its connection is left with that.
    mutating func endISCSI(_ slot: ConnectionSlot) {
        let units = sessions.iscsi[slot].units
        sessions.iscsi[slot].units = []
        for unit in units {
            let entry = exports[unit.export].entry
            disconnect(unit)
            if entry !== connections[slot].entry { leave(entry) }
        }
    }

    private mutating func disconnect(_ unit: SessionUnit) {
        exports[unit.export].server.disconnect(unit.nexus)
        if !exports[unit.export].server.preventsRemoval { unlockTray(unit.export) }
        noteReservations(unit.export)
    }
}
