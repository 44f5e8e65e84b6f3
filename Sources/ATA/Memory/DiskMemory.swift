// The memory of a whole disk on its own, to be kept where a process ends: what it never forgets, and whose it is.

/// What a whole disk has to be told when its power comes, to be the same disk as before.
public struct DiskMemory: Sendable {
    let kind: DriveKind
    /// IDENTIFY DEVICE data, words 10 to 19, without spaces behind it.
    let serialNumber: String
    /// Of a logical sector.
    let sectorBytes: UInt64
    /// As if the power had gone now.
    var history: DiskHistory

    /// The most that can be counted, of anything: the fields of Device Statistics have 48 bits (ACS-3 A.5).
    static let countLimit: UInt64 = 1 << 48 - 1
    /// The most seconds with power: 272 years.
    static let secondsLimit: UInt64 = 1 << 33
}

extension Drive {
    /// What a whole disk never forgets. A self-test that runs would be interrupted.
    public var memory: DiskMemory {
        var history = disk.history
        history.poweredNanoseconds = disk.lifetime
        if let test = disk.selfTest, test.kind != .offLine {
            history.selfTests.append(test.entry(.interruptedByReset, at: disk))
        }
        return DiskMemory(
            kind: kind, serialNumber: identifyData.serialNumber, sectorBytes: blockSize.bytes, history: history)
    }

    /// How many changes to its memory there were that a host may rely on from the end of its command on.
    public var lastingChanges: UInt64 { disk.history.lastingChanges }

    /// The memory of a disk, which lasts, at power-on of another one in its place.
    /// - Parameter old: the drive before its power went.
    public mutating func remember(_ old: Drive) {
        guard kind.isWholeDisk, old.kind == kind else { return }
        disk.faults = old.disk.faults
        comeBack(with: old.memory.history, at: old.disk.now)
    }

    /// The memory of this disk from before the process began, at power-on.
    ///
    /// - Throws: the memory is that of another disk.
    public mutating func remember(_ memory: DiskMemory) throws(DiskMemoryError) {
        if let difference = difference(from: memory) { throw DiskMemoryError(difference) }
        comeBack(with: memory.history, at: disk.now)
    }

    /// Why a memory is that of another disk; nil: it is this one's.
    private func difference(from memory: DiskMemory) -> String? {
        guard memory.kind == kind else {
            return "it is the state of a \(memory.kind.rawValue), and the drive is a \(kind.rawValue); "
                + "name another file"
        }
        guard memory.serialNumber == identifyData.serialNumber else {
            return "it is the state of the drive with serial number '\(memory.serialNumber)', and this one has "
                + "'\(identifyData.serialNumber)'; name another file, or give the drive that number: "
                + "serial=\(memory.serialNumber)"
        }
        guard memory.sectorBytes == blockSize.bytes else {
            return "it is the state of a drive with sectors of \(memory.sectorBytes) bytes, and this one has "
                + "\(blockSize.bytes); name another file"
        }
        let end = memory.history.unreadable.ranges.last?.upperBound ?? 0
        let needed = max(end, memory.history.accessibleSectors ?? 0)
        guard needed <= disk.maxAddress.nativeSectors else {
            return "it names sector \(needed - 1), and the drive has \(disk.maxAddress.nativeSectors) sectors; "
                + "name another file, or serve the image that it belongs to"
        }
        return nil
    }

    /// The power comes, and sets the medium in motion.
    private mutating func comeBack(with history: DiskHistory, at now: UInt64) {
        disk.history = history
        disk.history.powerCycles += 1
        disk.history.spinUps += 1
        disk.history.hardwareResets += 1
        powerOn(at: now)
        disk.security.begin(with: disk.history.security)
        if let accessible = disk.history.accessibleSectors { setAccessible(accessible) }
        refreshBar()
        refreshIdentity()
    }
}

/// Why a text is no memory of a disk, or not of this one.
public struct DiskMemoryError: Error, Equatable, CustomStringConvertible {
    /// The line of the text; nil: it is not about one.
    public let line: Int?
    /// The mistake, and the right way.
    public let reason: String

    init(line: Int? = nil, _ reason: String) {
        self.line = line
        self.reason = reason
    }

    /// The same with the line.
    public var description: String { line.map { "line \($0): \(reason)" } ?? reason }
}
