// SCT Command Transport (ACS-3 clause 8): commands in the data of a write to log E0h, their status in a read of it,
// their data in log E1h.

/// The drive's side of SCT.
struct SmartCommandTransport: Sendable {
    /// Word 206: SCT, error recovery control, feature control, data tables.
    static let capabilities: UInt16 = 0x0039

    /// Extended status codes (ACS-3 clause 8, "Extended Status codes").
    enum Code: UInt16, Sendable {
        case good = 0x0000
        case invalidRecoveryFunction = 0x0004
        case invalidSelection = 0x0005
        case invalidFeatureFunction = 0x000C
        case invalidFeature = 0x000D
        case invalidState = 0x000E
        case invalidAction = 0x0010
        case invalidTable = 0x0011
    }

    /// The last command.
    var action: UInt16 = 0
    var function: UInt16 = 0
    var code = Code.good
    /// What log E1h has.
    var data: Page?
    /// Feature 1, write cache: 1 lets SET FEATURES decide.
    var writeCacheState: UInt16 = 1
    /// Feature 2, write cache reordering.
    var reordering: UInt16 = 1
}

/// How long the drive tries to read or to write a sector, in tenths of a second; 0: for as long as it takes.
struct RecoveryLimits: Sendable {
    var read: UInt16 = 0
    var write: UInt16 = 0
}

/// The key page of a command, log E0h.
private struct KeyPage {
    let action: UInt16
    let function: UInt16
    let first: UInt16
    let second: UInt16

    init(_ data: RawSpan) {
        action = data.word(at: 0)
        function = data.word(at: 2)
        first = data.word(at: 4)
        second = data.word(at: 6)
    }
}

extension Drive {
    /// SCT status, log E0h.
    var sctStatus: Page {
        var page = Page(repeating: 0)
        let transport = disk.transport
        page.store(UInt16(3), at: 0)
        page.store(UInt16(0x0100), at: 2)
        page.store(UInt16(1), at: 4)
        // Device state: active, in Standby, a self-test or an off-line routine in the background.
        page[10] = powerMode(at: disk.now) == .standby ? 1 : disk.selfTest.map { $0.kind == .offLine ? 4 : 3 } ?? 0
        page.store(transport.code.rawValue, at: 14)
        page.store(transport.action, at: 16)
        page.store(transport.function, at: 18)
        page[200] = disk.temperature.now
        page[201] = disk.temperature.coldest
        page[202] = disk.temperature.hottest
        page[203] = disk.history.coldest
        page[204] = disk.history.hottest
        return page
    }

    /// A command, which a host has written to log E0h.
    mutating func performSCT(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        let key = KeyPage(data)
        disk.transport.action = key.action
        disk.transport.function = key.function
        disk.transport.data = nil
        var answer: UInt16?
        switch key.action {
        case 3: disk.transport.code = controlRecovery(key, &answer)
        case 4: disk.transport.code = controlFeature(key, &answer)
        case 5: disk.transport.code = readTable(key)
        default: disk.transport.code = .invalidAction
        }
        guard disk.transport.code == .good else { return refused(command) }
        var result = result(command.taskfile, status: Status.done)
        if let answer {
            // Bits 7:0 are in the count register, bits 15:8 in LBA low.
            result.count = result.count & 0xFF00 | answer & 0x00FF
            result.lba = result.lba & ~0xFF | UInt64(answer >> 8)
        }
        return .finished(result)
    }

    /// Error Recovery Control: function 1 sets, 2 returns the limit for reads (selection 1) or writes (2).
    private mutating func controlRecovery(_ key: KeyPage, _ answer: inout UInt16?) -> SmartCommandTransport.Code {
        guard key.first == 1 || key.first == 2 else { return .invalidSelection }
        switch (key.function, key.first) {
        case (1, 1): disk.recoveryLimits.read = key.second
        case (1, _): disk.recoveryLimits.write = key.second
        case (2, 1): answer = disk.recoveryLimits.read
        case (2, _): answer = disk.recoveryLimits.write
        default: return .invalidRecoveryFunction
        }
        return .good
    }

    /// Feature Control: function 1 sets, 2 returns the state, 3 the option flags. Features: write cache, its
    /// reordering, and the interval of the temperature history, which is a minute.
    private mutating func controlFeature(_ key: KeyPage, _ answer: inout UInt16?) -> SmartCommandTransport.Code {
        guard (1...3).contains(key.function) else { return .invalidFeatureFunction }
        guard (1...3).contains(key.first) else { return .invalidFeature }
        switch (key.function, key.first) {
        case (3, _): answer = 0
        case (2, 1): answer = disk.transport.writeCacheState
        case (2, 2): answer = disk.transport.reordering
        case (2, _): answer = 1
        case (_, 1):
            guard (1...3).contains(key.second) else { return .invalidState }
            disk.transport.writeCacheState = key.second
            if key.second != 1 { enable(.writeCache, key.second == 2) }
        case (_, 2):
            guard (1...2).contains(key.second) else { return .invalidState }
            disk.transport.reordering = key.second
        default:
            guard key.second == 1 else { return .invalidState }
        }
        return .good
    }

    /// Data tables: table 2, the HDA Temperature History.
    private mutating func readTable(_ key: KeyPage) -> SmartCommandTransport.Code {
        guard key.function == 1, key.first == 2 else { return .invalidTable }
        var page = Page(repeating: 0)
        page.store(UInt16(2), at: 0)
        page.store(UInt16(1), at: 2)
        page.store(UInt16(1), at: 4)
        page[6] = TemperatureModel.highestAllowed
        page[7] = TemperatureModel.highestAllowed
        page[8] = TemperatureModel.lowestAllowed
        page[9] = TemperatureModel.lowestAllowed
        page.store(UInt16(TemperatureModel.samples), at: 30)
        page.store(UInt16(disk.temperature.latest), at: 32)
        for place in 0..<TemperatureModel.samples { page[34 + place] = disk.temperature.sample(place) }
        disk.transport.data = page
        return .good
    }
}
