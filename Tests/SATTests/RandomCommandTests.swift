// Any bytes as a command: each gets a defined answer, nothing traps, and the medium is only asked for what it has.

import ATA
import Blocks
import SAT
import SCSI
import Seeded
import Testing

@Suite("Random commands")
struct RandomCommandTests {
    @Test("of all 256 operation codes finish", arguments: [Controller.piix3IDE, .ich9AHCI], [Origin.user, .kernel])
    func anything(_ controller: Controller, _ origin: Origin) {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        // Not so large that a command up to the end takes long.
        var initiator = Initiator(sectors: 1 << 24 + 5, controller: controller)
        for round in 0..<16 {
            for code in UInt8.min...UInt8.max {
                let command = Self.command(code, &random)
                let length = [0, 1, 8, 24, 252, 512, 513, 4096].randomElement(using: &random)!
                let data = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) & 0x5F }
                let failure = [nil, nil, nil, BlockFailure.unrecovered, .noSpace, .writeProtected]
                    .randomElement(using: &random)!
                let response = initiator.send(command, data: data, origin: origin) { operation in
                    if !Self.isInside(operation, 1 << 24 + 5) { Issue.record("\(operation), seed \(seed)") }
                    return failure.map { BlockOutcome.failed($0) } ?? .done
                }
                func comment() -> Comment { "seed \(seed), round \(round), operation code \(code)" }
                #expect((response.status == .good) == (response.sense == nil), comment())
                #expect(response.data.count <= length, comment())
                Self.check(response.steps, length: length, comment)
            }
        }
    }

    /// Random bytes, half of the time with most of them zero, so that more commands make sense.
    private static func command(_ code: UInt8, _ random: inout SeededGenerator) -> CommandDescriptorBlock {
        var bytes = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
        if Bool.random(using: &random) {
            for index in bytes.indices where !Int.random(in: 0..<4, using: &random).isMultiple(of: 4) {
                bytes[index] = 0
            }
        }
        bytes[0] = code
        return CommandDescriptorBlock(bytes)
    }

    private static func isInside(_ operation: BlockRequest, _ sectors: UInt64) -> Bool {
        switch operation {
        case .flush: true
        case .read(let lba, let count), .write(let lba, let count), .discard(let lba, let count),
            .prefetch(let lba, let count), .zeroes(let lba, let count, _):
            count > 0 && lba < sectors && UInt64(count) <= sectors - lba
        }
    }

    /// Data stay in the buffer.
    private static func check(_ steps: [TranslationLayer.Step], length: Int, _ comment: () -> Comment) {
        for step in steps {
            switch step {
            case .blocks(.read(_, let count), let offset, false, false),
                .blocks(.write(_, let count), let offset, false, false):
                #expect(Int(offset) + Int(count) * 512 <= length, comment())
            case .blocks(.write, 0, true, _), .blocks(.flush, 0, false, false), .blocks(.discard, 0, false, false),
                .blocks(.prefetch, 0, false, false), .lbaStatus:
                break
            default:
                Issue.record("\(step), \(comment())")
            }
        }
    }

    @Test("that read and write move the right bytes", arguments: [Controller.piix3IDE, .ich9AHCI])
    func model(_ controller: Controller) {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let sectors = 700
        var initiator = Initiator(sectors: UInt64(sectors), controller: controller)
        var medium = [UInt8](repeating: 0, count: sectors * 512)
        var model = medium
        for round in 0..<100 {
            let first = Int.random(in: 0..<sectors, using: &random)
            let count = Int.random(in: 1...min(300, sectors - first), using: &random)
            let bytes = first * 512..<(first + count) * 512
            let isWrite = Bool.random(using: &random)
            let payload = (0..<count * 512).map { _ in UInt8.random(in: 0...255, using: &random) }
            let command = Self.transfer(isWrite, first, count, &random)
            var received = payload
            let response = initiator.send(command, data: payload)
            for case .blocks(let operation, let offset, false, false) in response.steps {
                Self.perform(operation, &medium, &received, Int(offset))
            }
            #expect(response.status == .good, "seed \(seed), round \(round)")
            if isWrite { model.replaceSubrange(bytes, with: payload) }
            #expect(received == Array(model[bytes]), "seed \(seed), round \(round)")
        }
        #expect(medium == model, "seed \(seed)")
    }

    /// READ or WRITE in one of the forms that can say it.
    private static func transfer(
        _ isWrite: Bool, _ first: Int, _ count: Int, _ random: inout SeededGenerator
    ) -> CommandDescriptorBlock {
        let (address, length) = (UInt8(first >> 8), UInt8(first & 0xFF))
        switch Int.random(in: 0..<3, using: &random) {
        case 0 where count <= 256:
            return [isWrite ? 0x0A : 0x08, 0, address, length, UInt8(count & 0xFF), 0]
        case 1:
            return [isWrite ? 0x2A : 0x28, 0, 0, 0, address, length, 0, UInt8(count >> 8), UInt8(count & 0xFF), 0]
        default:
            return isWrite
                ? .write16(logicalBlockAddress: UInt64(first), transferLength: UInt32(count))
                : .read16(logicalBlockAddress: UInt64(first), transferLength: UInt32(count))
        }
    }

    private static func perform(
        _ operation: BlockRequest, _ medium: inout [UInt8], _ data: inout [UInt8], _ offset: Int
    ) {
        switch operation {
        case .read(let lba, let count):
            let bytes = Int(lba) * 512..<(Int(lba) + Int(count)) * 512
            data.replaceSubrange(offset..<offset + bytes.count, with: medium[bytes])
        case .write(let lba, let count):
            let bytes = Int(lba) * 512..<(Int(lba) + Int(count)) * 512
            medium.replaceSubrange(bytes, with: data[offset..<offset + bytes.count])
        default:
            Issue.record("not a transfer: \(operation)")
        }
    }
}
