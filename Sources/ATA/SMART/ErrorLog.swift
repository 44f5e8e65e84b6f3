// The errors of a whole disk, in the three shapes that hosts read them in (ACS-3 annex A: Summary and Comprehensive
// SMART Error log, Extended Comprehensive SMART Error log; and NCQ Command Error log).

/// Errors of the medium. Commands that are wrong in themselves are not logged (ACS-3 A.16).
struct ErrorLog: Sendable {
    /// Errors that are kept: two pages of the extended log.
    static let limit = 8

    struct Entry: Sendable {
        let commands: RecentCommands
        let result: TaskfileResult
        /// Life timestamp, in hours.
        let hours: UInt16
    }

    private var entries: [Entry] = []
    /// How many there were.
    private(set) var count: UInt64 = 0

    /// One without errors.
    init() {}

    /// One that has had `count` errors, and has the last ones of them, in their order; nil if it would have others.
    init?(_ latest: [Entry], count: UInt64) {
        guard UInt64(latest.count) == min(count, UInt64(Self.limit)) else { return nil }
        // Each stands where it would if all had come one by one.
        let first = Int((count - UInt64(latest.count)) % UInt64(Self.limit))
        let parting = latest.count - first
        entries = first == 0 ? latest : Array(latest[parting...] + latest[..<parting])
        self.count = count
    }

    /// Those that it has, in their order.
    var latest: [Entry] { ring(of: Self.limit).entries.reversed().map(\.entry) }

    /// Takes note of one, over the oldest if there is no more room.
    mutating func append(_ result: TaskfileResult, _ commands: RecentCommands, hours: UInt64) {
        let entry = Entry(commands: commands, result: result, hours: UInt16(truncatingIfNeeded: hours))
        if entries.count < Self.limit {
            entries.append(entry)
        } else {
            entries[Int(count % UInt64(Self.limit))] = entry
        }
        count += 1
    }

    /// The last `limit` errors with their places in a ring of that size, and the place of the latest, from 1; 0: none.
    private func ring(of limit: Int) -> (entries: [(place: Int, entry: Entry)], latest: Int) {
        let number = min(Int(min(count, UInt64(limit))), entries.count)
        let kept = (0..<number).map { back -> (place: Int, entry: Entry) in
            let ordinal = count - 1 - UInt64(back)
            return (Int(ordinal % UInt64(limit)), entries[Int(ordinal % UInt64(Self.limit))])
        }
        return (kept, kept.first.map { $0.place + 1 } ?? 0)
    }

    /// The Summary SMART Error log, and the Comprehensive one, which has a page: five errors with 28-bit registers.
    var summaryPage: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        let ring = ring(of: 5)
        page[1] = UInt8(ring.latest)
        for (place, entry) in ring.entries {
            let offset = 2 + 90 * place
            for index in 0..<5 {
                guard let command = entry.commands[index] else { continue }
                storeShort(command, at: offset + 12 * index, &page)
            }
            let result = entry.result
            page[offset + 61] = result.error
            page[offset + 62] = UInt8(truncatingIfNeeded: result.count)
            page.store(result.lba & 0xFF_FFFF, at: offset + 63, bytes: 3)
            page[offset + 66] = result.device
            page[offset + 67] = result.status
            // State: active or idle.
            page[offset + 87] = 0x03
            page.store(entry.hours, at: offset + 88)
        }
        page.store(UInt16(truncatingIfNeeded: min(count, 0xFFFF)), at: 452)
        page.storeChecksum()
        return page
    }

    private func storeShort(_ command: RecentCommands.Entry, at offset: Int, _ page: inout Page) {
        let taskfile = command.taskfile
        page[offset + 1] = UInt8(truncatingIfNeeded: taskfile.feature)
        page[offset + 2] = UInt8(truncatingIfNeeded: taskfile.count)
        page.store(taskfile.lba & 0xFF_FFFF, at: offset + 3, bytes: 3)
        page[offset + 6] = taskfile.device
        page[offset + 7] = taskfile.command
        page.store(command.milliseconds, at: offset + 8)
    }

    /// A page of the Extended Comprehensive SMART Error log, which has two: four errors each, with 48-bit registers.
    func extendedPage(_ number: Int) -> Page {
        var page = Page(repeating: 0)
        page[0] = 1
        let ring = ring(of: Self.limit)
        page.store(UInt16(ring.latest), at: 2)
        for (place, entry) in ring.entries where place / 4 == number {
            let offset = 4 + 124 * (place % 4)
            for index in 0..<5 {
                guard let command = entry.commands[index] else { continue }
                storeLong(command, at: offset + 18 * index, &page)
            }
            let result = entry.result
            page[offset + 91] = result.error
            page.store(result.count, at: offset + 92)
            storeInterleaved(result.lba, at: offset + 94, &page)
            page[offset + 100] = result.device
            page[offset + 101] = result.status
            page[offset + 121] = 0x03
            page.store(entry.hours, at: offset + 122)
        }
        page.store(UInt16(truncatingIfNeeded: min(count, 0xFFFF)), at: 500)
        page.storeChecksum()
        return page
    }

    private func storeLong(_ command: RecentCommands.Entry, at offset: Int, _ page: inout Page) {
        let taskfile = command.taskfile
        page.store(taskfile.feature, at: offset + 1)
        page.store(taskfile.count, at: offset + 3)
        storeInterleaved(taskfile.lba, at: offset + 5, &page)
        page[offset + 11] = taskfile.device
        page[offset + 12] = taskfile.command
        page.store(command.milliseconds, at: offset + 14)
    }

    /// Bytes 0, 3, 1, 4, 2, 5 of an address.
    private func storeInterleaved(_ lba: UInt64, at offset: Int, _ page: inout Page) {
        for (place, byte) in [0, 3, 1, 4, 2, 5].enumerated() {
            page[offset + place] = UInt8(truncatingIfNeeded: lba >> (8 * UInt64(byte)))
        }
    }
}

/// The last queued command that has failed (ACS-3 A.14, NCQ Command Error log).
struct QueuedCommandError: Sendable {
    private let result: TaskfileResult
    private let tag: UInt8

    init(_ result: TaskfileResult, tag: UInt8) {
        self.result = result
        self.tag = tag
    }

    /// Address 10h. Without any, NQ says that the last error was of no queued command.
    static func page(of error: QueuedCommandError?) -> Page {
        var page = Page(repeating: 0)
        if let error {
            let result = error.result
            page[0] = error.tag
            page[2] = result.status
            page[3] = result.error
            page.store(result.lba & 0xFF_FFFF, at: 4, bytes: 3)
            page[7] = result.device
            page.store(result.lba >> 24, at: 8, bytes: 3)
            page.store(result.count, at: 12)
        } else {
            page[0] = 0x80
        }
        page.storeChecksum()
        return page
    }
}
