// Other threads' commands to the loop, between two turns.

import Export
import Glibc
import IOUring
import Logging

extension Loop {
    /// Reads the mailbox as soon as something is in it.
    mutating func awaitMail() {
        mailCount.await(shared.mailboxes[index].arrivals, ring: &ring, userData: Token(.mail).userData)
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
        case .change(let entry, let change, let answer): answer.add([self.change(entry, change)])
        case .refresh(let entry): refresh(entry)
        case .takeMedium(let taking): takeMedium(taking)
        case .endConnections(let entry): endConnections(of: entry)
        case .cutOff(let entry): cutOff(entry)
        case .hang(let entry): hang(entry)
        case .orderPower(let entry, let moment, let answer): answer.add([orderPower(of: entry, moment)])
        case .drop(let number, let answer): answer.add([drop(number)])
        case .listConnections(let answer): answer.add(connectionStatuses())
        case .retryOpenings(let entry): retryOpenings(of: entry)
        case .exportMade(let making): exportMade(making)
        case .fence(let fence): hold(fence)
        case .fencePassed(let fence): fencePassed(fence)
        case .unitAdded(let entry): openAddedUnit(entry)
        case .reservationsKept(let entry, let code): reservationsKept(entry.number, code)
        case .stateKept(let entry, let number, let code): stateKept(entry, number, code)
        case .takeOver(let connection): takeOver(connection)
        }
    }

    private mutating func endConnections(of entry: ExportEntry) {
        for slot in usedSlots where hasOpen(entry, slot) {
            guard !leaveUnit(of: entry, slot) else { continue }
            endConnection(slot)
        }
    }

    /// Ends a connection when what it has in flight is done, or after a while.
    mutating func endConnection(_ slot: ConnectionSlot) {
        connections[slot].endsAt = now + shared.limits.shutdownSeconds
        finishTransmission(slot)
    }

    /// - Returns: whether there was such a connection.
    private mutating func drop(_ number: UInt64) -> Bool {
        for slot in usedSlots where connections[slot].number == number {
            guard connections[slot].phase != .free else { return false }
            end(slot, .stopped, "dropped by the operator")
            return true
        }
        return false
    }

    func connectionStatuses() -> [ConnectionStatus] {
        (usedSlots).compactMap { slot in
            guard connections[slot].phase != .free else { return nil }
            return ConnectionStatus(
                number: connections[slot].number, client: connections[slot].peer.name,
                identity: connections[slot].identityName, initiator: connections[slot].initiatorName,
                export: connections[slot].entry?.name,
                isEncrypted: connections[slot].isSecure, seconds: now - connections[slot].startedAt,
                requestsInFlight: connections[slot].requestsInUse, loop: index)
        }
    }
}

/// The exports that connections of this loop have open.
extension Loop {
    /// A connection opens an export.
    mutating func use(_ entry: ExportEntry) {
        let number = entry.number
        if !exports.contains(number) {
            exports.insert(LoopExport(entry, loop: index), at: number)
        }
        exports[number].users += 1
    }

    /// A connection that had an export open has ended.
    mutating func leave(_ entry: ExportEntry) {
        let number = entry.number
        precondition(exports[number].users > 0 && exports[number].entry === entry, "who leaves an export has it open")
        exports[number].users -= 1
        // Its counters may end here, too.
        clock.settle()
        if exports[number].users == 0 {
            exports[number].handBack(fromHome: entry.homeLoop == index)
            keepState(of: entry)
            precondition(exports[number].gate.sharedWriters(of: index) == 0, "a writer has not left its gate")
            precondition(exports[number].flushing.isEmpty, "a request waits for a flush")
            precondition(exports[number].waitingForOthers.isEmpty, "a request waits for another")
            exports.remove(at: number)
        }
        if entry.close() { shared.exports.noteEnd() }
        if entry.definition.maximumConnections != nil {
            shared.postToAll(.retryOpenings(entry))
        } else if usedSlots.contains(where: { connections[$0].heldOpening?.entry === entry }) {
            shared.mailboxes[index].post(.retryOpenings(entry))
        }
    }
}
