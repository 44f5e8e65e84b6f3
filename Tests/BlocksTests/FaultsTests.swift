// A medium with faults does what its faults say, and nothing else.

import Seeded
import Testing

@testable import Blocks

@Suite struct FaultsTests {
    private static let sectors: UInt64 = 24
    private static let sizeBytes = sectors * 512

    private func medium(_ faults: [Fault], image: [Fault]? = nil) -> StackedMedium {
        var medium = StackedMedium(bytes: (0..<Self.sizeBytes).map { UInt8(truncatingIfNeeded: $0 / 512 + 1) })
        medium.stack.faults = Faults(faults, sizeBytes: Self.sizeBytes, blockSize: .smallest)
        if let image { medium.stack.imageFaults = Faults(image, sizeBytes: Self.sizeBytes, blockSize: .smallest) }
        return medium
    }

    private func sectors(_ range: Range<UInt64>) -> Range<UInt64> { range.lowerBound * 512..<range.upperBound * 512 }

    private func write(_ range: Range<UInt64>) -> BackendRequest {
        BackendRequest(.write, offset: range.lowerBound * 512, length: UInt64(range.count) * 512)
    }

    private func read(_ range: Range<UInt64>) -> BackendRequest {
        BackendRequest(.read, offset: range.lowerBound * 512, length: UInt64(range.count) * 512)
    }

    /// Which sectors are full of 0xFF.
    private func written(_ medium: StackedMedium) -> [Int] {
        (0..<Int(Self.sectors)).filter { medium.bytes[$0 * 512..<$0 * 512 + 512].allSatisfy { $0 == 0xFF } }
    }

    @Test func anErrorAtARangeEndsTheRequestBeforeIt() {
        var medium = medium([Fault(.unreadable(.unrecovered), 5 * 512 + 100..<5 * 512 + 101)])
        var data = [UInt8](repeating: 0xEE, count: 8 * 512)
        #expect(medium.perform(read(2..<10), &data) == .failed(.unrecovered, afterBytes: 3 * 512))
        #expect(Array(data[..<1536]) == Array(medium.bytes[1024..<2560]) && data[1536...].allSatisfy { $0 == 0xEE })
        #expect(medium.perform(read(5..<6), &data) == .failed(.unrecovered, afterBytes: 0))
        #expect(medium.perform(read(6..<14), &data) == .done)
        data = [UInt8](repeating: 0xFF, count: 8 * 512)
        #expect(medium.perform(write(2..<10), &data) == .done, "only reads fail")
        #expect(written(medium) == Array(2..<10))
    }

    @Test func aWriteErrorLeavesWhatLiesBeforeIt() {
        var medium = medium([Fault(.unwritable(.noSpace), sectors(5..<7), count: 1)])
        var data = [UInt8](repeating: 0xFF, count: 8 * 512)
        #expect(medium.perform(write(2..<10), &data) == .failed(.noSpace, afterBytes: 3 * 512))
        #expect(written(medium) == [2, 3, 4])
        #expect(medium.perform(write(2..<10), &data) == .done, "the second attempt succeeds")
        #expect(written(medium) == Array(2..<10))
    }

    @Test func writesAreLostTornAndMisdirected() {
        for (kind, sectors) in [
            (Fault.Kind.lost, []), (.torn(afterBytes: 1300), [2, 3]),
            (.misdirected(toOffset: 20 * 512), [20, 21, 22, 23]),
        ] as [(Fault.Kind, [Int])] {
            var medium = medium([Fault(kind, self.sectors(9..<10), count: 1)])
            var data = [UInt8](repeating: 0xFF, count: 8 * 512)
            #expect(medium.perform(write(2..<10), &data) == .done)
            #expect(written(medium) == sectors, "\(kind)")
            #expect(medium.perform(write(2..<10), &data) == .done)
            #expect(written(medium) == Array(2..<10) + (sectors.last == 23 ? sectors : []))
        }
    }

    @Test func aShortTransferGoesOnAndADelayIsWaitedForOnce() {
        var medium = medium([
            Fault(.short(bytes: 1500), sectors(2..<3)), Fault(.delay(milliseconds: 20), sectors(2..<3)),
            Fault(.delay(milliseconds: 7), sectors(9..<10)),
        ])
        var data = [UInt8](repeating: 0xFF, count: 8 * 512)
        #expect(medium.perform(write(2..<10), &data) == .done)
        #expect(written(medium) == Array(2..<10))
        #expect(medium.requestCount == 4 && medium.milliseconds == 27)
    }

    /// A flush has no range: it is neither late nor lost.
    @Test func aFlushPasses() {
        var medium = medium([Fault(.lost, 0..<Self.sizeBytes), Fault(.delay(milliseconds: 5), 0..<Self.sizeBytes)])
        var data: [UInt8] = []
        #expect(medium.perform(BackendRequest(.flush), &data) == .done)
        #expect(medium.requestCount == 1 && medium.milliseconds == 0)
    }

    /// What comes before a block that nothing can be said of is known.
    @Test func whatIsStoredALayerMayKnowBetter() {
        var medium = medium([
            Fault(.extent(isMapped: true), sectors(4..<8)), Fault(.extent(isMapped: false), sectors(8..<10)),
            Fault(.unreadable(.unrecovered), sectors(20..<21)),
        ])
        medium.stored = (0..<Self.sectors).map { $0 < 2 || $0 >= 9 }
        var found: [BackendExtent?] = []
        var place: UInt64 = 0
        while place < Self.sectors {
            let extent = medium.lookUp(sectors(place..<Self.sectors))
            found.append(extent)
            place += (extent?.lengthBytes ?? 512) / 512
        }
        let stored = { BackendExtent(isMapped: true, lengthBytes: $0 * 512) }
        let hole = { BackendExtent(isMapped: false, lengthBytes: $0 * 512) }
        #expect(found == [stored(2), hole(2), stored(4), hole(2), stored(10), nil, stored(3)])
        #expect(medium.lookUp(sectors(5..<6)) == stored(1))
        #expect(medium.requestCount == 4, "nobody is asked about what is known")
    }

    /// A layer that changes nothing gives every request and every failure on.
    @Test func aStackWithoutLayersIsEmpty() {
        var stack = BlockStack()
        #expect(stack.isEmpty)
        stack.imageFaults = Faults([], sizeBytes: Self.sizeBytes, blockSize: .smallest)
        #expect(!stack.isEmpty)
        var task = BlockTask()
        var data = MutableRawSpan()
        let request = BackendRequest(.read, offset: 512, length: 1024, dataOffset: 512)
        #expect(stack.begin(request, &task, &data) == .io(request))
        #expect(stack.resume(.failed(.noSpace, afterBytes: 512), &task, &data) == .failed(.noSpace, afterBytes: 512))
        #expect(stack.begin(request, &task, &data) == .io(request))
        #expect(stack.resume(.done, &task, &data) == .finished)
    }

    @Test func whatAUnitWantsInBytes() throws {
        let large = try #require(BlockSize(bytes: 4096))
        #expect(
            BackendRequest(.write(lba: 3, count: 2), blockSize: large, dataOffset: 512)
                == BackendRequest(.write, offset: 12288, length: 8192, dataOffset: 512))
        #expect(
            BackendRequest(.read(lba: 1 << 48 - 1, count: 1), blockSize: .smallest, dataOffset: 0)
                == BackendRequest(.read, offset: (1 << 48 - 1) * 512, length: 512))
        #expect(BackendRequest(.flush, blockSize: large, dataOffset: 4096) == BackendRequest(.flush))
        #expect(
            BackendRequest(.discard(lba: 1, count: .max), blockSize: large, dataOffset: 0)
                == BackendRequest(.discard, offset: 4096, length: UInt64(UInt32.max) * 4096))
        #expect(
            BackendRequest(.prefetch(lba: 8, count: 1), blockSize: .smallest, dataOffset: 0)
                == BackendRequest(.prefetch, offset: 4096, length: 512))
        for bytes: UInt32 in [0, 1, 256, 520, 513, 8192, 1 << 31] { #expect(BlockSize(bytes: bytes) == nil) }
        for bytes: UInt32 in [512, 1024, 2048, 4096] { #expect(BlockSize(bytes: bytes)?.bytes == UInt64(bytes)) }
        for (bytes, blocks) in [
            (UInt64(0), UInt64(0)), (511, 1), (512, 1), (513, 2), (1_000_001, 1954), (.max, 1 << 55),
        ] {
            #expect(BlockSize.smallest.blocks(holdingBytes: bytes) == blocks)
        }
        for (bytes, blocks) in [(UInt64(0), UInt64(0)), (1, 1), (4095, 1), (4096, 1), (4097, 2), (.max, 1 << 52)] {
            #expect(large.blocks(holdingBytes: bytes) == blocks)
        }
    }

    private static func randomFault(_ generator: inout SeededGenerator) -> Fault {
        let first = UInt64.random(in: 0..<sizeBytes, using: &generator)
        let range = first..<min(first + .random(in: 1...3000, using: &generator), sizeBytes)
        let bytes = UInt64.random(in: 0...4000, using: &generator)
        let failure = [BlockFailure.unrecovered, .noSpace, .writeProtected].randomElement(using: &generator)!
        let kinds: [Fault.Kind] = [
            .unreadable(failure), .unwritable(failure), .short(bytes: bytes),
            .delay(milliseconds: .random(in: 0...50, using: &generator)), .lost, .torn(afterBytes: bytes),
            .misdirected(toOffset: .random(in: 0..<sizeBytes + 2048, using: &generator)),
            .inTurn, .extent(isMapped: .random(using: &generator)), .extent(isMapped: .random(using: &generator)),
        ]
        let counts = [nil, 0, 1, 2, 9]
        return Fault(kinds.randomElement(using: &generator)!, range, count: counts.randomElement(using: &generator)!)
    }

    /// Random faults above and below, random requests, and a backend that may fail as well.
    @Test func aMediumWithFaultsIsItsModel() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<40 {
            var generator = SeededGenerator(seed: seed &+ UInt64(round))
            let levels = (0..<2).map { _ in
                (0..<Int.random(in: 0...3, using: &generator)).map { _ in
                    Self.randomFault(&generator)
                }
            }
            let content = generator.bytes(Int(Self.sizeBytes))
            var medium = medium(levels[0], image: levels[1])
            medium.bytes = content
            medium.stored = (0..<Self.sectors).map { _ in Bool.random(using: &generator) }
            var model = ReferenceMedium(bytes: content, stored: medium.stored, levels: levels)
            if Bool.random(using: &generator) {
                let bad = UInt64.random(in: 0..<Self.sectors, using: &generator)
                medium.broken = sectors(bad..<bad + 1)
                model.broken = medium.broken
            }
            for step in 0..<30 {
                let first = UInt64.random(in: 0..<Self.sectors, using: &generator)
                let count = UInt64.random(in: 1...Self.sectors - first, using: &generator)
                let operations: [BackendOperation] = [
                    .read, .write, .read, .write, .writeZeroes(mayDeallocate: true), .discard, .prefetch, .flush,
                ]
                let operation = operations.randomElement(using: &generator)!
                let dataOffset = UInt64.random(in: 0...3, using: &generator) * 512
                let request =
                    operation == .flush
                    ? BackendRequest(.flush)
                    : BackendRequest(operation, offset: first * 512, length: count * 512, dataOffset: dataOffset)
                var data = generator.bytes(Int(dataOffset + count * 512))
                var modelData = data
                let outcome = medium.perform(request, &data)
                let expected = model.perform(request, &modelData)
                func place() -> Comment { "seed \(seed &+ UInt64(round)), step \(step): \(request), \(levels)" }
                let range = request.offset..<request.offset + max(request.length, 512)
                try #require(medium.lookUp(range) == model.lookUp(range), place())
                try #require(outcome == expected, place())
                try #require(data == modelData && medium.bytes == model.bytes, place())
                try #require(medium.milliseconds == model.milliseconds, place())
            }
        }
    }
}
