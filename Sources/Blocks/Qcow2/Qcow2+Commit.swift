// How changed tables come to the file: whatever of it is lost at any moment, the image is whole.

extension Qcow2 {
    /// Begins to take all changes to the file, if nobody else does.
    mutating func beginCommit(_ task: inout Writing) -> BlockStep? {
        guard ledger.commit == nil else { return .waitForOthers }
        ledger.begunCommits += 1
        ledger.commit = Qcow2Ledger.Commit()
        task.commit = ledger.begunCommits
        return nil
    }

    /// First what says that clusters are used. When that is stable, with the data in them, what uses them. When that
    /// is, too, the clusters that have a user less.
    mutating func advanceCommit(_ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        guard let commit = ledger.commit else { preconditionFailure("a commit is under way") }
        switch commit.stage {
        case .write(let table):
            if let step = writeNext(table, &task) { return step }
            let next = TableCache.Table.allCases.first {
                $0.rawValue > table.rawValue && images[0].tables.hasChanges(of: $0)
            }
            ledger.commit?.stage = next.map { .synchronize(before: $0) } ?? .synchronizeAll
            return nil
        case .synchronize, .synchronizeAll: return io(BackendRequest(.flush), .synchronize, &task)
        case .release: return try releaseNext(&task)
        case .writeReleased:
            if let step = writeNext(.refcountBlock, &task) { return step }
            ledger.commit?.stage = .release
            guard ledger.nextReleased == nil else { return nil }
            ledger.commit = nil
            task.commit = nil
            hasWoken = true
            return nil
        }
    }

    private mutating func writeNext(_ table: TableCache.Table, _ task: inout Writing) -> BlockStep? {
        guard let commit = ledger.commit,
            let (slot, place) = images[0].tables.changed(table, from: commit.slot)
        else {
            ledger.commit?.slot = 0
            return nil
        }
        ledger.commit?.slot = slot + 1
        var request = images[0].reading(place, into: slot)
        request.operation = .write
        return io(request, .piece(slot), &task)
    }

    mutating func endSynchronizing(_ task: inout Writing) {
        guard let number = task.commit, let commit = ledger.commit else { return }
        if case .synchronize(let table) = commit.stage {
            ledger.commit?.stage = .write(table)
        } else {
            ledger.commit?.stage = .release
            ledger.lastCommit = number
        }
    }

    /// Counts a user less of the next cluster.
    private mutating func releaseNext(_ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        guard let cluster = ledger.nextReleased else {
            ledger.commit?.stage = .writeReleased
            return nil
        }
        let damage = Qcow2Damage(
            kind: .refcount, diskOffset: task.request.offset, fileOffset: cluster << images[0].header.clusterBits)
        let place: UInt64
        switch try findBlock(of: cluster, &task) {
        case .step(let step): return step
        case .none: throw damage
        case .found(let found): place = found
        }
        switch try need(place, .refcountBlock, at: task.request.offset, &task) {
        case .step(let step): return step
        case .present(let slot):
            guard images[0].tables.mayChange(slot) else {
                ledger.commit?.stage = .writeReleased
                return nil
            }
            let count = images[0].refcount(of: cluster, slot)
            guard count > 0 else { throw damage }
            images[0].setRefcount(count - 1, of: cluster, slot)
            ledger.endRelease()
            return nil
        }
    }
}
