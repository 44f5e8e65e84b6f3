// Memory that a loop has taken into use, and what that leaves for the page cache.

extension Loop {
    /// More memory is in use: fewer pages of the page cache may count as memory of this process.
    mutating func noteTouched(_ pages: Int) {
        guard pages > 0 else { return }
        touchedPages += pages
        shared.noteTouched(pages)
    }

    /// There may be more replies that wait to be sent from mapped pages. These come back to the page table after they were
    /// dropped, whatever becomes of their chunks, so that there must not be many when other memory is taken into use.
    var hasRoomForMappedReply: Bool { mappedBytes < shared.mappedReplyBytes }

    /// Once a second: memory that nobody uses goes back.
    mutating func trim() {
        stage.trim()
        var pages = stage.touchedEnd
        for slot in 0..<connectionSlots { pages += unsafe connections[slot].touchedPages }
        shared.touchedPages.add(pages - touchedPages, ordering: .relaxed)
        touchedPages = pages
    }
}
