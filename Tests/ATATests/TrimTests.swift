// DATA SET MANAGEMENT with TRIM: which ranges become which operations.

import Blocks
import Testing

@testable import ATA

@Suite("TRIM")
struct TrimTests {
    /// Trims on a drive of 1,000,000 sectors.
    private func trim(
        _ ranges: [(lba: UInt64, count: UInt16)], blocks: UInt16 = 1, feature: UInt16 = 1, byteCount: Int = 512,
        perform: (BlockRequest) -> BlockOutcome = { _ in .done }
    ) -> (result: TaskfileResult, asked: [BlockRequest]) {
        var list = [UInt8](repeating: 0, count: max(byteCount, 8 * ranges.count))
        for (index, range) in ranges.enumerated() { list.store(range: range.lba, range.count, at: index) }
        var drive = Drive.reference(sectors: 1_000_000)
        let taskfile = Taskfile(command: 0x06, feature: feature, count: blocks, device: Taskfile.deviceLBA)
        return drive.execute(taskfile, data: Array(list[..<byteCount]), perform: perform)
    }

    @Test("ranges that follow each other are one operation")
    func coalesce() {
        let (result, asked) = trim([(100, 50), (150, 0), (150, 10), (0, 0), (160, 40), (300, 1), (301, 1), (299, 1)])
        #expect(
            asked == [.discard(lba: 100, count: 100), .discard(lba: 300, count: 2), .discard(lba: 299, count: 1)])
        #expect(result.status == 0x50)
    }

    @Test("64 ranges of 65,535 sectors, as Linux sends them, are one operation")
    func linux() {
        let ranges = (0..<15).map { (UInt64($0) * 65535, UInt16(65535)) }
        #expect(trim(ranges).asked == [.discard(lba: 0, count: 15 * 65535)])
    }

    @Test("a list of nothing asks for nothing")
    func empty() {
        #expect(trim([]).asked.isEmpty)
        #expect(trim([]).result.status == 0x50)
        #expect(trim([(0, 8)], blocks: 0).asked.isEmpty)
        // Bits 15:8 of the count are ignored.
        #expect(trim([(0, 8)], blocks: 0x100).asked.isEmpty)
        #expect(trim([(0, 8)], blocks: 0x101).asked == [.discard(lba: 0, count: 8)])
    }

    @Test("a range beyond the end stops the command there")
    func beyondTheEnd() {
        let (result, asked) = trim([(0, 8), (8, 8), (999_999, 2), (16, 8)])
        #expect(asked == [.discard(lba: 0, count: 16)])
        #expect(result.status == 0x41 && result.error == 0x04 && result.blockFailure == nil)
        // Also if it follows the one before.
        #expect(trim([(999_990, 9), (999_999, 2)]).asked == [.discard(lba: 999_990, count: 9)])
        #expect(trim([(999_990, 9), (999_999, 1)]).asked == [.discard(lba: 999_990, count: 10)])
        #expect(trim([(0xFFFF_FFFF_FFFF, 65535)]).asked.isEmpty)
        #expect(trim([(0xFFFF_FFFF_FFFF, 65535)]).result.status == 0x41)
        // A range without length does not count, wherever it is.
        #expect(trim([(0xFFFF_FFFF_FFFF, 0), (1, 1)]).asked == [.discard(lba: 1, count: 1)])
    }

    @Test("only the blocks that the count names are looked at")
    func blocks() {
        var ranges: [(UInt64, UInt16)] = Array(repeating: (0, 0), count: 128)
        ranges[63] = (10, 1)
        ranges[64] = (20, 1)
        #expect(trim(ranges, blocks: 1, byteCount: 1024).asked == [.discard(lba: 10, count: 1)])
        #expect(
            trim(ranges, blocks: 2, byteCount: 1024).asked
                == [.discard(lba: 10, count: 1), .discard(lba: 20, count: 1)])
        // Fewer data than the count names: what is there.
        #expect(trim(ranges, blocks: 2, byteCount: 512 + 7).asked == [.discard(lba: 10, count: 1)])
    }

    @Test("other subcommands are aborted", arguments: [0, 2, 3, 0x80] as [UInt16])
    func feature(_ feature: UInt16) {
        #expect(trim([(0, 8)], feature: feature).asked.isEmpty)
        #expect(trim([(0, 8)], feature: feature).result.status == 0x41)
    }

    @Test("a failure of the medium ends the command and is told")
    func failure() {
        let (result, asked) = trim([(0, 8), (100, 8), (200, 8)]) { operation in
            operation == .discard(lba: 100, count: 8) ? .failed(.writeProtected) : .done
        }
        #expect(asked == [.discard(lba: 0, count: 8), .discard(lba: 100, count: 8)])
        #expect(result.status == 0x41 && result.error == 0x04 && result.blockFailure == .writeProtected)
    }

    @Test("the largest list is one operation")
    func largest() {
        let ranges = (0..<255 * 64).map { (UInt64($0) * 65535, UInt16(65535)) }
        var list = [UInt8](repeating: 0, count: 255 * 512)
        for (index, range) in ranges.enumerated() { list.store(range: range.0, range.1, at: index) }
        var drive = Drive.reference(sectors: 1 << 48)
        let (result, asked) = drive.execute(Taskfile(command: 0x06, feature: 1, count: 255), data: list)
        #expect(asked == [.discard(lba: 0, count: 255 * 64 * 65535)])
        #expect(result.status == 0x50)
    }
}
