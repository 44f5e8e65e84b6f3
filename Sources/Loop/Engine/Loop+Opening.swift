// A client opens an export, at once or when there is a place for it.

/// The opening of an export that has as many connections as it may have. A client that closes its connection and comes
/// straight back is here before the end of the old one is seen: it waits a moment for that.
struct HeldOpening {
    /// Nobody is held for longer, in seconds.
    static let limitSeconds = 2

    let entry: ExportEntry
    /// In seconds since the loop began.
    let since: Int
}

extension Loop {
    /// Opens the export that the client has chosen. One that is held is tried again when a connection of the export has
    /// ended, and for the last time after a moment.
    ///
    /// - Returns: false when it is held, or made for the client.
    mutating func open(_ unit: Int, _ slot: ConnectionSlot) -> Bool {
        let chosen = connections[slot].choices[unit]
        let entry: ExportEntry
        switch exportToOpen(chosen, unit, slot) {
        case nil: return false
        case .success(let found): entry = found
        case .failure(let refusal): return refuse(chosen, refusal.reason, slot)
        }
        if let home = onlyLoop(for: entry, slot), home != index {
            leave(for: home, slot)
            return false
        }
        if let obstacle = obstacle(toOpening: unit, slot) { return refuse(entry, obstacle, slot) }
        let others: Int
        switch entry.open() {
        case .full(let reason):
            return holds(entry, slot) ? false : refuse(entry, reason, slot)
        case .refused(let reason):
            return refuse(entry, reason, slot)
        case .gone:
            // Its name is as if it had not been there, so another one may be made.
            guard entry === chosen, chooseStandIn(for: unit, slot) else {
                return refuse(entry, OpeningRefusal.removed, slot)
            }
            connections[slot].heldOpening = nil
            return open(unit, slot)
        case .opened(let count): others = count
        }
        connections[slot].heldOpening = nil
        use(entry)
        beginRequests(slot, to: entry.number)
        connections[slot].phase = .transmission
        connections[slot].entry = entry
        connections[slot].choices = []
        connections[slot].making = nil
        connections[slot].opening = shared.openings.add(1, ordering: .sequentiallyConsistent).newValue
        note(.info, "export opened", slot)
        if others > 0 { raiseFence(slot, entry) }
        openFurther(slot)
        return true
    }

    private mutating func refuse(_ entry: ExportEntry, _ reason: String, _ slot: ConnectionSlot) -> Bool {
        connections[slot].heldOpening = nil
        connections[slot].making = nil
        note(.warning, "export not opened", slot, ["export": "\(entry.name)", "reason": "\(reason)"])
        return refuseOpening(reason, slot)
    }

    /// Whether an opening waits for a place, which it does for a moment.
    mutating func holds(_ entry: ExportEntry, _ slot: ConnectionSlot) -> Bool {
        guard let held = connections[slot].heldOpening else {
            connections[slot].heldOpening = HeldOpening(entry: entry, since: now)
            return true
        }
        return now - held.since < HeldOpening.limitSeconds
    }

    /// A connection of an export has ended, on whichever loop: another one may be opened.
    mutating func retryOpenings(of entry: ExportEntry) {
        for slot in usedSlots where connections[slot].heldOpening?.entry === entry {
            retryOpening(slot)
        }
    }

    /// Tries an opening again that is held.
    mutating func retryOpening(_ slot: ConnectionSlot) {
        guard connections[slot].heldOpening != nil, connections[slot].phase == .handshake else { return }
        pump(slot)
        finishIfIdle(slot)
    }
}
