// The stored extents of an image, as a loop knows them without asking the file: from look-ups that a worker does.

import Backends
import Blocks
import Export
import IOUring
import Synchronization
import Units

/// A part of an image that is known to be stored. Holes are not remembered: somebody may have written there.
struct StoredExtent {
    /// A look-up for READs has to be good for so many of them, or for a second.
    private static let usesPerLookUp = 8

    private(set) var start: UInt64 = 0
    private(set) var end: UInt64 = 0
    /// The count of the export's deallocations before the look-up.
    private var deallocations = 0
    /// READs that have been found inside.
    private var uses = usesPerLookUp
    private var lookedUpAt = -1
    /// A look-up for READs is under way.
    private(set) var isBeingLookedUp = false

    /// How many bytes from `offset` on are known to be stored.
    func length(from offset: UInt64, deallocations: Int) -> UInt64 {
        guard deallocations == self.deallocations, start <= offset, offset < end else { return 0 }
        return end - offset
    }

    mutating func noteUse() {
        uses += 1
    }

    /// Whether the file should be asked for the sake of a READ that is not inside; if so, it is.
    mutating func mayLookUp(now: Int) -> Bool {
        guard !isBeingLookedUp, uses >= Self.usesPerLookUp || now != lookedUpAt else { return false }
        isBeingLookedUp = true
        uses = 0
        lookedUpAt = now
        return true
    }

    mutating func endLookUp() {
        isBeingLookedUp = false
    }

    /// Something is stored here. Nothing had been deallocated meanwhile if `deallocations` says the same now.
    mutating func learn(_ start: UInt64, lengthBytes: UInt64, deallocations: Int) {
        self.start = start
        end = start + lengthBytes
        self.deallocations = deallocations
    }
}

extension Loop {
    /// Answers what a request asks of the medium's extents, or has its layers or a worker find it out.
    ///
    /// - Returns: what the request wants next; nil when it waits for them.
    mutating func answerLBAStatus(_ lba: UInt64, _ limit: UInt32, _ place: RequestPlace) -> UnitStep? {
        let export = requests[place].unit
        let blockSize = exports[export].served.blockSize
        let asked = BackendRequest(
            .lookUp, offset: blockSize.bytes(ofBlocks: lba), length: blockSize.bytes(ofBlocks: UInt64(limit)))
        // Who copies a drive reads what is stored, and no hole may hide a sector that cannot be read.
        guard !exports[export].served.drive.mayHaveUnreadableSectors else {
            return resumeLBAStatus(
                BackendExtent(isMapped: true, lengthBytes: asked.length), asked.length, place, export)
        }
        guard !exports[export].hasLayers else { return beginInLayers(asked, place, export) }
        let known = knownLength(asked.offset, export)
        if known > 0 {
            return resumeLBAStatus(BackendExtent(isMapped: true, lengthBytes: known), asked.length, place, export)
        }
        let isForOne = requests[place].facts.asksForOneExtent
        let count = isForOne ? 1 : FileJobQueue.maximumExtents
        guard let extent = lookUpAtBackend(asked, place, export, maximumExtents: count) else { return nil }
        return resumeLBAStatus(extent, asked.length, place, export)
    }

    /// Asks the backend for the extent that begins with a range.
    ///
    /// - Parameter count: how many a worker finds, if there are more of them.
    /// - Returns: nil when the request waits for a worker.
    mutating func lookUpAtBackend(
        _ asked: BackendRequest, _ place: RequestPlace, _ export: ExportNumber, maximumExtents count: Int
    ) -> BackendExtent? {
        let backend = exports[export].backend(ofFile: asked.file)
        let blockSize = exports[export].served.blockSize
        guard backend.looksUpByWaiting else {
            return backend.extent(at: asked.offset, limit: asked.length, blockSize: blockSize)
        }
        var job = FileJob(
            .lookUp, backend, export: export, token: Token(.backend, place),
            task: BackendTask(.lookUp, offset: asked.offset, length: asked.length))
        job.limitBytes = asked.length
        job.blockSize = blockSize
        job.maximumExtents = count
        job.deallocations = deallocations(export)
        return workers.lookUp(job) == nil ? nil : BackendExtent(isMapped: true, lengthBytes: asked.length)
    }

    /// Tells a request's drive what was found.
    mutating func resumeLBAStatus(
        _ extent: BackendExtent, _ limitBytes: UInt64, _ place: RequestPlace, _ export: ExportNumber
    ) -> UnitStep {
        let count = exports[export].served.blockSize.blocks(inBytes: min(extent.lengthBytes, limitBytes))
        let status = ServingEvent.resumeLBAStatus(isMapped: extent.isMapped, count: UInt32(clamping: count))
        return step(status, place, export)
    }

    /// A worker has looked extents up.
    mutating func found(_ job: borrowing FileJob) {
        precondition(job.extentCount > 0, "a look-up finds something")
        guard !exports[job.export].hasLayers else { return foundBelow(workers.extent(0, of: job), job) }
        remember(job)
        guard isAwaited(job) else { return endUnawaited(job) }
        let place = job.token.place
        var offset = job.task.offset
        var limitBytes = job.limitBytes
        let blockSize = exports[job.export].served.blockSize
        for number in 0..<job.extentCount {
            let extent = workers.extent(number, of: job)
            var next: UnitStep? = resumeLBAStatus(extent, limitBytes, place, job.export)
            if next == .commandEnded { next = nextCommand(of: place, after: number + 1) }
            offset += min(extent.lengthBytes, limitBytes)
            // The request goes on where the next extent begins, or it has had enough of them.
            guard case .lbaStatus(let lba, let limit)? = next, blockSize.bytes(ofBlocks: lba) == offset,
                number + 1 < job.extentCount
            else { return goOn(place, with: next) }
            limitBytes = blockSize.bytes(ofBlocks: UInt64(limit))
        }
    }

    /// A layer's look-up has been done. Only the layer knows its use: nothing is remembered, and the layer is
    /// told of no more than it has asked about.
    private mutating func foundBelow(_ extent: BackendExtent, _ job: borrowing FileJob) {
        let place = job.token.place
        let asked = BackendExtent(
            isMapped: extent.isMapped, lengthBytes: min(extent.lengthBytes, job.limitBytes))
        goOn(place, with: resumeInLayers(asked, place, job.export))
    }

    /// A request waits for what is found; otherwise it is only remembered.
    private func isAwaited(_ job: borrowing FileJob) -> Bool { job.token.operation == .backend }

    private mutating func endUnawaited(_ job: borrowing FileJob) {
        exports[job.export].stored.endLookUp()
        endLookUp(job.token.slot)
    }

    /// No worker has looked the extents up: without knowing better, all of the image is stored.
    mutating func giveUpLookUp(_ job: borrowing FileJob) {
        guard isAwaited(job) else { return endUnawaited(job) }
        let extent = BackendExtent(isMapped: true, lengthBytes: job.limitBytes)
        guard !exports[job.export].hasLayers else { return foundBelow(extent, job) }
        goOn(job.token.place, with: resumeLBAStatus(extent, job.limitBytes, job.token.place, job.export))
    }

    /// Whether all of a range is known to be stored. If not, a worker may be asked, for the next READs. That is about
    /// data in the page cache, which no request of an export with layers has.
    mutating func isKnownStored(
        _ offset: UInt64, _ count: UInt64, _ export: ExportNumber, _ slot: ConnectionSlot
    ) -> Bool {
        precondition(!exports[export].hasLayers, "a request would pass its layers by")
        let backend = exports[export].backend
        if knownLength(offset, export) >= count {
            exports[export].stored.noteUse()
            return true
        }
        guard exports[export].stored.mayLookUp(now: now) else { return false }
        var job = FileJob(
            .lookUp, backend, export: export, token: Token(.lookUp, slot),
            task: BackendTask(.lookUp, offset: offset, length: count))
        job.limitBytes = 1
        job.blockSize = exports[export].served.blockSize
        job.maximumExtents = 1
        job.deallocations = deallocations(export)
        if workers.lookUp(job) == nil {
            connections[slot].lookUpsUnderWay += 1
        } else {
            exports[export].stored.endLookUp()
        }
        return false
    }

    private mutating func endLookUp(_ slot: ConnectionSlot) {
        connections[slot].lookUpsUnderWay -= 1
        finishIfIdle(slot)
    }

    /// Remembers the last of the extents that is stored.
    private mutating func remember(_ job: borrowing FileJob) {
        var offset = job.task.offset
        for number in 0..<job.extentCount {
            let extent = workers.extent(number, of: job)
            if extent.isMapped {
                exports[job.export].stored.learn(
                    offset, lengthBytes: extent.lengthBytes, deallocations: job.deallocations)
            }
            offset += extent.lengthBytes
        }
    }

    private func knownLength(_ offset: UInt64, _ export: ExportNumber) -> UInt64 {
        exports[export].stored.length(from: offset, deallocations: deallocations(export))
    }

    private func deallocations(_ export: ExportNumber) -> Int {
        exports[export].entry.deallocations.load(ordering: .acquiring)
    }
}
