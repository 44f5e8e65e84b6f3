// Where a request's data are (Payload): chosen by a table, taken, stored, given up.

import Backends
import Blocks
import Counters
import Export
import Glibc
import IOUring

/// Choosing.
extension Loop {
    /// Finds a place for a request's data.
    ///
    /// - Returns: false when there is no memory for them now; nothing has happened then.
    mutating func placeData(of place: RequestPlace, _ need: PayloadNeed, _ offer: PayloadOffer) -> Bool {
        guard need.byteCount > 0 else { return true }
        let slot = place.slot
        // Only a READ needs it: other requests have no block in front of their data.
        let start = need.kind == .read ? requests[place].facts.firstNeededByte : 0
        let cache = exports[requests[place].unit].pageCache
        let kind = PayloadTable.choose(need, connections[slot].crossing, offer, forced: forcedPayload) {
            self.isTrue($0, start, need, cache, ofFile: 0, place)
        }
        switch kind {
        case .none: preconditionFailure("a request that needs memory has data")
        case .mapped, .spliced:
            return placeInPageCache(place, kind, cache?.mappedBytes(at: start, count: UInt64(need.byteCount)))
                || placeInMemory(place)
        case .pages:
            return placeInMemory(place)
        case .piped:
            guard placeInMemory(place) else { return false }
            if case .pages(let run) = requests[place].payload, let pipe = pipes.take() {
                requests[place].payload = .piped(pipe, run)
            }
            return true
        }
    }

    /// Chooses anew for a READ in layers, when all of it turns out to be in one file of the image.
    ///
    /// - Returns: whether the page cache has its data, and they need no memory.
    mutating func isInPageCache(_ asked: BackendRequest, _ place: RequestPlace) -> Bool {
        guard asked.operation == .read, asked.dataPlace == .request, !requests[place].isReadAgain,
            let cache = exports[requests[place].unit].pageCache(ofFile: asked.file), cache.isMapped
        else { return false }
        let need = need(of: place)
        guard need.kind == .read, asked.length == UInt64(need.byteCount),
            let data = cache.mappedBytes(at: asked.offset, count: asked.length)
        else { return false }
        let offer = PayloadOffer(isMapped: true, writesToPageCache: false)
        let kind = PayloadTable.choose(need, connections[place.slot].crossing, offer, forced: forcedPayload) {
            self.isTrue($0, asked.offset, need, cache, ofFile: asked.file, place)
        }
        guard kind == .mapped || kind == .spliced else { return false }
        releasePayload(place)
        return placeInPageCache(place, kind, data)
    }

    /// The data of a READ are sent from the page cache.
    ///
    /// - Returns: false when they are not mapped.
    private mutating func placeInPageCache(_ place: RequestPlace, _ kind: Payload.Kind, _ data: MemoryRange?) -> Bool {
        guard let data else { return false }
        requests[place].use(data)
        requests[place].payload = kind == .spliced ? .spliced(clock.turnStart) : .mapped(data.count)
        if kind == .mapped { mappedBytes += data.count }
        return true
    }

    func need(of place: RequestPlace) -> PayloadNeed {
        let needs = requests[place].facts.bufferNeeds
        let lengthBytes = requests[place].facts.lengthBytes
        return PayloadNeed(
            kind: requests[place].measure.kind, lengthBytes: lengthBytes, byteCount: needs.byteCount,
            isInOnePiece: requests[place].measure.kind == .read && sendsInOnePiece(place),
            isWhole: needs.dataOffset == 0 && needs.byteCount == Int(lengthBytes), isOneReply: isAnsweredAtOnce(place))
    }

    func offer(of unit: ExportNumber) -> PayloadOffer {
        let cache = exports[unit].pageCache
        return PayloadOffer(isMapped: cache?.isMapped == true, writesToPageCache: cache != nil)
    }

    /// Finds a fact out for the table. `start` is the first byte of the file that is needed.
    private mutating func isTrue(
        _ fact: PayloadFact, _ start: UInt64, _ need: PayloadNeed, _ cache: PageCache?, ofFile file: UInt8,
        _ place: RequestPlace
    ) -> Bool {
        let (unit, slot, count) = (requests[place].unit, place.slot, UInt64(need.byteCount))
        switch fact {
        case .isResident:
            guard let cache, isTold(unit, cache, ofFile: file) else { return false }
            return cache.residentBytes(at: start, count: count) != nil
        case .isStored:
            // Layers are not asked twice.
            return !exports[unit].hasLayers && isKnownStored(start, count, unit, slot)
        case .isRemembered:
            guard hasRoomForMappedReply else { return false }
            return cache?.cachedBytes(
                at: start, count: count, known: shared.residentChunks, scratch: scratch.bytes(0, scratch.pageCount))
                != nil
        case .hasPipe:
            return connections[slot].receiving == .exactly && connections[slot].receivedCount == 0
                && workers.mayWrite(unit)
        }
    }

    /// One more reply may wait to be sent from mapped pages. Such pages come back to the page table even after they
    /// were dropped. So there must not be many of them when other memory is taken into use.
    private var hasRoomForMappedReply: Bool { mappedBytes < shared.mappedReplyBytes }

    private mutating func isTold(_ export: ExportNumber, _ cache: PageCache, ofFile file: UInt8) -> Bool {
        guard exports[export].toldAt[Int(file)] != now else { return true }
        guard cache.tellsWhatIsResident else { return false }
        exports[export].toldAt[Int(file)] = now
        return true
    }

}

/// Taking memory.
extension Loop {
    /// Gives a request memory.
    ///
    /// - Returns: false when there is none now.
    mutating func placeInMemory(_ place: RequestPlace) -> Bool {
        precondition(requests[place].payload == .none, "a request has one payload")
        let pages = PageRun.count(of: requests[place].facts.bufferNeeds.byteCount)
        guard let run = allocate(pages, place) else { return false }
        requests[place].use(bytes(of: run, place.slot))
        requests[place].payload = .pages(run)
        return true
    }

    /// The memory of pages that a request was given.
    private func bytes(of run: PageRun, _ slot: ConnectionSlot) -> MemoryRange {
        switch run.memory {
        case .share, .own: connections[slot].arena.bytes(run.first, run.count)
        case .middle: middle.bytes(run.first, run.count)
        case .large: large.bytes(run.first, run.count)
        case .extra: preconditionFailure("memory of its own is nobody else's")
        }
    }

    /// Memory for a request's data: the connection's own, for a large one the loop's.
    ///
    /// - Returns: nil if there is none now.
    mutating func allocate(_ pages: Int, _ place: RequestPlace) -> PageRun? {
        guard connections[place.slot].line == nil else { return nil }
        if pages <= shared.limits.largestOwnRequestPages { return allocateOwn(pages, place) }
        let memory = pages <= Limits.largestMiddlePages ? AwaitedMemory.middle : .large
        let (slot, export) = (place.slot, requests[place].unit)
        guard mayTake(memory, slot, export), let first = takeFromStage(pages, memory, export) else {
            wait(slot, for: pages, of: memory, export)
            return nil
        }
        lines[memory].hasTaken()
        connections[slot].stagePages[memory] += pages
        return PageRun(memory: memory == .middle ? .middle : .large, first: first, count: pages)
    }

    private mutating func takeFromStage(_ pages: Int, _ memory: AwaitedMemory, _ export: ExportNumber) -> Int? {
        let touched = middle.touchedPages + large.touchedPages
        defer { noteTouched(middle.touchedPages + large.touchedPages - touched) }
        return memory == .middle
            ? middle.allocate(pages, &exports[export].memory[.middle])
            : large.allocate(pages, &exports[export].memory[.large])
    }

    private mutating func allocateOwn(_ pages: Int, _ place: RequestPlace) -> PageRun? {
        let (slot, export) = (place.slot, requests[place].unit)
        // The memory of others cannot keep a connection from its share.
        if connections[slot].sharePages + pages <= Limits.sharePages {
            guard let first = takeOwn(pages, slot) else { return nil }
            connections[slot].sharePages += pages
            return PageRun(memory: .share, first: first, count: pages)
        }
        guard mayTake(.own, slot, export), room(for: pages, of: .own, export) == .enough else {
            // The share comes back with the replies of this connection.
            if pages > Limits.sharePages { wait(slot, for: pages, of: .own, export) }
            return nil
        }
        if ownTouchedPages + pages > ownPageLimit { reclaimOwn(pages) }
        guard let first = takeOwn(pages, slot) else { return nil }
        lines[.own].hasTaken()
        ownPagesInUse += pages
        exports[export].memory[.own].pages += pages
        return PageRun(memory: .own, first: first, count: pages)
    }

    /// Only this connection can give back the missing pages.
    private mutating func takeOwn(_ pages: Int, _ slot: ConnectionSlot) -> Int? {
        let (touched, own) = (connections[slot].arena.touchedPages, connections[slot].ownTouchedPages)
        guard let first = connections[slot].arena.allocate(pages) else { return nil }
        noteTouched(connections[slot].arena.touchedPages - touched)
        ownTouchedPages += connections[slot].ownTouchedPages - own
        return first
    }
}

/// Storing.
extension Loop {
    /// Takes what has come of a payload to its place. The request begins when all of it is there: of a WRITE whose
    /// client vanishes in the middle, nothing reaches the drive.
    ///
    /// - Parameters:
    ///   - filled: where in its payload the next bytes belong.
    ///   - left: how many of them follow each other in the stream.
    /// - Returns: false when there is nothing now.
    mutating func takePayload(of place: RequestPlace, from filled: Int, _ left: Int) -> Bool {
        let slot = place.slot
        switch requests[place].payload {
        case .pages:
            let target = requests[place].payload(from: filled, count: left)
            var count = connections[slot].takeBytes(into: target)
            if count == 0 { count = receivePayload(into: target, slot) }
            guard count > 0 else { return false }
            payloadMoved(target[0..<count], place)
            return true
        case .piped(let pipe, _):
            return pipePayload(of: place, pipe, left: left)
        case .none, .mapped, .spliced:
            preconditionFailure("only a WRITE has a payload, and it has a place")
        }
    }

    /// Moves payload from the socket into the request's pipe.
    private mutating func pipePayload(of place: RequestPlace, _ pipe: Int, left: Int) -> Bool {
        let slot = place.slot
        guard connections[slot].mayBeAsked else { return false }
        let socket = connections[slot].descriptor
        let available = LinuxFile.receivedBytes(socket)
        if available == 0, !connections[slot].isInputNew {
            connections[slot].mayHaveInput = false
            return false
        }
        let wanted = min(available, left)
        let count = wanted > 0 ? pipes.add(socket: socket, count: wanted, to: pipe) : 0
        guard count > 0 else {
            // The end of the stream, bytes out of band, a pipe full of small pieces: recv(2) knows what to do.
            leavePipe(place)
            return true
        }
        payloadPiped(noteInput(count, slot), place)
        return true
    }

    /// The bytes in the request's pipe are written, or never will be.
    mutating func releasePipe(_ place: RequestPlace) {
        guard case .piped(let pipe, let run) = requests[place].payload else { return }
        pipes.release(pipe)
        requests[place].payload = .pages(run)
    }

    /// The received part of a payload goes to the request's memory after all, if it is in a pipe.
    mutating func leavePipe(_ place: RequestPlace) {
        guard case .piped(let pipe, _) = requests[place].payload else { return }
        pipes.empty(pipe, into: requests[place].bytes)
        releasePipe(place)
    }

    /// Has the backend do a request's task, with its data where they are.
    mutating func carryOut(_ place: RequestPlace) -> BackendProgress {
        let unit = requests[place].unit
        switch requests[place].payload {
        case .mapped, .spliced:
            // The page cache has the data. Whether that is still so, sending them shows.
            return .finished
        case .piped(let pipe, _):
            if leaveToWriter(place, pipe: pipe) { return .pending }
            leavePipe(place)
        case .none, .pages:
            if leaveToWriter(place, pipe: nil) { return .pending }
        }
        return startAtBackend(place, unit)
    }
}

/// Giving up.
extension Loop {
    /// A request's data are needed no more, or will never be: it was answered, dropped, abandoned, or has failed.
    mutating func releasePayload(_ place: RequestPlace) {
        switch requests[place].payload {
        case .none: return
        case .pages(let run): release(run, of: place)
        case .mapped(let byteCount): mappedBytes -= byteCount
        case .spliced: break
        case .piped(let pipe, let run):
            pipes.release(pipe)
            release(run, of: place)
        }
        requests[place].payload = .none
        requests[place].use(.empty)
    }

    /// Gives a request's memory back.
    mutating func release(_ run: PageRun, of place: RequestPlace) {
        let (slot, export) = (place.slot, requests[place].unit)
        switch run.memory {
        case .share:
            connections[slot].arena.release(run.first, run.count)
            connections[slot].sharePages -= run.count
        case .own:
            connections[slot].arena.release(run.first, run.count)
            ownPagesInUse -= run.count
            exports[export].memory[.own].pages -= run.count
            lines[.own].noteRoom()
        case .middle:
            middle.release(run.first, run.count, &exports[export].memory[.middle])
            connections[slot].stagePages[.middle] -= run.count
            lines[.middle].noteRoom()
        case .large:
            large.release(run.first, run.count, &exports[export].memory[.large])
            connections[slot].stagePages[.large] -= run.count
            lines[.large].noteRoom()
        case .extra:
            connections[slot].dropExtra()
            extraPages -= run.count
        }
    }
}
