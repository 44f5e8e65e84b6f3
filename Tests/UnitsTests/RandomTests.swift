// Any bytes as a command of any initiator: each gets a defined answer, nothing traps, and the medium is only asked for
// what it has.

import ATA
import Blocks
import SCSI
import Seeded
import Testing
import Units

@Suite("Random commands")
struct RandomTests {
    @Test("of all 256 operation codes finish", arguments: [DriveKind.disk, .dvdROM], [false, true])
    func anything(_ kind: DriveKind, _ isReadOnly: Bool) throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        var bench = Bench(sectors: 1 << 20 + 5, kind: kind, controller: .ich9AHCI, hasDisk: false)
        bench.drive.isReadOnly = isReadOnly
        for round in 0..<16 {
            for code in UInt8.min...UInt8.max {
                let cdb = Self.command(code, &random)
                let failure = [nil, nil, nil, BlockFailure.unrecovered, .noSpace, .writeProtected]
                    .randomElement(using: &random)!
                bench.fault = { _ in failure }
                let length = [0, 1, 8, 24, 252, 512, 513, 4096].randomElement(using: &random)!
                let data = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) & 0x5F }
                func comment() -> Comment { "seed \(seed), round \(round), operation code \(code)" }
                let answer =
                    Bool.random(using: &random)
                    ? try bench.send(cdb, dataOut: data) : try bench.send(cdb, expecting: length)
                #expect((answer.status == .checkCondition) == (answer.sense != nil), comment())
                #expect(!isReadOnly || !answer.changesBlocks, comment())
            }
        }
    }

    /// Random bytes, most of the time with most of them zero, so that more commands make sense.
    private static func command(_ code: UInt8, _ random: inout SeededGenerator) -> CommandDescriptorBlock {
        var bytes = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
        for index in bytes.indices where !Int.random(in: 0..<6, using: &random).isMultiple(of: 5) { bytes[index] = 0 }
        bytes[0] = code
        return CommandDescriptorBlock(bytes)
    }
}
