// Writing an image: data go to their place in the file, or to a new one, and the tables are told when they are there.

/// The state of a request that writes.
struct Writing: Sendable {
    /// The place of the next part of a request is looked for; or it has one, and comes there.
    enum Phase {
        case choosing
        case allocating
        /// What is around the part is read into a buffer.
        case preparing
        case filling
        case storing
        /// The part is where the buffer has been written.
        case covering
        case linking
    }

    /// What was asked for below.
    enum Below {
        case nothing
        /// A piece of a table, into this slot.
        case table(Int)
        /// Something of ``Qcow2/Reading``.
        case reading
        /// A part of the request, in its place.
        case data(UInt64)
        /// The data of a cluster that gets a place.
        case store
        case punch
        /// A piece of a table, from this slot.
        case piece(Int)
        case synchronize
        /// A step of a table that is built.
        case build
    }

    var isUnderWay = false
    var request = BackendRequest(.flush)
    var doneBytes: UInt64 = 0
    var phase = Phase.choosing
    var below = Below.nothing
    /// The L2 table that was found last. It is the image's own, and stays where it is.
    var table: Qcow2Image.L2Table?
    /// The clusters of the disk that get a place, the entry of the first, and that place.
    var clusters: Range<UInt64> = 0..<0
    var entry = L2Entry(descriptor: 0)
    var fileOffset: UInt64 = 0
    var isNew = false
    /// The bytes of the disk that are written, and with them those around them.
    var part: Range<UInt64> = 0..<0
    var filled: Range<UInt64> = 0..<0
    var claim: Int?
    var buffer: Int?
    /// Bytes of the file that are still to be given back.
    var punched: Range<UInt64> = 0..<0
    /// A flush waits for this commit.
    var target: UInt64 = 0
    /// The commit that it performs.
    var commit: UInt64?
    var build: Qcow2Build?

    /// Zeroes are written, or nothing that matters.
    var isZeroes: Bool { request.operation != .write }
    var mayDeallocate: Bool { request.operation == .discard || request.operation == .writeZeroes(mayDeallocate: true) }
}

/// Requests.
extension Qcow2 {
    mutating func beginWriting(
        _ request: BackendRequest, _ task: inout Task, _ data: inout MutableRawSpan
    ) -> BlockStep {
        guard ledger.isWritable || request.operation == .flush else { return .failed(.writeProtected, afterBytes: 0) }
        task.writing.isUnderWay = true
        task.writing.request = request
        guard ledger.isWritable else {
            task.writing.below = .data(0)
            return .io(request)
        }
        task.writing.target = ledger.begunCommits + 1
        return proceedWriting(&task, &data)
    }

    mutating func resumeWriting(
        _ outcome: BlockOutcome, _ task: inout Task, _ data: inout MutableRawSpan
    ) -> BlockStep {
        let below = task.writing.below
        task.writing.below = .nothing
        if case .reading = below {
            let step = resume(outcome, &task.reading, &data)
            return endReading(step, &task.writing) ?? proceedWriting(&task, &data)
        }
        if case .table(let slot) = below {
            hasWoken = true
            images[0].endReading(slot, isRead: outcome == .done)
        }
        guard case .failed(let failure, let bytes) = outcome else {
            end(below, &task.writing)
            return ledger.isWritable ? proceedWriting(&task, &data) : .finished
        }
        switch below {
        case .data: return fail(failure, &task.writing, afterBytes: bytes)
        // Advice that was not followed.
        case .punch: return proceedWriting(&task, &data)
        case .synchronize:
            // Nobody knows what of all that was written before is in the file: no table may speak of it.
            ledger.failure = failure
            return fail(failure, &task.writing)
        case .nothing, .table, .reading, .store, .piece, .build: return fail(failure, &task.writing)
        }
    }

    /// What was asked for below is done.
    private mutating func end(_ below: Writing.Below, _ task: inout Writing) {
        switch below {
        case .nothing, .table, .reading, .punch: break
        case .data(let bytes): task.doneBytes += bytes
        case .store:
            if case .storing = task.phase, task.buffer != nil, task.request.dataPlace != .request {
                task.phase = .covering
            } else {
                task.phase = .linking
            }
        case .piece(let slot): images[0].tables.endWriting(slot)
        case .synchronize: endSynchronizing(&task)
        case .build: task.build?.step += 1
        }
    }

    private mutating func proceedWriting(_ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        do throws(Qcow2Damage) {
            while true {
                if let step = try advance(&task, &data) { return step }
            }
        } catch {
            return stop(error, &task.writing)
        }
    }

    /// Takes a step.
    ///
    /// - Returns: nil if the next one can follow at once.
    private mutating func advance(
        _ task: inout Task, _ data: inout MutableRawSpan
    ) throws(Qcow2Damage) -> BlockStep? {
        if let failure = ledger.failure, task.writing.build?.kind != .markCorrupt {
            return fail(failure, &task.writing)
        }
        if task.writing.commit != nil { return try advanceCommit(&task.writing) }
        if task.writing.build != nil { return try advanceBuild(&task.writing) }
        switch task.writing.phase {
        case .choosing: return try choose(&task.writing)
        case .allocating: return try allocate(&task.writing)
        case .preparing: return prepare(&task)
        case .filling: return try fill(&task, &data)
        case .storing, .covering: return store(&task.writing, data)
        case .linking: return try link(&task.writing)
        }
    }

    /// A request to the image's own file.
    func io(_ request: BackendRequest, _ below: Writing.Below, _ task: inout Writing) -> BlockStep {
        task.below = below
        return .io(request)
    }

    /// Ends a request, which holds nothing any more.
    func finish(_ task: inout Writing) -> BlockStep {
        task.isUnderWay = false
        return .finished
    }

    mutating func fail(_ failure: BlockFailure, _ task: inout Writing, afterBytes: UInt64 = 0) -> BlockStep {
        if task.isNew, task.claim != nil {
            let first = task.fileOffset >> images[0].header.clusterBits
            ledger.release(first..<first + UInt64(task.clusters.count))
        }
        giveBack(&task)
        if task.build != nil { ledger.isBuilding = false }
        if task.commit != nil { ledger.commit = nil }
        task.build = nil
        task.commit = nil
        task.isUnderWay = false
        hasWoken = true
        return .failed(failure, afterBytes: task.doneBytes + afterBytes)
    }

    private mutating func giveBack(_ task: inout Writing) {
        if let claim = task.claim { ledger.giveBack(claim: claim) }
        if let buffer = task.buffer { ledger.giveBack(buffer: buffer) }
        task.claim = nil
        task.buffer = nil
        hasWoken = true
    }

    /// The tables make no sense. Who writes on may destroy what is left, so nobody does, and the header says so.
    private mutating func stop(_ damage: Qcow2Damage, _ task: inout Writing) -> BlockStep {
        note(damage, inFile: 0)
        guard ledger.failure == nil else { return fail(.unrecovered, &task) }
        ledger.failure = .unrecovered
        _ = fail(.unrecovered, &task)
        guard images[0].header.version >= 3, !ledger.isBuilding else {
            return .failed(.unrecovered, afterBytes: task.doneBytes)
        }
        task.isUnderWay = true
        ledger.isBuilding = true
        task.build = Qcow2Build(kind: .markCorrupt)
        return advanceHeader(&task) ?? fail(.unrecovered, &task)
    }

    /// A sector that an image lacks may be in a backing file.
    var hasBacking: Bool { images.count > 1 || rawBytes != nil }

    /// Bytes of the file that are to be written must be no table's.
    func checkFree(_ range: Range<UInt64>, at diskOffset: UInt64) throws(Qcow2Damage) {
        guard !images[0].header.isOwn(range), !images[0].tables.holds(range) else {
            throw Qcow2Damage(kind: .overlap, diskOffset: diskOffset, fileOffset: range.lowerBound)
        }
    }
}

/// The next part of a request.
extension Qcow2 {
    private mutating func choose(_ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        guard task.request.operation != .flush else {
            return ledger.lastCommit >= task.target ? finish(&task) : beginCommit(&task)
        }
        let header = images[0].header
        let offset = task.request.offset + task.doneBytes
        // A disk may end inside of its last sector.
        let diskEnd = (header.sizeBytes + header.clusterBytes - 1) & ~(header.clusterBytes - 1)
        let end = min(task.request.offset + task.request.length, diskEnd)
        guard offset < end else { return punch(&task) ?? finish(&task) }
        guard !ledger.hasToClear else { return begin(Qcow2Build(kind: .clearFeatures), &task) }
        switch try findTable(at: offset, &task) {
        case .step(let step): return step
        case .empty where task.isZeroes && !(hasBacking && (header.version >= 3 || task.request.operation != .discard)):
            let spanBits = header.clusterBits + header.l2EntryBits
            task.doneBytes += min(end, (offset >> spanBits + 1) << spanBits) - offset
            return nil
        case .empty: return try beginTable(copying: nil, at: offset, &task)
        case .shared(let old): return try beginTable(copying: old, at: offset, &task)
        case .found: break
        }
        let place = images[0].entryPlace(of: offset >> header.clusterBits, task.table)
        switch try need(place, .mapping, at: offset, &task) {
        case .step(let step): return step
        case .present(let slot):
            return task.isZeroes
                ? try zero(offset..<end, place, slot, &task) : try write(offset..<end, place, slot, &task)
        }
    }

    /// Writes to where the data are already, or begins with finding them a place.
    private mutating func write(
        _ range: Range<UInt64>, _ place: UInt64, _ slot: Int, _ task: inout Writing
    ) throws(Qcow2Damage) -> BlockStep? {
        guard let (fileOffset, byteCount) = try images[0].ownRun(range, place, slot) else {
            return try beginAllocating(range, place, slot, &task)
        }
        try checkFree(fileOffset..<fileOffset + byteCount, at: range.lowerBound)
        var part = task.request.part(from: task.doneBytes, count: byteCount)
        part.offset = fileOffset
        return io(part, .data(byteCount), &task)
    }

    /// Claims the cluster that a range begins in, or those whose all bytes are in it and which are nowhere.
    private mutating func beginAllocating(
        _ range: Range<UInt64>, _ place: UInt64, _ slot: Int, _ task: inout Writing
    ) throws(Qcow2Damage) -> BlockStep? {
        let header = images[0].header
        let first = range.lowerBound >> header.clusterBits
        guard !ledger.isClaimed(first..<first + 1) else { return .waitForOthers }
        let entry = images[0].entry(at: place, slot)
        try entry.check(header, at: range.lowerBound)
        var end = first + 1
        if !task.isZeroes, range.lowerBound == first << header.clusterBits, entry.isNowhere {
            var next = place + header.l2EntryBytes
            while next & (images[0].tables.pieceBytes - 1) != 0, (end + 1) << header.clusterBits <= range.upperBound,
                images[0].entry(at: next, slot).isNowhere, !ledger.isClaimed(end..<end + 1)
            {
                end += 1
                next += header.l2EntryBytes
            }
        }
        guard let claim = ledger.claim(first..<end) else { return .waitForOthers }
        task.claim = claim
        task.clusters = first..<end
        task.entry = entry
        task.isNew = false
        // Units that are stored already are written in their place, by anybody.
        let unstoredEnd = entry.isOwn ? entry.unstoredEnd(header, from: range.lowerBound) : end << header.clusterBits
        task.part = range.lowerBound..<min(range.upperBound, unstoredEnd)
        task.phase = .allocating
        return nil
    }

    /// Makes zeroes of the units that a range begins with, all that are whole, or one that is not.
    private mutating func zero(
        _ range: Range<UInt64>, _ place: UInt64, _ slot: Int, _ task: inout Writing
    ) throws(Qcow2Damage) -> BlockStep? {
        let header = images[0].header
        let cluster = range.lowerBound >> header.clusterBits
        guard !ledger.isClaimed(cluster..<cluster + 1) else { return .waitForOthers }
        let entry = images[0].entry(at: place, slot)
        try entry.check(header, at: range.lowerBound)
        let clusterEnd = (cluster + 1) << header.clusterBits
        // What is behind the end of the disk does not matter.
        let end = range.upperBound >= header.sizeBytes ? clusterEnd : min(range.upperBound, clusterEnd)
        let whole = range.lowerBound..<max(range.lowerBound, end & ~(header.unitBytes - 1))
        if header.version >= 3, range.lowerBound & (header.unitBytes - 1) == 0, !whole.isEmpty {
            return try zeroUnits(whole, entry, place, slot, &task)
        }
        let unitStart = range.lowerBound & ~(header.unitBytes - 1)
        let part = range.lowerBound..<min(end, unitStart + header.unitBytes)
        let unit = unitStart & (header.clusterBytes - 1) / header.unitBytes
        switch try entry.mapping(ofUnit: unit, header, at: unitStart) {
        case .data(let fileOffset) where entry.isOwn:
            let start = fileOffset + part.lowerBound - unitStart
            let bytes = UInt64(part.count)
            try checkFree(start..<start + bytes, at: part.lowerBound)
            return io(
                BackendRequest(task.request.operation, offset: start, length: bytes), .data(bytes), &task)
        case .zero: break
        case .unallocated where !hasBacking: break
        case .data, .compressed, .unallocated:
            guard task.request.operation == .discard else {
                return try beginAllocating(part, place, slot, &task)
            }
        }
        task.doneBytes += UInt64(part.count)
        return nil
    }

    /// Whole units become zero by their entry alone. Their place in the file stays theirs, and may be a hole.
    private mutating func zeroUnits(
        _ range: Range<UInt64>, _ entry: L2Entry, _ place: UInt64, _ slot: Int, _ task: inout Writing
    ) throws(Qcow2Damage) -> BlockStep? {
        let header = images[0].header
        let inCluster = range.lowerBound & (header.clusterBytes - 1)
        if entry.isCompressed, UInt64(range.count) < header.clusterBytes {
            guard task.request.operation == .discard else { return try beginAllocating(range, place, slot, &task) }
            task.doneBytes += UInt64(range.count)
            return nil
        }
        let zeroed = entry.zeroed(header, inCluster..<inCluster + UInt64(range.count))
        if entry != zeroed, hasBacking || entry.isCompressed || entry.offset != 0 {
            guard ledger.commit == nil else { return .waitForOthers }
            guard images[0].tables.mayChange(slot), ledger.canRelease else { return beginCommit(&task) }
            let start = entry.offset + inCluster
            if entry.isOwn, task.mayDeallocate {
                try checkFree(start..<start + UInt64(range.count), at: range.lowerBound)
                if !task.punched.isEmpty, task.punched.upperBound != start { return punch(&task) }
                task.punched = (task.punched.isEmpty ? start : task.punched.lowerBound)..<start + UInt64(range.count)
            }
            try releaseCompressed(entry, at: range.lowerBound)
            images[0].set(zeroed, at: place, slot)
        }
        task.doneBytes += UInt64(range.count)
        return nil
    }

    /// Gives back the space of what has become zero; nil if there is nothing.
    private func punch(_ task: inout Writing) -> BlockStep? {
        guard !task.punched.isEmpty else { return nil }
        let range = task.punched
        task.punched = 0..<0
        return io(
            BackendRequest(.discard, offset: range.lowerBound, length: UInt64(range.count)), .punch, &task)
    }

    private mutating func releaseCompressed(_ entry: L2Entry, at diskOffset: UInt64) throws(Qcow2Damage) {
        let header = images[0].header
        guard entry.isCompressed,
            case .compressed(let offset, let byteCount) = try entry.mapping(ofUnit: 0, header, at: diskOffset)
        else { return }
        ledger.release(offset >> header.clusterBits..<(offset + byteCount - 1) >> header.clusterBits + 1)
    }
}

/// A cluster that gets a place in the file.
extension Qcow2 {
    /// Finds the place: where the cluster has one already, or behind all others.
    private mutating func allocate(_ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        let header = images[0].header
        if task.entry.isOwn {
            task.fileOffset = task.entry.offset
            try checkFree(task.fileOffset..<task.fileOffset + header.clusterBytes, at: task.part.lowerBound)
        } else {
            switch try takeClusters(UInt64(task.clusters.count), &task) {
            case .step(let step): return step
            case .taken(let first, let count):
                task.isNew = true
                task.fileOffset = first << header.clusterBits
                if count < task.clusters.count {
                    task.clusters = task.clusters.lowerBound..<task.clusters.lowerBound + count
                    task.part = task.part.lowerBound..<task.clusters.upperBound << header.clusterBits
                }
            }
        }
        let unitBytes = task.entry.isMoving || task.clusters.count > 1 ? header.clusterBytes : header.unitBytes
        task.filled =
            task.part.lowerBound & ~(unitBytes - 1)..<(task.part.upperBound + unitBytes - 1) & ~(unitBytes - 1)
        task.phase = task.filled == task.part && !task.isZeroes ? .storing : .preparing
        return nil
    }

    /// Begins to read what is around the part.
    private mutating func prepare(_ task: inout Task) -> BlockStep? {
        guard let buffer = ledger.takeBuffer() else { return .waitForOthers }
        task.writing.buffer = buffer
        task.writing.phase = .filling
        task.reading = Reading()
        task.reading.request = BackendRequest(
            .read, offset: task.writing.filled.lowerBound, length: UInt64(task.writing.filled.count),
            dataPlace: .tables, dataOffset: UInt64(ledger.start(ofBuffer: buffer)))
        return nil
    }

    private mutating func fill(
        _ task: inout Task, _ data: inout MutableRawSpan
    ) throws(Qcow2Damage) -> BlockStep? {
        // Behind the end of the file there are zeroes already.
        if task.writing.isNew, !task.writing.isZeroes, task.reading.doneBytes == 0 {
            switch try find(&task.reading, { first, next, _ in first == next }) {
            case .step(let step):
                return endReading(step, &task.writing)
            case .found(let run):
                let isZero = run.mapping == .zero || run.mapping == .unallocated
                if isZero, run.byteCount == task.reading.request.length, let buffer = task.writing.buffer {
                    ledger.giveBack(buffer: buffer)
                    task.writing.buffer = nil
                    task.writing.phase = .storing
                    hasWoken = true
                    return nil
                }
            }
        }
        return endReading(proceed(&task.reading, &data), &task.writing)
    }

    /// A step of what is read around the part.
    private mutating func endReading(_ step: BlockStep, _ task: inout Writing) -> BlockStep? {
        switch step {
        case .finished:
            task.phase = .storing
            return nil
        case .failed(let failure, _): return fail(failure, &task)
        case .io:
            task.below = .reading
            return step
        case .wait, .waitForOthers, .found: return step
        }
    }

    /// Writes the part, alone or with what is around it.
    private func store(_ task: inout Writing, _ data: borrowing MutableRawSpan) -> BlockStep? {
        let clusterStart = task.clusters.lowerBound << images[0].header.clusterBits
        var request = task.request.part(from: task.doneBytes, count: UInt64(task.part.count))
        request.offset = task.fileOffset + task.part.lowerBound - clusterStart
        guard let buffer = task.buffer, case .storing = task.phase else { return io(request, .store, &task) }
        let start = ledger.start(ofBuffer: buffer)
        let place = start + Int(task.part.lowerBound - task.filled.lowerBound)
        if task.isZeroes {
            memory.clear(place..<place + task.part.count)
        } else if request.dataPlace == .request {
            let from = Int(request.dataOffset)
            memory.store(data, from..<from + task.part.count, at: place)
        }
        return io(
            BackendRequest(
                .write, offset: task.fileOffset + task.filled.lowerBound - clusterStart,
                length: UInt64(task.filled.count), dataPlace: .tables, dataOffset: UInt64(start)), .store, &task)
    }

    /// Tells the tables where the clusters are.
    private mutating func link(_ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        guard ledger.commit == nil else { return .waitForOthers }
        let header = images[0].header
        var place = images[0].entryPlace(of: task.clusters.lowerBound, task.table)
        switch try need(place, .mapping, at: task.part.lowerBound, &task) {
        case .step(let step): return step
        case .present(let slot):
            guard images[0].tables.mayChange(slot), ledger.canRelease else { return beginCommit(&task) }
            try releaseCompressed(task.entry, at: task.part.lowerBound)
            if task.isNew, task.entry.offset != 0 {
                let old = task.entry.offset >> header.clusterBits
                ledger.release(old..<old + 1)
            }
            let inCluster = task.filled.lowerBound & (header.clusterBytes - 1)
            let stored = inCluster..<min(inCluster + UInt64(task.filled.count), header.clusterBytes)
            for number in 0..<UInt64(task.clusters.count) {
                images[0].set(
                    task.entry.stored(header, at: task.fileOffset + number * header.clusterBytes, stored), at: place,
                    slot)
                place += header.l2EntryBytes
            }
        }
        task.doneBytes += UInt64(task.part.count)
        task.phase = .choosing
        giveBack(&task)
        return nil
    }
}
