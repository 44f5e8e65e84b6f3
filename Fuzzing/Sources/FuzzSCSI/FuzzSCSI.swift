// Command descriptor blocks, and through ATA PASS-THROUGH the taskfiles of the drive behind them (SPC-4, SBC-3, SAT-3,
// ACS-3).

import ATA
import Blocks
import SAT
import SCSI

/// The first byte chooses the controller, who asks, and whether the medium fails. Then come commands of 16 bytes, each
/// with two bytes of how much data it has; the data are what follows.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count >= 1 else { return 0 }
    var rest = Array(UnsafeBufferPointer(start: data + 1, count: count - 1))[...]
    var unit = Unit(data[0])
    while rest.count >= 18 {
        let cdb = CommandDescriptorBlock(parsing: Array(rest.prefix(16)).span.bytes)
        let length = min(Int(rest[rest.startIndex + 16]) << 8 | Int(rest[rest.startIndex + 17]), 4096)
        rest = rest.dropFirst(18)
        let given = rest.prefix(length)
        rest = rest.dropFirst(given.count)
        unit.send(cdb, given + [UInt8](repeating: 0, count: length - given.count))
    }
    return 0
}

/// A drive, and the layer above it.
struct Unit {
    static let sectors: UInt64 = 1 << 24 + 5
    var drive: Drive
    var layer: TranslationLayer
    let origin: Origin
    let outcome: BlockOutcome

    init(_ choice: UInt8) {
        let controller: Controller = choice & 1 == 0 ? .piix3IDE : .ich9AHCI
        origin = choice & 2 == 0 ? .user : .kernel
        outcome = [.done, .failed(.unrecovered), .failed(.noSpace), .failed(.writeProtected)][Int(choice >> 2 & 3)]
        drive = Drive(DriveProperties(), sectors: Self.sectors, bootSector: nil, controller: controller)
        layer = TranslationLayer(drive: &drive, controller: controller)
    }

    mutating func send(_ cdb: CommandDescriptorBlock, _ data: [UInt8]) {
        var buffer = data
        var command = SCSICommandInProgress(cdb: cdb, transferLength: UInt32(buffer.count), origin: origin)
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        var step = layer.begin(&command, drive: &drive, data: &bytes)
        // The longest command, a WRITE SAME, has far fewer steps.
        for _ in 0..<1 << 16 {
            switch step {
            case .blocks(let operation, let offset, let isZeroes, _):
                check(operation, isZeroes ? .max : data.count - Int(offset))
                step = layer.resume(&command, drive: &drive, outcome: outcome, data: &bytes)
            case .lbaStatus:
                step = layer.resumeLBAStatus(&command, mapped: true, count: 1, data: &bytes)
            case .finished(let status, let length):
                precondition((status == .good) == (command.sense == nil), "a status without its sense data")
                precondition(Int(length) <= data.count, "more data than there is room for")
                return
            }
        }
        preconditionFailure("a command does not end")
    }

    private func check(_ operation: BlockRequest, _ room: Int) {
        switch operation {
        case .flush: return
        case .read(let lba, let count), .write(let lba, let count):
            precondition(isInside(lba, count) && (room == .max || Int(count) * 512 <= room), "\(operation)")
        case .discard(let lba, let count), .prefetch(let lba, let count), .zeroes(let lba, let count, _):
            precondition(isInside(lba, count), "\(operation)")
        }
    }

    private func isInside(_ lba: UInt64, _ count: UInt32) -> Bool {
        count > 0 && lba < Self.sectors && UInt64(count) <= Self.sectors - lba
    }
}
