// Persistent reservations that are kept while the unit has no power (SPC-4 5.13, APTPL): a command that changes them is
// answered when they are stable in the export's file. Each time a thread of its own writes: such commands are rare.

import Backends
import Glibc
import IOUring
import Logging
import SCSI
import Units

/// Commands of an export that wait for its file. One write is under way at a time.
struct ReservationKeeping {
    /// The reservations that are being written.
    var reservations: PersistentReservations?
    /// These are answered when it is written.
    var written = RequestList()
    /// These have changed the reservations since: the next write is for them.
    var waiting = RequestList()
}

extension ServedExport {
    /// The device server of its unit, before any initiator has spoken to it.
    func deviceServer(targetName: [UInt8]) -> DeviceServer {
        guard let reservations else { return DeviceServer(targetName: targetName) }
        return DeviceServer(
            targetName: targetName, reservations: reservations.reservations, keepsReservations: true)
    }
}

extension Loop {
    /// Keeps what a command has changed of the reservations, if that is to be kept.
    ///
    /// - Returns: whether the command waits for that.
    mutating func keepReservations(for place: RequestPlace) -> Bool {
        guard served.commands[place].changesReservations, served.commands[place].status == .good else { return false }
        let unit = requests[place].unit
        let isWriting = exports[unit].keeping.reservations != nil
        guard isWriting || exports[unit].server.bytesToKeep != nil else {
            exports[unit].server.noteKept(exports[unit].server.reservations)
            return false
        }
        // It is under way again: its connection waits for it.
        connections[place.slot].busyRequests += 1
        requestsUnderWay += 1
        requests[place].mark = connections[place.slot].currentMark
        exports[unit].keeping.waiting.append(place, &requests)
        if !isWriting { writeReservations(unit) }
        return true
    }

    /// Has the reservations written for all commands that wait for it.
    ///
    /// - Returns: false if nothing has to be written.
    @discardableResult
    private mutating func writeReservations(_ unit: ExportNumber) -> Bool {
        let entry = exports[unit].entry
        guard let bytes = exports[unit].server.bytesToKeep, let file = entry.definition.reservations?.file else {
            return false
        }
        exports[unit].keeping.reservations = exports[unit].server.reservations
        exports[unit].keeping.written = exports[unit].keeping.waiting
        exports[unit].keeping.waiting = RequestList()
        let mailbox = shared.mailboxes[index]
        shared.keep({ file.write(bytes) }) { mailbox.post(.reservationsKept(entry, $0)) }
        return true
    }

    /// The file of an export has what was to be written, or not.
    mutating func reservationsKept(_ unit: ExportNumber, _ code: Int32) {
        guard let reservations = exports[unit].keeping.reservations else { preconditionFailure("nothing was written") }
        exports[unit].keeping.reservations = nil
        var done = exports[unit].keeping.written
        exports[unit].keeping.written = RequestList()
        if code == 0 {
            exports[unit].server.noteKept(reservations)
            if exports[unit].keeping.waiting.isEmpty || writeReservations(unit) {
                return answerKept(&done, hasFailed: false)
            }
            exports[unit].server.noteKept(exports[unit].server.reservations)
        } else {
            noteUnkept(exports[unit].entry, code)
            exports[unit].server.returnToKept()
            noteReservations(unit)
        }
        // Nothing has to be written for the commands that wait: they have undone their changes, or the failure has.
        var waiting = exports[unit].keeping.waiting
        exports[unit].keeping.waiting = RequestList()
        answerKept(&done, hasFailed: code != 0)
        answerKept(&waiting, hasFailed: code != 0)
    }

    private mutating func answerKept(_ places: inout RequestList, hasFailed: Bool) {
        while let place = places.popFirst(&requests) {
            let slot = place.slot
            connections[slot].busyRequests -= 1
            requestsUnderWay -= 1
            if requests[place].mark != connections[slot].currentMark { finishMarked(slot) }
            if hasFailed { served.commands[place].failKeeping() }
            answer(place)
            finishIfIdle(slot)
        }
    }

    private func noteUnkept(_ entry: ExportEntry, _ code: Int32) {
        logger.error(
            "persistent reservations cannot be kept: the commands that were to change them have failed",
            metadata: ["export": "\(entry.name)", "reason": "\(errorText(code))"])
    }
}
