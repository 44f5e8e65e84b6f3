// The logs of a whole disk: which there are, how long they are, and who may read and write them (ACS-3 annex A). Both
// READ LOG EXT and SMART READ LOG find them here, and so do their directories.

/// A log, by its address.
enum Log: Equatable, Sendable {
    case directory
    case summaryError
    case comprehensiveError
    case extendedComprehensiveError
    case deviceStatistics
    case selfTest
    case extendedSelfTest
    case selectiveSelfTest
    case queuedCommandError
    case phyEventCounters
    case identifyDeviceData
    /// One of the host's own.
    case host(UInt8)
    case sctStatus
    case sctData

    /// The log at an address; nil if there is none that these commands can reach.
    init?(_ address: UInt8, bySMART: Bool) {
        guard let log = Self(address), log.reach.contains(bySMART) else { return nil }
        self = log
    }

    private init?(_ address: UInt8) {
        switch address {
        case 0x00: self = .directory
        case 0x01: self = .summaryError
        case 0x02: self = .comprehensiveError
        case 0x03: self = .extendedComprehensiveError
        case 0x04: self = .deviceStatistics
        case 0x06: self = .selfTest
        case 0x07: self = .extendedSelfTest
        case 0x09: self = .selectiveSelfTest
        case 0x10: self = .queuedCommandError
        case 0x11: self = .phyEventCounters
        case 0x30: self = .identifyDeviceData
        case 0x80...0x9F: self = .host(address)
        case 0xE0: self = .sctStatus
        case 0xE1: self = .sctData
        default: return nil
        }
    }

    /// The commands that reach it: SMART's (true), the general ones (false).
    private var reach: [Bool] {
        switch self {
        case .summaryError, .comprehensiveError, .selfTest, .selectiveSelfTest: [true]
        case .extendedComprehensiveError, .extendedSelfTest, .queuedCommandError, .phyEventCounters: [false]
        default: [true, false]
        }
    }

    /// Its pages of 512 bytes.
    var pageCount: UInt16 {
        switch self {
        case .extendedComprehensiveError: 2
        case .deviceStatistics: 8
        case .identifyDeviceData: 2
        case .host: UInt16(HostLogs.pages)
        default: 1
        }
    }

    /// A host may write it.
    var isWritable: Bool {
        switch self {
        case .selectiveSelfTest, .host, .sctStatus, .sctData: true
        default: false
        }
    }

    /// The directory, address 00h: word 0 is its version, and word n says how many pages log n has.
    static func directory(bySMART: Bool) -> Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for address in UInt8(1)...UInt8.max {
            guard let log = Log(address, bySMART: bySMART) else { continue }
            page.store(log.pageCount, at: 2 * Int(address))
        }
        return page
    }
}

/// Pages of a log that are to be transferred.
public struct LogPages: Equatable, Sendable {
    let log: Log
    let bySMART: Bool
    let first: UInt16
    /// How many.
    let count: UInt16
}

extension Drive {
    /// READ LOG EXT and READ LOG DMA EXT: LBA 7:0 is the address, 15:8 and 39:32 the first page.
    mutating func readGeneralLog(_ command: CommandInProgress) -> Step {
        guard let (log, first, count) = generalLog(command) else { return refused(command) }
        return .dataIn(
            .log(LogPages(log: log, bySMART: false, first: first, count: count)),
            result(command.taskfile, status: Status.done))
    }

    /// WRITE LOG EXT and WRITE LOG DMA EXT.
    mutating func writeGeneralLog(_ command: inout CommandInProgress, _ data: RawSpan) -> Step {
        guard let (log, first, count) = generalLog(command), log.isWritable,
            data.byteCount >= Int(count) * IdentifyData.byteCount
        else { return refused(command) }
        return write(log, first: Int(first), count: Int(count), command, data)
    }

    private mutating func generalLog(_ command: CommandInProgress) -> (log: Log, first: UInt16, count: UInt16)? {
        let lba = command.taskfile.lba
        let first = UInt16(truncatingIfNeeded: lba >> 8 & 0xFF | lba >> 24 & 0xFF00)
        let count = command.taskfile.count
        guard let log = Log(UInt8(truncatingIfNeeded: lba), bySMART: false), count != 0, first < log.pageCount,
            count <= log.pageCount - first
        else { return nil }
        return (log, first, count)
    }

    /// A host writes pages of a log.
    mutating func write(_ log: Log, first: Int, count: Int, _ command: CommandInProgress, _ data: RawSpan) -> Step {
        switch log {
        case .host(let address): disk.history.hostLogs.store(data, address: address, first: first, count: count)
        case .selectiveSelfTest:
            // Not while such a test runs (ACS-3 A.15).
            guard disk.selfTest?.kind != .selective, disk.history.selective.store(data, sectors: sectors) else {
                return refused(command)
            }
        case .sctStatus: return performSCT(command, data)
        default: return refused(command)
        }
        return done(command)
    }

    /// One page of a log.
    func logPage(_ number: UInt16, of pages: LogPages) -> Page {
        switch pages.log {
        case .directory: Log.directory(bySMART: pages.bySMART)
        case .summaryError, .comprehensiveError: disk.history.errors.summaryPage
        case .extendedComprehensiveError: disk.history.errors.extendedPage(Int(number))
        case .deviceStatistics: deviceStatistics(page: UInt8(truncatingIfNeeded: number))
        case .selfTest: disk.history.selfTests.page
        case .extendedSelfTest: disk.history.selfTests.extendedPage
        case .selectiveSelfTest: disk.history.selective.page(running: disk.selfTest, at: disk.now)
        case .queuedCommandError: QueuedCommandError.page(of: disk.queuedError)
        case .phyEventCounters: phyEventCounters
        case .identifyDeviceData: identifyDeviceData(page: number)
        case .host(let address): disk.history.hostLogs.page(Int(number), address: address)
        case .sctStatus: sctStatus
        case .sctData: disk.transport.data ?? Page(repeating: 0)
        }
    }

    /// READ BUFFER, zeroes if nothing was written.
    var bufferPage: Page {
        var page = Page(repeating: 0)
        for (offset, byte) in disk.buffer.enumerated() { page[offset] = byte }
        return page
    }

    /// The IDENTIFY DEVICE data log, address 30h: which pages it has, and a copy of the data (ACS-3 A.11).
    private func identifyDeviceData(page number: UInt16) -> Page {
        var page = Page(repeating: 0)
        guard number == 0 else {
            for word in 0..<256 { page.store(identifyData[word: word], at: 2 * word) }
            return page
        }
        page[0] = 1
        page[8] = 2
        page[9] = 0
        page[10] = 1
        return page
    }

    /// SATA Phy Event Counters, address 11h (ACS-3 A.17): commands that ended with ICRC, and the COMRESETs of hosts.
    private var phyEventCounters: Page {
        var page = Page(repeating: 0)
        let resets = UInt16(clamping: disk.history.hardwareResets)
        let damaged = UInt16(clamping: disk.history.interfaceErrors)
        // Identifier with the size in bits 14:12, then a value of 2 or 4 bytes. ICRC, R_ERR of data FISes, of
        // non-data FISes, transitions from PhyRdy, signature FISes that a COMRESET has caused, CRC errors and others
        // of FISes of hosts.
        var offset = 4
        for (identifier, words, value) in [
            (UInt16(0x001), UInt16(2), damaged), (0x002, 2, 0), (0x005, 2, 0), (0x009, 1, 0), (0x00A, 1, resets),
            (0x00B, 2, 0), (0x00D, 2, 0),
        ] {
            page.store(identifier | words << 12, at: offset)
            page.store(value, at: offset + 2)
            offset += 2 + 2 * Int(words)
        }
        page.storeChecksum()
        return page
    }
}

/// The host's own logs: 80h to 9Fh, 16 pages each (ACS-3 A.13). What was never written is zeroes.
struct HostLogs: Sendable {
    static let pages = 16

    /// Their bytes, by their addresses.
    private(set) var content: [UInt8: [UInt8]] = [:]

    /// Takes the beginning of a log over; the rest is zeroes.
    ///
    /// - Returns: false if there is no such log, or no room in it.
    mutating func restore(_ bytes: [UInt8], address: UInt8) -> Bool {
        let room = Self.pages * IdentifyData.byteCount
        guard (0x80...0x9F).contains(address), bytes.count <= room else { return false }
        content[address] = bytes + [UInt8](repeating: 0, count: room - bytes.count)
        return true
    }

    mutating func store(_ data: RawSpan, address: UInt8, first: Int, count: Int) {
        var bytes = content[address] ?? [UInt8](repeating: 0, count: Self.pages * IdentifyData.byteCount)
        for offset in 0..<count * IdentifyData.byteCount {
            bytes[first * IdentifyData.byteCount + offset] = data.byte(at: offset)
        }
        content[address] = bytes
    }

    func page(_ number: Int, address: UInt8) -> Page {
        var page = Page(repeating: 0)
        guard let bytes = content[address] else { return page }
        for offset in 0..<IdentifyData.byteCount { page[offset] = bytes[number * IdentifyData.byteCount + offset] }
        return page
    }
}
