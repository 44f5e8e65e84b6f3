// What other threads want of the loop, between two turns.

import Export
import Glibc
import IOUring
import Logging

extension Loop {
    /// Reads the mailbox as soon as something is in it.
    mutating func awaitMail() {
        unsafe ring.read(
            shared.mailboxes[index].arrivals.descriptor, into: UnsafeMutableRawPointer(mailCount),
            count: UInt32(MemoryLayout<UInt64>.size), offset: 0, userData: Token(.mail).userData)
    }

    /// Does what is in the mailbox, once all that was received before is known.
    mutating func readMail() {
        guard hasMail else { return }
        hasMail = false
        for command in shared.mailboxes[index].take() { perform(command) }
        awaitMail()
    }

    private mutating func perform(_ command: LoopCommand) {
        switch command {
        case .stop: stop()
        case .refresh(let entry): refresh(entry)
        case .endConnections(let entry): endConnections(of: entry)
        case .drop(let number, let answer): answer.add([drop(number)])
        case .listConnections(let answer): answer.add(connectionStatuses())
        case .fence(let fence): hold(fence)
        case .fencePassed(let fence): fencePassed(fence)
        }
    }

    /// The drive has grown. Whoever is connected was told the old size; but Linux's driver can be told the new one while
    /// its device is in use, so that what lies beyond the old end is served on old connections, too.
    private mutating func refresh(_ entry: ExportEntry) {
        guard unsafe exportUsers[entry.number] > 0, unsafe exports[entry.number].entry === entry else { return }
        let drive = entry.drive
        unsafe exports[entry.number].served = drive
        for slot in 0..<connectionSlots where unsafe connections[slot].entry === entry {
            unsafe connections[slot].parameters?.sizeBytes = drive.sectorCount * ExportedDrive.sectorBytes
        }
    }

    private mutating func endConnections(of entry: ExportEntry) {
        for slot in 0..<connectionSlots where unsafe connections[slot].entry === entry {
            unsafe connections[slot].endsAt = now + shared.limits.shutdownSeconds
            finishTransmission(slot)
        }
    }

    /// - Returns: whether there was such a connection.
    private mutating func drop(_ number: UInt64) -> Bool {
        for slot in 0..<connectionSlots where unsafe connections[slot].number == number {
            guard unsafe connections[slot].phase != .free else { return false }
            end(slot, .stopped, "dropped by the operator")
            return true
        }
        return false
    }

    private func connectionStatuses() -> [ConnectionStatus] {
        (0..<connectionSlots).compactMap { slot in
            let connection = unsafe connections + slot
            guard unsafe connection.pointee.phase != .free else { return nil }
            return unsafe ConnectionStatus(
                number: connection.pointee.number, client: connection.pointee.peer.name,
                identity: connection.pointee.identityName, export: connection.pointee.entry?.name,
                isEncrypted: connection.pointee.secure != nil, seconds: now - connection.pointee.startedAt,
                requestsInFlight: connection.pointee.requestsInUse, loop: index)
        }
    }
}

/// The exports that connections of this loop have open.
extension Loop {
    /// A connection opens an export.
    mutating func use(_ entry: ExportEntry) {
        let number = entry.number
        if unsafe exportUsers[number] == 0 {
            unsafe (exports + number).initialize(to: LoopExport(entry, loop: index))
        }
        unsafe exportUsers[number] += 1
    }

    /// A connection that had an export open has ended.
    mutating func leave(_ entry: ExportEntry) {
        let number = entry.number
        unsafe exportUsers[number] -= 1
        // Its counters may end here, too.
        clock.settle()
        if unsafe exportUsers[number] == 0 { unsafe (exports + number).deinitialize(count: 1) }
        if entry.close() { shared.exportsEnded.signal() }
    }
}
