// READs whose data could not be sent from the page cache: the file has shrunk, its medium fails, or the kernel has
// thrown a page out. The request goes back to its drive, which reads into memory, and fails if that fails.

import Counters
import Export
import Glibc
import IOUring
import Logging

extension Loop {
    /// The rest of the replies in a send cannot be sent from the page cache.
    ///
    /// Which page is missing nobody says, so all of them are read again. A reply of which nothing has been sent is
    /// encoded anew, and may become an error.
    ///
    /// - Returns: false when there are no such replies.
    mutating func readUnsentAgain(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].phase != .closing else { return false }
        var number = 0
        var found = false
        for _ in 0..<settleSend(slot) {
            guard connections[slot].phase != .closing else { break }
            guard requests[connections[slot].replies[number]].payload.isPageCache else {
                number += 1
                continue
            }
            found = true
            if !readAgain(replyAt: number, slot) { number += 1 }
        }
        return found
    }

    /// Sends the READ of a reply in the queue back to its drive.
    ///
    /// - Returns: whether the reply has left the queue. One that has begun keeps its place: the bytes that follow are
    ///   its own, or the connection has to end.
    mutating func readAgain(replyAt number: Int, _ slot: ConnectionSlot) -> Bool {
        let keepsReply = keepsReplies(slot)
        guard number == 0 && (connections[slot].sentOfFirst > 0 || keepsReply) else {
            // It will be the first. Those before it leave without it: a message of which something is missing may not
            // be sent even in part.
            if keepsReply {
                connections[slot].sendsOneReply = true
                return false
            }
            let place = connections[slot].removeReply(at: number)
            releasePayload(place)
            requests[place].isReadAgain = true
            served.renew(place, requests[place].facts.machine)
            connections[slot].returned.append(place, &requests)
            _ = serveReturned(slot)
            return true
        }
        let place = connections[slot].replies[0]
        guard !connections[slot].hasExtra else {
            note(.error, "a second reply was interrupted before the first one had ended", slot)
            abort(slot, .lost)
            return false
        }
        releasePayload(place)
        requests[place].isReadAgain = true
        useExtraMemory(place)
        served.renew(place, requests[place].facts.machine)
        requests[place].isInterrupted = true
        connections[slot].isSending = true
        sendsUnderWay += 1
        arrive(place, slot)
        enter(place)
        return false
    }

    /// Memory beside all others, of which a connection has at most ``PayloadTable/largestUnread`` and two sectors.
    mutating func useExtraMemory(_ place: RequestPlace) {
        let count = PageRun.count(of: requests[place].facts.bufferNeeds.byteCount)
        let memory = HeapBytes(count: count * PageArena.pageBytes)
        unsafe requests[place].use(memory.range)
        connections[place.slot].keepExtra(memory)
        requests[place].payload = .pages(PageRun(memory: .extra, first: 0, count: count))
        extraPages += count
        noteTouched(count)
    }

    /// Requests that are back at their drive begin when there is memory for them, before any new one of their
    /// connection.
    ///
    /// - Returns: whether all have.
    @inline(__always)  // nearly always there is none
    mutating func serveReturned(_ slot: ConnectionSlot) -> Bool {
        connections[slot].returned.isEmpty || serveAllReturned(slot)
    }

    private mutating func serveAllReturned(_ slot: ConnectionSlot) -> Bool {
        while let place = connections[slot].returned.first {
            guard placeInMemory(place) else { return false }
            _ = connections[slot].returned.popFirst(&requests)
            arrive(place, slot)
            enter(place)
        }
        return true
    }

    /// The drive has read the data of a reply that was interrupted, or has failed to. Where the error would be said,
    /// data are expected.
    mutating func resumeReply(_ place: RequestPlace) {
        let slot = place.slot
        requests[place].isInterrupted = false
        requests[place].measure.error = errorKind(of: place)
        countAnswer(place, slot)
        connections[slot].isSending = false
        sendsUnderWay -= 1
        if requests[place].measure.error != nil, connections[slot].phase != .closing {
            note(
                .error, "the medium failed in the middle of a reply", slot,
                ["offset": .stringConvertible(requests[place].facts.offsetBytes)])
            abort(slot, .lost)
        } else {
            queueSend(slot)
        }
    }

    /// Whether the data of a spliced reply are in the page cache still.
    func isStillResident(_ place: RequestPlace) -> Bool {
        let byteCount = requests[place].facts.bufferNeeds.byteCount
        let cache = exports[requests[place].unit].pageCache(ofFile: requests[place].file)
        return cache?.residentBytes(at: requests[place].task.offset, count: UInt64(byteCount)) != nil
    }
}
