// Memory in use: it is counted, goes back when nobody uses it, and leaves less for the page cache.

import Glibc
import IOUring

extension Loop {
    /// Slots of which memory is given back in one tick: each takes some microseconds.
    private static let slotsPerTick = 128
    /// How long a connection has been silent by then.
    private static let silentSeconds = 5

    /// More memory is in use, or less: pages of the page cache may count as memory of this process for the rest.
    mutating func noteTouched(_ pages: Int) {
        guard pages != 0 else { return }
        touchedPages += pages
        shared.noteTouched(pages)
    }

    /// The kernel puts what it receives into the slot's buffers.
    mutating func noteReceivePages(_ slot: ConnectionSlot) {
        guard !connections[slot].hasReceivePages else { return }
        connections[slot].hasReceivePages = true
        noteTouched(Limits.receivePages)
    }

    /// Once a second: memory that nobody uses goes back, unless something may be in it that was received, but not
    /// looked at.
    mutating func trim() {
        guard !ring.hasCompletions else { return }
        isTrimDue = false
        middle.trim()
        large.trim()
        var pages = middle.touchedPages + large.touchedPages + extraPages
        var own = 0
        var left = Self.slotsPerTick
        for slot in usedSlots {
            if left > 0, connections[slot].touchedPages > 0, isSilent(slot) {
                giveBack(slot)
                left -= 1
            }
            pages += connections[slot].touchedPages
            own += connections[slot].ownTouchedPages
        }
        ownTouchedPages = own
        shared.touchedPages.add(pages - touchedPages, ordering: .relaxed)
        touchedPages = pages
    }

    /// Nothing is in a slot's buffers, nor has been for a while, and no request is in its table.
    private func isSilent(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].receivedCount == 0 && connections[slot].requestsInUse == 0 else {
            return false
        }
        return connections[slot].phase == .free
            || connections[slot].phase == .transmission && connections[slot].lastProgress + Self.silentSeconds <= now
    }

    /// The kernel receives only while this thread is in io_uring_enter(2), so bytes that are still on their way need no
    /// memory now.
    private mutating func giveBack(_ slot: ConnectionSlot) {
        connections[slot].hasReceivePages = false
        connections[slot].arena.trim()
        connections[slot].group.trim()
        requests.trim(slot.firstPlace, count: Limits.requestsPerConnection)
        served.trim(slot.firstPlace, count: Limits.requestsPerConnection)
        headers.trim(slot.firstPlace, count: Limits.requestsPerConnection)
    }

    /// How much is given back at a time, as a part of all.
    private static let reclaimedPart = 16

    /// Pages of connections are about to be taken, and together with those that were used before there would be too
    /// many: connections give back what they do not use, one after the other.
    mutating func reclaimOwn(_ pages: Int) {
        var own = 0
        for slot in usedSlots { own += connections[slot].ownTouchedPages }
        let aim = ownPageLimit - max(pages, ownPageLimit / Self.reclaimedPart)
        for _ in usedSlots where own > aim {
            reclaimedSlot = (reclaimedSlot + 1) % connectionSlots
            let slot = ConnectionSlot(reclaimedSlot)
            let before = connections[slot].arena.touchedPages
            own -= connections[slot].ownTouchedPages
            connections[slot].arena.trim()
            own += connections[slot].ownTouchedPages
            noteTouched(connections[slot].arena.touchedPages - before)
        }
        ownTouchedPages = own
    }

    /// Once a second, on one loop.
    mutating func beginCacheEpoch() {
        shared.residentChunks.limit(to: shared.allowedChunks)
        if shared.residentChunks.beginEpoch() { shared.exports.dropMappedPages() }
    }
}
