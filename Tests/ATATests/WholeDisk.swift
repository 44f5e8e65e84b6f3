// A whole disk for the tests, and shorthands to speak to it.

import Blocks
import Testing

@testable import ATA

/// Seconds, in the clock that a drive is told.
let second: UInt64 = 1_000_000_000

/// A drive, its clock, and the medium, which does what it is asked for unless the test says otherwise.
struct WholeDisk {
    var drive: Drive
    /// Nanoseconds; the power came at 5 s.
    var now = 5 * second

    init(
        _ kind: DriveKind = .hardDisk, sectors: UInt64 = 2_000_000, controller: Controller = .ich9AHCI,
        change: (inout DriveProperties) -> Void = { _ in }
    ) {
        var properties = DriveProperties(kind)
        properties.serialNumber = "S-1"
        change(&properties)
        drive = Drive(properties, sectors: sectors, bootSector: nil, controller: controller)
        drive.powerOn(at: now)
    }

    /// Time goes by.
    mutating func wait(seconds: Double) { now += UInt64(seconds * Double(second)) }

    /// Executes a command.
    mutating func send(
        _ command: UInt8, feature: UInt16 = 0, count: UInt16 = 0, lba: UInt64 = 0, device: UInt8 = 0x40,
        data: [UInt8] = [], perform: (BlockRequest) -> BlockOutcome = { _ in .done }
    ) -> (result: TaskfileResult, asked: [BlockRequest]) {
        drive.noteTime(now)
        let taskfile = Taskfile(command: command, feature: feature, count: count, lba: lba, device: device)
        return drive.execute(taskfile, data: data, perform: perform)
    }

    /// Status and error after a command.
    mutating func registers(
        _ command: UInt8, feature: UInt16 = 0, count: UInt16 = 0, lba: UInt64 = 0, data: [UInt8] = []
    ) -> [UInt8] {
        let result = send(command, feature: feature, count: count, lba: lba, data: data).result
        return [result.status, result.error]
    }

    /// The data of a command that has some for the host; nil if it was refused.
    mutating func read(
        _ command: UInt8, feature: UInt16 = 0, count: UInt16 = 1, lba: UInt64 = 0
    ) -> [UInt8]? {
        drive.noteTime(now)
        let taskfile = Taskfile(command: command, feature: feature, count: count, lba: lba, device: 0x40)
        guard case .dataIn(let page, let result) = drive.begin(taskfile), result.status == 0x50 else { return nil }
        var bytes = [UInt8](repeating: 0xEE, count: page.byteCount)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        drive.copy(page, into: &raw)
        return bytes
    }

    /// SMART, a subcommand with data.
    mutating func readSMART(_ feature: UInt16, log: UInt64 = 0, count: UInt16 = 1) -> [UInt8]? {
        read(0xB0, feature: feature, count: count, lba: 0xC2_4F00 | log)
    }

    /// SMART, a subcommand without data.
    mutating func smart(_ feature: UInt16, low: UInt64 = 0, count: UInt16 = 0) -> TaskfileResult {
        send(0xB0, feature: feature, count: count, lba: 0xC2_4F00 | low).result
    }

    /// READ LOG EXT of a page.
    mutating func readLog(_ address: UInt64, page: UInt64 = 0, count: UInt16 = 1) -> [UInt8]? {
        read(0x2F, count: count, lba: address | (page & 0xFF) << 8 | (page >> 8) << 32)
    }

    /// The power goes, and comes back.
    mutating func cyclePower(seconds: Double = 1) {
        var properties = DriveProperties(drive.kind)
        properties.serialNumber = "S-1"
        var fresh = Drive(properties, sectors: drive.mediumSectors, bootSector: nil, controller: .ich9AHCI)
        drive.noteTime(now)
        fresh.remember(drive)
        drive = fresh
        wait(seconds: seconds)
        drive.powerOn(at: now)
    }
}

extension [UInt8] {
    /// A number, lowest byte first.
    func number(_ offset: Int, bytes: Int) -> UInt64 {
        (0..<bytes).reversed().reduce(0) { $0 << 8 | UInt64(self[offset + $1]) }
    }

    /// The sum of all bytes is zero.
    var hasChecksum: Bool { reduce(0) { $0 &+ $1 } == 0 }
}

/// A value that has to be there. `#require` cannot call what changes a disk.
func required<Value>(_ value: Value?, sourceLocation: SourceLocation = #_sourceLocation) throws -> Value {
    try #require(value, sourceLocation: sourceLocation)
}
