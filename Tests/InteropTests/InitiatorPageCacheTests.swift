// READs of initiators whose data are sent from the page cache.

import Foundation
import Seeded
import Support
import Testing

@Suite struct InitiatorPageCacheTests {
    private static let pieceBytes = 1 << 18

    /// Responses wait for an initiator that does not read, and meanwhile the pages go: what had begun goes on with what
    /// the drive reads then.
    @Test(arguments: [pieceBytes, pieceBytes - 4096]) func pagesThatGoAway(maxRecvDataSegmentLength: Int) throws {
        let folder = try TemporaryFolder(onDisk: true)
        var numbers = SeededGenerator(seed: 11)
        let content = numbers.bytes(4 << 20)
        let path = try folder.file("disk.img", sizeBytes: UInt64(content.count), beginning: content)
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "disk=\(path)"], in: folder)
        let session = try HandMadeSession(
            server.announcement, maxRecvDataSegmentLength: maxRecvDataSegmentLength)
        // Known to be in the page cache.
        for piece in 0..<16 {
            let ending = try session.perform(read(piece), expecting: Self.pieceBytes)
            try #require(ending.status == 0 && ending.data == Array(content[range(piece)]))
        }
        for number in 0..<48 { try session.begin(read(number % 16), expecting: Self.pieceBytes) }
        var endings = [try session.endOfAny()]
        let file = open(path, O_RDWR)
        defer { close(file) }
        #expect(fsync(file) == 0)
        #expect(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0)
        for _ in 1..<48 { endings.append(try session.endOfAny()) }
        // A command whose pages have gone is read again, and others end before it.
        endings.sort { $0.tag.lexicographicallyPrecedes($1.tag) }
        #expect(Set(endings.map(\.tag)).count == 48)
        for (number, (_, ending)) in endings.enumerated() {
            try #require(ending.status == 0, "command \(number)")
            let isRight = ending.data == Array(content[range(number % 16)])
            try #require(isRight, "command \(number)")
        }
        // What is no longer there reads as zeroes.
        #expect(ftruncate(file, off_t(Self.pieceBytes + 4096)) == 0)
        let expected = Array(content[..<(Self.pieceBytes + 4096)]) + [UInt8](repeating: 0, count: content.count)
        for piece in 0..<16 {
            let ending = try session.perform(read(piece), expecting: Self.pieceBytes)
            try #require(ending.status == 0 && ending.data == Array(expected[range(piece)]), "piece \(piece)")
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    private func range(_ piece: Int) -> Range<Int> { piece * Self.pieceBytes..<(piece + 1) * Self.pieceBytes }

    /// READ (10) of 512 blocks.
    private func read(_ piece: Int) -> [UInt8] {
        let lba = piece * Self.pieceBytes / 512
        return [0x28, 0, 0, 0, UInt8(lba >> 8), UInt8(lba & 0xFF), 0, 2, 0, 0]
    }
}
