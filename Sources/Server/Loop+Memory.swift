// Memory that a loop has taken into use, and what that leaves for the page cache.

import Media

extension Loop {
    /// More memory is in use: fewer pages of the page cache may count as memory of this process.
    mutating func noteTouched(_ pages: Int) {
        guard pages > 0 else { return }
        touchedPages += pages
        shared.noteTouched(pages)
    }

    /// Replies that wait to be sent from mapped pages may be more. Their pages come back to the page table whatever becomes of
    /// their chunks, so that there must not be many of them when other memory is taken into use.
    var hasRoomForMappedReply: Bool { mappedBytes * shared.loopCount < Self.largestMappedReplies }

    /// Of all loops.
    private static let largestMappedReplies = 32 << 20

    /// A reply of so many bytes waits to be sent from mapped pages. A fault brings a chunk at least.
    mutating func noteMapped(replyBytes: Int) {
        noteMapped(bytes: max(replyBytes, Int(ResidentChunks.chunkBytes)))
    }

    /// The reply is sent, or given up.
    mutating func noteUnmapped(replyBytes: Int) {
        noteMapped(bytes: -max(replyBytes, Int(ResidentChunks.chunkBytes)))
    }

    private mutating func noteMapped(bytes: Int) {
        mappedBytes += bytes
        let pages = mappedBytes / PageArena.pageBytes - mappedPages
        guard abs(pages) >= Self.mappedPagesStep else { return }
        mappedPages += pages
        touchedPages += pages
        shared.noteTouched(pages)
    }

    /// The other loops need not know of less than 1 MiB.
    private static let mappedPagesStep = 256

    /// Once a second: memory that nobody uses goes back.
    mutating func trim() {
        stage.trim()
        var pages = stage.touchedEnd + mappedPages
        for slot in 0..<connectionSlots { pages += unsafe connections[slot].touchedPages }
        shared.touchedPages.add(pages - touchedPages, ordering: .relaxed)
        touchedPages = pages
    }
}
