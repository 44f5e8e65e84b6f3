// Memory that a loop has taken into use, and what that leaves for the page cache.

extension Loop {
    /// More memory is in use: fewer pages of the page cache may count as memory of this process.
    mutating func noteTouched(_ pages: Int) {
        guard pages > 0 else { return }
        touchedPages += pages
        shared.noteTouched(pages)
    }

    /// Replies that wait to be sent from mapped pages need so many more of them, or fewer: those stay in use, or come back,
    /// whatever becomes of their chunks.
    mutating func noteMapped(bytes: Int) {
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
