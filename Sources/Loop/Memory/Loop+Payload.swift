// Where a request's data are (Payload): chosen by a table, taken, stored, given up.

import Backends
import Counters
import Export
import Glibc
import IOUring

/// What a request needs.
struct PayloadNeed: Equatable {
    var kind: CommandKind
    /// What the client asks for.
    var lengthBytes: UInt64
    /// The memory that this takes: all sectors touched, and more for ends inside sectors.
    var byteCount: Int
    /// The reply is one piece: nobody looks for zeroes in the data.
    var isInOnePiece: Bool
    /// The data are whole sectors.
    var isWhole: Bool
}

/// What a backend offers.
struct PayloadOffer: Equatable {
    /// Its pages in the page cache can be sent from.
    var isMapped: Bool
    /// Writing is a copy into the page cache.
    var writesToPageCache: Bool
}

/// What has to be found out, at some cost; each is asked for only where it decides.
enum PayloadFact: CaseIterable {
    /// The kernel says now that all of a range is in the page cache, and this process is told the truth.
    case isResident
    /// All of a range is known to be stored: there are no holes to leave out.
    case isStored
    /// All of a range is remembered to be in the page cache, and one more reply may wait to be sent from there.
    case isRemembered
    /// Nothing of the payload has been received, a pipe is free, and so is the worker that writes.
    case hasPipe
}

/// The table of payloads. A kind that is not possible is wrong; one that does not pay is only slow.
///
/// | Payload | Possible for | Pays for | Asks |
/// |---|---|---|---|
/// | `none` | requests without data | all | |
/// | `spliced` | READ to 1 MiB, mapped, no TLS | from 32 KiB, one piece or local | resident? in chunks: stored? |
/// | `mapped` | READ to 1 MiB, mapped, no TLS here | one piece, or to 32 KiB | remembered? |
/// | `piped` | whole WRITE to 512 KiB, page cache, no TLS | 128 to 256 KiB over TCP | a pipe? |
/// | `pages` | all | whatever is left | |
enum PayloadTable {
    /// What cannot be sent from the page cache after all has to be read into memory again, so there is a bound.
    static let largestUnread: UInt64 = 1 << 20
    /// From here on splicing costs less than the copy that it saves.
    static let smallestSpliced: UInt64 = 1 << 15
    /// Of a larger READ that is answered in chunks, zeroes are not sent, and have to be looked for. (But on this
    /// machine sending them costs less than looking, so that only holes of the image count.)
    static let largestUnsearched: UInt64 = 1 << 15
    /// What a pipe has room for, if the network brings it in whole pages.
    static let largestPiped: UInt64 = 1 << 19
    /// Over TCP receiving is what takes the loop most of its time. Over a Unix socket workers that write while the loop
    /// receives are faster, where there is a processor for them.
    static let piped: ClosedRange<UInt64> = (1 << 17)...(1 << 18)

    /// Chooses where a request's data are to be.
    ///
    /// - Parameters:
    ///   - forced: what a test wants wherever it is possible.
    ///   - isTrue: finds a fact out.
    static func choose(
        _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer, forced: Payload.Kind?,
        isTrue: (PayloadFact) -> Bool
    ) -> Payload.Kind {
        guard need.byteCount > 0 else { return .none }
        if let forced { return choose(forced, need, link, offer, isTrue: isTrue) }
        switch need.kind {
        case .read:
            if need.lengthBytes >= smallestSpliced, need.isInOnePiece || !link.isRemote,
                isPossible(.spliced, need, link, offer), isTrue(.isResident), need.isInOnePiece || isTrue(.isStored)
            {
                return .spliced
            }
            if need.isInOnePiece || need.lengthBytes <= largestUnsearched, isPossible(.mapped, need, link, offer),
                isTrue(.isRemembered)
            {
                return .mapped
            }
        case .write:
            if expectsPipe(need, link, offer, forced: nil), isTrue(.hasPipe) { return .piped }
        default: break
        }
        return .pages
    }

    private static func choose(
        _ forced: Payload.Kind, _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer,
        isTrue: (PayloadFact) -> Bool
    ) -> Payload.Kind {
        guard isPossible(forced, need, link, offer) else { return .pages }
        return forced == .piped && !isTrue(.hasPipe) ? .pages : forced
    }

    /// A request's data can be there.
    static func isPossible(_ kind: Payload.Kind, _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer) -> Bool {
        switch kind {
        case .none: need.byteCount == 0
        case .pages: need.byteCount > 0
        case .spliced:
            need.kind == .read && need.lengthBytes <= largestUnread && offer.isMapped && link.takesPages
        case .mapped:
            need.kind == .read && need.lengthBytes <= largestUnread && offer.isMapped && link.sendsUnseen
        case .piped:
            need.kind == .write && need.lengthBytes <= largestPiped && need.isWhole && offer.writesToPageCache
                && link.givesPages
        }
    }

    /// A WRITE like this comes through a pipe, if its payload has not been received yet and there is one. So nothing
    /// should be received before its place is known.
    static func expectsPipe(
        _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer, forced: Payload.Kind?
    ) -> Bool {
        guard isPossible(.piped, need, link, offer) else { return false }
        if let forced { return forced == .piped }
        return link.isRemote && piped.contains(need.lengthBytes)
    }
}

/// Choosing.
extension Loop {
    /// Finds a place for a request's data.
    ///
    /// - Returns: false when there is no memory for them now; nothing has happened then.
    mutating func placeData(of place: RequestPlace, _ need: PayloadNeed, _ offer: PayloadOffer) -> Bool {
        guard need.byteCount > 0 else { return true }
        let slot = place.slot
        let start = requests[place].served.offsetBytes - UInt64(requests[place].served.bufferNeeds.dataOffset)
        let unit = requests[place].unit
        let kind = PayloadTable.choose(need, connections[slot].crossing, offer, forced: forcedPayload) {
            self.isTrue($0, start, need, unit, slot)
        }
        switch kind {
        case .none: preconditionFailure("a request that needs memory has data")
        case .mapped, .spliced:
            guard let data = exports[unit].pageCache?.mappedBytes(at: start, count: UInt64(need.byteCount))
            else {
                return placeInMemory(place)
            }
            requests[place].use(data)
            requests[place].payload = kind == .spliced ? .spliced(clock.turnStart) : .mapped(need.byteCount)
            if kind == .mapped { mappedBytes += need.byteCount }
            return true
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

    func need(of place: RequestPlace) -> PayloadNeed {
        let needs = requests[place].served.bufferNeeds
        let lengthBytes = requests[place].served.lengthBytes
        return PayloadNeed(
            kind: requests[place].measure.kind, lengthBytes: lengthBytes, byteCount: needs.byteCount,
            isInOnePiece: requests[place].measure.kind == .read && sendsInOnePiece(place),
            isWhole: needs.dataOffset == 0 && needs.byteCount == Int(lengthBytes))
    }

    func offer(of unit: ExportNumber) -> PayloadOffer {
        let cache = exports[unit].pageCache
        return PayloadOffer(isMapped: cache?.isMapped == true, writesToPageCache: cache != nil)
    }

    /// Finds a fact out for the table. `start` is the first byte that is needed.
    private mutating func isTrue(
        _ fact: PayloadFact, _ start: UInt64, _ need: PayloadNeed, _ unit: ExportNumber, _ slot: ConnectionSlot
    ) -> Bool {
        let count = UInt64(need.byteCount)
        switch fact {
        case .isResident:
            guard isTold(unit) else { return false }
            return exports[unit].pageCache?.residentBytes(at: start, count: count) != nil
        case .isStored:
            return isKnownStored(start, count, unit, slot)
        case .isRemembered:
            guard hasRoomForMappedReply else { return false }
            return exports[unit].pageCache?.cachedBytes(
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

    private mutating func isTold(_ export: ExportNumber) -> Bool {
        guard exports[export].toldAt != now else { return true }
        guard exports[export].pageCache?.tellsWhatIsResident == true else { return false }
        exports[export].toldAt = now
        return true
    }

    /// Once a second, on one loop.
    mutating func beginCacheEpoch() {
        shared.residentChunks.limit(to: shared.allowedChunks)
        if shared.residentChunks.beginEpoch() { shared.exports.dropMappedPages() }
    }

    /// Gives a request memory.
    ///
    /// - Returns: false when there is none now.
    mutating func placeInMemory(_ place: RequestPlace) -> Bool {
        precondition(requests[place].payload == .none, "a request has one payload")
        let pages = PageRun.count(of: requests[place].served.bufferNeeds.byteCount)
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
}

/// Storing.
extension Loop {
    /// Takes what has come of a payload to its place. The request begins when all of it is there: of a WRITE whose
    /// client vanishes in the middle, nothing reaches the drive.
    ///
    /// - Parameter left: how much of it is missing.
    /// - Returns: false when there is nothing now.
    mutating func takePayload(_ left: Int, _ slot: ConnectionSlot) -> Bool {
        guard let place = connections[slot].payloadRequest else { preconditionFailure("whose payload is it?") }
        switch requests[place].payload {
        case .pages:
            let target = requests[place].payload(from: Int(requests[place].served.lengthBytes) - left)
            var count = connections[slot].takeBytes(into: target)
            if count == 0 { count = receivePayload(into: target, slot) }
            guard count > 0 else { return false }
            payloadMoved(count, place)
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
        payloadMoved(noteInput(count, slot), place)
        return true
    }

    /// What was in the request's pipe is written, or never will be.
    mutating func releasePipe(_ place: RequestPlace) {
        guard case .piped(let pipe, let run) = requests[place].payload else { return }
        pipes.release(pipe)
        requests[place].payload = .pages(run)
    }

    /// What has come of a payload goes to the request's memory after all, if it is in a pipe.
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
}
