// Images whose refcounts are wrong: new ones are right, and whatever is lost on the way, the image is dirty or whole.

import Seeded
import Testing
import WrittenQcow2

@testable import Blocks

/// A file in memory, of which every write can be lost until it was made stable. After so many accesses nothing works.
private final class CutFile: Qcow2RepairFile {
    private(set) var bytes: [UInt8]
    private var stable: [UInt8]
    private var unstable: [(offset: Int, bytes: [UInt8])] = []
    private var left: Int
    private(set) var accesses = 0

    init(_ bytes: [UInt8], accesses: Int = .max) {
        (self.bytes, stable, left) = (bytes, bytes, accesses)
    }

    private func isOver() -> Bool {
        guard left > 0 else { return true }
        left -= 1
        accesses += 1
        return false
    }

    private static func put(_ change: (offset: Int, bytes: [UInt8]), into file: inout [UInt8]) {
        let end = change.offset + change.bytes.count
        if file.count < end { file += [UInt8](repeating: 0, count: end - file.count) }
        file.replaceSubrange(change.offset..<end, with: change.bytes)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32 {
        let part = bytes.dropFirst(Int(offset)).prefix(buffer.count)
        buffer.copyBytes(from: part)
        for index in part.count..<buffer.count { buffer[index] = 0 }
        return 0
    }

    func write(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32 {
        guard !isOver() else { return 5 }
        let change = (offset: Int(offset), bytes: Array(buffer))
        Self.put(change, into: &bytes)
        unstable.append(change)
        return 0
    }

    func synchronize() -> Int32 {
        guard !isOver() else { return 5 }
        stable = bytes
        unstable = []
        return 0
    }

    /// What a power cut leaves: of what is not stable any sectors.
    func cut(_ numbers: inout SeededGenerator) -> [UInt8] {
        var file = stable
        for change in unstable {
            for start in stride(from: 0, to: change.bytes.count, by: 512) where Bool.random(using: &numbers) {
                let part = Array(change.bytes[start..<min(start + 512, change.bytes.count)])
                Self.put((change.offset + start, part), into: &file)
            }
        }
        return file
    }
}

@Suite struct Qcow2RepairTests {
    private struct Shape: Sendable, CustomTestStringConvertible {
        var clusterBits = 12
        var hasSubclusters = false
        var refcountOrder: UInt8 = 4
        var testDescription: String { "\(clusterBits) \(hasSubclusters) \(refcountOrder)" }
    }

    private static let shapes = [
        Shape(), Shape(clusterBits: 14, hasSubclusters: true), Shape(clusterBits: 9, refcountOrder: 6),
        Shape(clusterBits: 9, refcountOrder: 0), Shape(clusterBits: 10, refcountOrder: 3), Shape(clusterBits: 16),
    ]
    private static let sectorCount = 600

    /// An image with data here and there, no refcounts at all, and bits at random that say who is alone.
    private static func image(_ shape: Shape, _ numbers: inout SeededGenerator) -> HandMadeQcow2 {
        var image = HandMadeQcow2(
            .init(
                clusterBits: shape.clusterBits, hasSubclusters: shape.hasSubclusters, sizeBytes: sectorCount * 512))
        let clusters = (sectorCount * 512 + image.clusterBytes - 1) / image.clusterBytes
        for cluster in 0..<clusters where Int.random(in: 0..<3, using: &numbers) > 0 {
            let bytes = (0..<image.clusterBytes / 512).flatMap { sector in
                WrittenMedium.sector(UInt32(cluster * image.clusterBytes / 512 + sector + 1))
            }
            if Bool.random(using: &numbers) { image.addData(cluster, bytes) } else { image.addZeroes(cluster, bytes) }
            if Bool.random(using: &numbers) {
                let place = image.entryPlace(of: cluster)
                image.file[place] ^= 0x80
            }
        }
        image.put(UInt32(shape.refcountOrder), at: 96)
        image.put(UInt64(1 | (shape.hasSubclusters ? 16 : 0)), at: 72)
        // Refcounts of nowhere.
        image.put(UInt64.random(in: 0...UInt64.max, using: &numbers), at: 48)
        image.put(UInt32.random(in: 0...UInt32.max, using: &numbers), at: 56)
        return image
    }

    private static func repair(_ file: CutFile, within bounds: Qcow2RepairBounds = Qcow2RepairBounds()) throws -> UInt64
    {
        let header = try Qcow2Header(
            Array(file.bytes.prefix(Qcow2Header.byteCount)), fileBytes: UInt64(file.bytes.count))
        var repair = try Qcow2Repair(header, file, within: bounds) { byteCount throws(Qcow2RepairError) in
            let start = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
            start.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
            return LayerMemory(start, byteCount: byteCount) { start, _ in start.deallocate() }
        }
        return try repair.run()
    }

    private static func check(_ file: [UInt8], _ image: HandMadeQcow2, _ words: String) throws {
        let header = try Qcow2Header(Array(file.prefix(Qcow2Header.byteCount)), fileBytes: UInt64(file.count))
        try header.checkWritable()
        let checked = CheckedQcow2(file, sectorCount: sectorCount)
        #expect(checked.mistakes.isEmpty && checked.leaks == 0, "\(words): \(checked.mistakes), \(checked.leaks) leaks")
        for sector in 0..<sectorCount {
            let stamp = image.sectors[sector].map { WrittenMedium.stamp($0[...]) } ?? 0
            guard checked.stamp(sector, backing: nil) != stamp else { continue }
            Issue.record("\(words): sector \(sector)")
            return
        }
    }

    /// Every refcount is right, whatever was there, and for any part of them that has room in memory.
    @Test(arguments: shapes)
    private func newRefcountsAreRight(_ shape: Shape) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<6 {
            var numbers = SeededGenerator(seed: seed &+ UInt64(round))
            let image = Self.image(shape, &numbers)
            let file = CutFile(image.file)
            var bounds = Qcow2RepairBounds()
            if round >= 3 { bounds.windowBytes = UInt64(round - 2) << shape.clusterBits }
            let size = try Self.repair(file, within: bounds)
            #expect(size == UInt64(file.bytes.count), "seed \(seed), round \(round)")
            try Self.check(file.bytes, image, "seed \(seed), round \(round)")
        }
    }

    /// The power goes at each moment of a repair. The next one finds a dirty image, or a whole one.
    @Test(arguments: shapes)
    private func anInterruptedRepairIsBegunAnew(_ shape: Shape) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        let image = Self.image(shape, &numbers)
        let whole = CutFile(image.file)
        _ = try Self.repair(whole)
        var (dirtyCount, cleanCount) = (0, 0)
        // Of those with hundreds of writes, some moments.
        let step = max(1, whole.accesses / 60)
        for accesses in stride(from: whole.accesses % step, through: whole.accesses, by: step) {
            let file = CutFile(image.file, accesses: accesses)
            let size = try? Self.repair(file)
            #expect((size == nil) == (accesses < whole.accesses), "seed \(seed), \(accesses)")
            let left = file.cut(&numbers)
            if left[79] & 1 == 0 {
                cleanCount += 1
                try Self.check(left, image, "seed \(seed), \(accesses)")
            } else {
                dirtyCount += 1
                let again = CutFile(left)
                _ = try Self.repair(again)
                try Self.check(again.bytes, image, "seed \(seed), \(accesses), again")
            }
        }
        #expect(dirtyCount > 1 && cleanCount > 0, "seed \(seed)")
    }

    /// What is more than wrong refcounts is left to others.
    @Test func whatCannotBeRepairedIsLeftAsItIs() throws {
        func refusal(_ shape: Shape = Shape(), _ change: (inout HandMadeQcow2) -> Void) throws -> Qcow2RepairError? {
            var numbers = SeededGenerator(seed: 1)
            var image = Self.image(shape, &numbers)
            change(&image)
            let file = CutFile(image.file)
            let error = #expect(throws: Qcow2RepairError.self) { try Self.repair(file) }
            let isDirty = file.bytes[79] & 1 == 1
            #expect(isDirty)
            return error
        }
        let outside = try refusal { $0.put(UInt64(1) << 40, at: $0.entryPlace(of: 70)) }
        guard case .damage(let damage) = outside else {
            Issue.record("\(outside as Any)")
            return
        }
        #expect(damage.kind == .outside && damage.fileOffset == 1 << 40 && damage.diskOffset == 70 << 12)
        // Two users of a cluster, where refcounts have a bit.
        let users = try refusal(Shape(clusterBits: 9, refcountOrder: 0)) {
            $0.addData(1, [UInt8](repeating: 1, count: 512))
            let place = $0.entryPlace(of: 1)
            let entry = $0.file[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }
            $0.put(entry, at: $0.entryPlace(of: 2))
        }
        guard case .tooManyUsers = users else {
            Issue.record("\(users as Any)")
            return
        }
        let bitmaps = try refusal {
            $0.put(UInt64(1), at: 88)
            $0.put(Qcow2Header.bitmapsName, at: 104)
            $0.put(UInt32(24), at: 108)
        }
        #expect(bitmaps == .hasBitmaps)
        let snapshots = try refusal { $0.put(UInt32(1), at: 60) }
        #expect(snapshots == .snapshots(.snapshotTable(0, count: 1)))
    }

    /// Many entries can name one table: not all of what they say is read.
    @Test func thereIsAnEndToWhatIsRead() throws {
        var numbers = SeededGenerator(seed: 1)
        let image = Self.image(Shape(), &numbers)
        var bounds = Qcow2RepairBounds()
        bounds.readBytes = 1 << 12
        #expect(throws: Qcow2RepairError.tooLarge) { try Self.repair(CutFile(image.file), within: bounds) }
        bounds = Qcow2RepairBounds()
        bounds.refcountBytes = 1 << 11
        #expect(throws: Qcow2RepairError.tooLarge) { try Self.repair(CutFile(image.file), within: bounds) }
    }
}
