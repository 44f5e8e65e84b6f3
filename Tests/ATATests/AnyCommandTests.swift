// Any command code with any registers on any drive: always an answer, never a trap, nothing outside the medium.

import Blocks
import Seeded
import Testing

@testable import ATA

@Suite("Any registers")
struct AnyCommandTests {
    /// Numbers at which something may go wrong, or any.
    private func odd(_ random: inout SeededGenerator) -> UInt64 {
        let edges: [UInt64] = [
            0, 1, 0xFF, 0x100, 0xFFFF, 0xFF_FFFF, 0x0FFF_FFFF, 1 << 32, (1 << 48) - 1, 1 << 48, .max,
        ]
        let number = Bool.random(using: &random) ? edges.randomElement(using: &random)! : random.next()
        return number &+ [0, 1, 0 &- 1].randomElement(using: &random)!
    }

    private func anyDrive(_ random: inout SeededGenerator) -> Drive {
        let kinds = [DriveKind.disk, .hardDisk, .solidState]
        var properties = DriveProperties(kinds.randomElement(using: &random)!)
        properties.bus = UInt8(truncatingIfNeeded: random.next())
        properties.unit = UInt8(truncatingIfNeeded: random.next())
        properties.physicalBlockBytes = UInt32(truncatingIfNeeded: odd(&random))
        if Bool.random(using: &random) {
            properties.geometry = Geometry(
                cylinders: UInt32(truncatingIfNeeded: odd(&random)), heads: UInt32(truncatingIfNeeded: odd(&random)),
                sectorsPerTrack: UInt32(truncatingIfNeeded: odd(&random)))
        }
        var drive = Drive(
            properties, sectors: odd(&random), bootSector: nil,
            controller: Controller.allCases.randomElement(using: &random)!)
        // What cannot be planted is refused, by words and by drives.
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let kind = FaultRule.Kind.allCases.randomElement(using: &random)!.rawValue
            let words = [
                "lba=\(odd(&random))", "every=\(odd(&random) & 7)", "probability=0.5", "seed=\(odd(&random))",
                "command=all",
                "count=3", "after=1", "for=1", "seconds=1",
            ].filter { _ in Int.random(in: 0...2, using: &random) == 0 }
            guard let rule = try? FaultRule(parsing: ([kind] + words).joined(separator: " ")) else { continue }
            try? drive.plant(rule, isRunning: Bool.random(using: &random))
        }
        return drive
    }

    /// Bytes of which a quarter of the bits are ones.
    private func sparseBytes(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        zip(random.bytes(count), random.bytes(count)).map { $0 & $1 }
    }

    private func isInside(_ operation: BlockRequest, _ sectors: UInt64) -> Bool {
        switch operation {
        case .flush: true
        case .read(let lba, let count), .write(let lba, let count), .discard(let lba, let count),
            .prefetch(let lba, let count), .zeroes(let lba, let count, _):
            count > 0 && lba < sectors && UInt64(count) <= sectors - lba
        }
    }

    @Test("get an answer with every command code", arguments: [1, UInt64.random(in: 0...UInt64.max)])
    func anything(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for round in 0..<20 {
            var drive = anyDrive(&random)
            for code in 0...UInt8.max {
                let taskfile = Taskfile(
                    command: code, feature: UInt16(truncatingIfNeeded: odd(&random)),
                    count: UInt16(truncatingIfNeeded: odd(&random)), lba: odd(&random),
                    device: UInt8(truncatingIfNeeded: odd(&random)))
                let data = sparseBytes(Int.random(in: 0...1100, using: &random), &random)
                let failing = Int.random(in: 0..<4, using: &random) == 0
                func context() -> Comment { "seed \(seed), round \(round), \(taskfile), \(drive.sectors) sectors" }
                let (result, asked) = drive.execute(taskfile, data: data) { _ in failing ? .failed(.noSpace) : .done }
                #expect(asked.allSatisfy { isInside($0, drive.mediumSectors) }, context())
                // DF, and ICRC, are of faults.
                let failed: [UInt8] = drive.kind.isWholeDisk ? [0x51, 0x71] : [0x41]
                #expect(([0x50, 0x40] + failed).contains(result.status), context())
                // EXECUTE DEVICE DIAGNOSTIC has its code in the error register. A QEMU HARDDISK knows one error.
                let errors: [UInt8] = drive.kind.isWholeDisk ? [0x04, 0x10, 0x40, 0x84] : [0x04]
                #expect(code == 0x90 || failed.contains(result.status) == errors.contains(result.error), context())
                #expect(result.blockFailure == nil || failed.contains(result.status), context())
                #expect(drive.taskfilesExecuted == UInt64(code) + 1, context())
            }
        }
    }
}
