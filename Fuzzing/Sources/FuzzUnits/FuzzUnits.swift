// Commands of two initiators of a unit: CDBs, parameter lists, and who expects what (SPC-4, SBC-3).

import ATA
import Blocks
import SCSI
import Units

/// The first byte chooses the drive and whether the medium fails. Then come commands of 16 bytes, each with a byte of
/// flags (``Flags``), and two bytes of how many data there are; the data are what follows.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count >= 1 else { return 0 }
    var rest = Array(UnsafeBufferPointer(start: data + 1, count: count - 1))[...]
    var unit = Unit(data[0])
    while rest.count >= 19 {
        let cdb = CommandDescriptorBlock(parsing: Array(rest.prefix(16)).span.bytes)
        let flags = rest[rest.startIndex + 16]
        let length = min(Int(rest[rest.startIndex + 17]) << 8 | Int(rest[rest.startIndex + 18]), 16 << 10)
        rest = rest.dropFirst(19)
        var restOfCDB: CommandDescriptorBlock?
        if flags & Flags.isLong != 0 {
            guard rest.count >= 16 else { return 0 }
            restOfCDB = CommandDescriptorBlock(parsing: Array(rest.prefix(16)).span.bytes)
            rest = rest.dropFirst(16)
        }
        let isOut = flags & Flags.isOut != 0
        let given = isOut ? rest.prefix(length) : []
        rest = rest.dropFirst(given.count)
        unit.send(
            cdb, restOfCDB, as: Int(flags & Flags.isOther), expecting: length, isOut: isOut,
            given + [UInt8](repeating: 0, count: length - given.count))
        unit.goOn(flags)
    }
    return 0
}

/// Of a command.
enum Flags {
    /// It is the second initiator's.
    static let isOther: UInt8 = 1
    /// The initiator sends data.
    static let isOut: UInt8 = 2
    /// It has 32 bytes: the other half comes next.
    static let isLong: UInt8 = 4
    /// Behind it the target has another unit.
    static let hasNews: UInt8 = 8
    /// What it has changed of the reservations cannot be kept.
    static let isNotKept: UInt8 = 16
    /// Behind it the unit loses its power.
    static let losesPower: UInt8 = 32
}

/// A unit and its initiators.
struct Unit {
    var drive: ExportedDrive
    var server = DeviceServer(targetName: Self.name, keepsReservations: true)
    var nexuses: [NexusNumber] = []
    /// What is kept of the reservations.
    var kept: [UInt8] = []
    static let name = Array("iqn.2026-11.net.example:disk".utf8)
    let outcome: BlockOutcome

    init(_ choice: UInt8) {
        let controller: Controller = choice & 1 == 0 ? .piix3IDE : .ich9AHCI
        outcome = [.done, .failed(.unrecovered), .failed(.noSpace), .failed(.writeProtected)][Int(choice >> 2 & 3)]
        let kind: DriveKind = choice & 2 == 0 ? .disk : .dvdROM
        drive = ExportedDrive(
            Drive(DriveProperties(kind), sectors: 1 << 20 + 5, bootSector: nil, controller: controller),
            controller: controller)
        drive.isReadOnly = choice & 16 != 0
        connect()
    }

    private mutating func connect() {
        nexuses = []
        for name in ["a", "b"] {
            let port = Array("iqn.2026-11.net.example:\(name),i,0x00023d000001".utf8)
            if let nexus = server.connect(initiatorPort: port) { nexuses.append(nexus) }
        }
    }

    /// What happens behind a command.
    mutating func goOn(_ flags: UInt8) {
        if flags & Flags.isNotKept != 0 { server.returnToKept() }
        if let bytes = server.bytesToKeep { kept = bytes }
        server.noteKept(server.reservations)
        precondition(server.bytesToKeep == nil)
        if flags & Flags.losesPower != 0 {
            guard let reservations = kept.isEmpty ? .init() : PersistentReservations(parsing: kept) else {
                preconditionFailure("what was kept cannot be read")
            }
            server = DeviceServer(targetName: Self.name, reservations: reservations, keepsReservations: true)
            connect()
        }
        if flags & Flags.hasNews != 0 { server.setInventory([0, 1, 63], of: nexuses[0], isNews: true) }
    }

    mutating func send(
        _ cdb: CommandDescriptorBlock, _ rest: CommandDescriptorBlock?, as nexus: Int, expecting: Int, isOut: Bool,
        _ data: [UInt8]
    ) {
        var command = ServedCommand(
            cdb, rest: rest, expectedBytes: UInt32(expecting), reads: !isOut, writes: isOut, nexus: nexuses[nexus],
            unit: drive.facts)
        let needs = command.bufferNeeds
        precondition(needs.byteCount <= 33 << 20 && needs.dataOffset + command.dataOutBytes <= needs.byteCount)
        precondition(command.dataOutBytes <= (isOut ? data.count : 0), "more data than the initiator has")
        var buffer = [UInt8](repeating: 0, count: needs.byteCount)
        buffer.replaceSubrange(
            needs.dataOffset..<needs.dataOffset + command.dataOutBytes, with: data.prefix(command.dataOutBytes))
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        var step = command.begin(on: &drive, by: &server, buffer: &bytes)
        // The longest command, a VERIFY of the whole disk, has far fewer steps.
        for _ in 0..<1 << 16 {
            switch step {
            case .perform(let request, let offset):
                check(request, needs.byteCount - Int(offset), command.writes)
                step = command.resume(outcome, on: &drive, by: &server, buffer: &bytes)
            case .performZeroes(let lba, let count, _):
                precondition(isInside(lba, count) && command.writes)
                step = command.resume(outcome, on: &drive, by: &server, buffer: &bytes)
            case .lbaStatus(_, let limit):
                step = command.resumeLBAStatus(
                    isMapped: false, count: limit, on: &drive, by: &server, buffer: &bytes)
            case .commandEnded:
                step = command.goOn(on: &drive, by: &server, buffer: &bytes)
            case .finished:
                precondition((command.status == .checkCondition) == (command.sense != nil), "a status without sense")
                let moved = min(UInt64(expecting), command.transferBytes)
                precondition(isOut || needs.dataOffset + Int(moved) <= needs.byteCount, "data that are nowhere")
                let kept = server.reservations.keptBytes
                precondition(kept == nil || PersistentReservations(parsing: kept ?? []) == server.reservations)
                server.aborted = []
                return
            }
        }
        preconditionFailure("a command does not end")
    }

    private func check(_ request: BlockRequest, _ room: Int, _ mayWrite: Bool) {
        let size = Int(drive.blockSize.bytes)
        switch request {
        case .flush: return
        case .read(let lba, let count):
            precondition(isInside(lba, count) && Int(count) * size <= room, "\(request)")
        case .write(let lba, let count):
            precondition(isInside(lba, count) && Int(count) * size <= room && mayWrite, "\(request)")
        case .discard(let lba, let count), .zeroes(let lba, let count, _):
            precondition(isInside(lba, count) && mayWrite, "\(request)")
        case .prefetch(let lba, let count): precondition(isInside(lba, count), "\(request)")
        }
    }

    private func isInside(_ lba: UInt64, _ count: UInt32) -> Bool {
        count > 0 && lba < drive.sectorCount && UInt64(count) <= drive.sectorCount - lba
    }
}
