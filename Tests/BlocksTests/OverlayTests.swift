// An overlay: a disk of its own above an image that stays as it is.

import Seeded
import Testing

@testable import Blocks

/// An overlay above an image, with requests under way at once whose steps end in any order; and beside it the disk that
/// it should be.
private struct OverlaidMedium {
    static let sectors: UInt64 = 200
    private static let sectorBytes: UInt64 = 512

    let image: [UInt8]
    private(set) var own = [UInt8](repeating: 0, count: Int(sectors * sectorBytes))
    var stack = BlockStack()
    /// By sector: the value of each answered write; none: the image's.
    private(set) var disk: [UInt8]
    private(set) var running: [Running] = []
    private(set) var readCount = 0

    struct Running {
        let request: BackendRequest
        var task = BlockTask()
        var data: [UInt8]
        var pending: BackendRequest
        var sectors: Range<UInt64> { request.offset / 512..<(request.offset + request.length) / 512 }
        var changes: Bool {
            switch request.operation {
            case .write, .writeZeroes, .discard: true
            case .read, .lookUp, .flush, .prefetch: false
            }
        }
    }

    init(_ numbers: inout SeededGenerator) {
        image = numbers.bytes(Int(Self.sectors * Self.sectorBytes))
        disk = image
        let map = allocated(
            Int(Overlay.mapBytes(sizeBytes: Self.sectors * Self.sectorBytes, blockSize: .smallest)))
        stack.overlay = Overlay(sizeBytes: Self.sectors * Self.sectorBytes, blockSize: .smallest, map: map)
    }

    /// Begins a request, unless one that is under way changes the same sectors, or is changed by it.
    mutating func begin(_ operation: BackendOperation, _ sectors: Range<UInt64>, _ numbers: inout SeededGenerator) {
        let length = UInt64(sectors.count) * Self.sectorBytes
        let request = BackendRequest(operation, offset: sectors.lowerBound * Self.sectorBytes, length: length)
        var data: [UInt8] = []
        if operation == .write { data = numbers.bytes(Int(length)) }
        if operation == .read { data = [UInt8](repeating: 0xEE, count: Int(length)) }
        var one = Running(request: request, data: data, pending: request)
        guard !running.contains(where: { $0.sectors.overlaps(sectors) && ($0.changes || one.changes) }) else { return }
        let step = one.data.withMutableBytes { stack.begin(request, &one.task, &$0) }
        note(step, one)
    }

    /// What one of them has under way ends.
    mutating func end(_ number: Int, _ outcome: BlockOutcome = .done) {
        var one = running.remove(at: number)
        if one.pending.operation == .lookUp, outcome == .done {
            let extent = BackendExtent(isMapped: one.pending.file == 1, lengthBytes: one.pending.length)
            let step = one.data.withMutableBytes { stack.resume(extent, &one.task, &$0) }
            return note(step, one)
        }
        if outcome == .done { perform(&one) }
        let step = one.data.withMutableBytes { stack.resume(outcome, &one.task, &$0) }
        note(step, one)
    }

    private mutating func perform(_ one: inout Running) {
        let below = one.pending
        let place = Int(below.offset)..<Int(below.offset + below.length)
        let data = Int(below.dataOffset)..<Int(below.dataOffset + below.length)
        #expect(below.file == 0 || below.file == 1 && !one.changes, "the image is only read")
        switch below.operation {
        case .read: one.data.replaceSubrange(data, with: below.file == 0 ? own[place] : image[place])
        case .write: own.replaceSubrange(place, with: one.data[data])
        case .writeZeroes: own.replaceSubrange(place, with: repeatElement(0, count: place.count))
        case .discard, .flush, .lookUp: Issue.record("an overlay asks for nothing of the kind")
        case .prefetch: break
        }
    }

    private mutating func note(_ step: BlockStep, _ one: Running) {
        let place = Int(one.request.offset)..<Int(one.request.offset + one.request.length)
        switch step {
        case .io(let below):
            var one = one
            one.pending = below
            running.append(one)
        case .found(let extent):
            #expect(extent.lengthBytes > 0 && extent.lengthBytes <= one.request.length)
            // In these tests the image stores everything, and the overlay's file has only holes.
            for sector in one.sectors.prefix(Int(extent.lengthBytes / Self.sectorBytes)) {
                #expect(extent.isMapped == !changed.contains(sector))
            }
        case .finished:
            switch one.request.operation {
            case .write: change(one, to: one.data)
            case .writeZeroes, .discard: change(one, to: [UInt8](repeating: 0, count: place.count))
            case .read:
                readCount += 1
                let isRight = one.data == Array(disk[place])
                #expect(isRight, "sectors \(one.sectors) are not what was written")
            case .lookUp, .flush, .prefetch: break
            }
        case .failed: #expect(one.request.operation != .flush)
        case .wait, .waitForOthers: Issue.record("nothing has to wait")
        }
    }

    private(set) var changed: Set<UInt64> = []

    private mutating func change(_ one: Running, to data: [UInt8]) {
        disk.replaceSubrange(Int(one.request.offset)..<Int(one.request.offset) + data.count, with: data)
        changed.formUnion(one.sectors)
    }
}

@Suite struct OverlayTests {
    private static let operations: [BackendOperation] = [
        .read, .read, .read, .write, .write, .writeZeroes(mayDeallocate: true), .writeZeroes(mayDeallocate: false),
        .discard, .lookUp, .prefetch, .flush,
    ]

    /// Reads see the newest write, else the image; the image stays as it is, also where steps fail.
    @Test(arguments: UInt64(1)...12) func readsSeeTheNewestWriteElseTheImage(seed: UInt64) {
        var numbers = SeededGenerator(seed: seed)
        var medium = OverlaidMedium(&numbers)
        for _ in 0..<1500 {
            if Bool.random(using: &numbers), !medium.running.isEmpty {
                let fails = Int.random(in: 0..<20, using: &numbers) == 0
                medium.end(
                    Int.random(in: 0..<medium.running.count, using: &numbers),
                    fails ? .failed(.unrecovered, afterBytes: 0) : .done)
            } else {
                let operation = Self.operations.randomElement(using: &numbers)!
                let first = UInt64.random(in: 0..<OverlaidMedium.sectors, using: &numbers)
                let count = UInt64.random(in: 1...min(90, OverlaidMedium.sectors - first), using: &numbers)
                medium.begin(operation, operation == .flush ? 0..<0 : first..<first + count, &numbers)
            }
        }
        while !medium.running.isEmpty { medium.end(0) }
        #expect(medium.readCount > 50, "seed \(seed)")
        #expect(medium.stack.overlay?.ownBytes == UInt64(medium.changed.count) * 512, "seed \(seed)")
    }

    /// The files of a qcow2 image below an overlay come behind the overlay's own.
    @Test func filesOfTheImageComeBehindItsOwn() throws {
        let header = try HandMadeQcow2(HandMadeQcow2.Shape()).header
        var stack = BlockStack()
        stack.qcow2 = Qcow2(
            [header], rawBytes: nil, memory: allocated(Qcow2.memoryBytes([header])), blockSize: .smallest)
        stack.overlay = Overlay(
            sizeBytes: header.sizeBytes, blockSize: .smallest,
            map: allocated(Int(Overlay.mapBytes(sizeBytes: header.sizeBytes, blockSize: .smallest))))
        #expect(stack.diskBytes == header.sizeBytes)
        var task = BlockTask()
        var data = [UInt8](repeating: 1, count: 512)
        let read = data.withMutableBytes { stack.begin(BackendRequest(.read, length: 512), &task, &$0) }
        guard case .io(let table) = read else { return #expect(Bool(false), "a table is read first: \(read)") }
        #expect(table.file == 1 && table.dataPlace == .tables)
        var other = BlockTask()
        let write = data.withMutableBytes { stack.begin(BackendRequest(.write, length: 512), &other, &$0) }
        #expect(write == .io(BackendRequest(.write, length: 512)), "a write goes to the overlay's own file")
    }

    /// A sector is looked for in the newest file first, then in those that are frozen, then in the image behind them.
    /// One more write changes none of those.
    @Test func levelsAreAskedInTheirOrder() {
        var stack = BlockStack()
        var levels: [OverlayMap] = []
        var data = [UInt8](repeating: 0, count: 8 * 512)
        func parts(_ request: BackendRequest) -> [[UInt64]] {
            var task = BlockTask()
            var parts: [[UInt64]] = []
            var step = data.withMutableBytes { stack.begin(request, &task, &$0) }
            while case .io(let part) = step {
                parts.append([UInt64(part.file), part.offset / 512, part.length / 512])
                step = data.withMutableBytes { stack.resume(.done, &task, &$0) }
            }
            #expect(step == .finished)
            return parts
        }
        for written in [2..<6, 4..<5, 5..<6] as [Range<UInt64>] {
            let map = allocated(Int(Overlay.mapBytes(sizeBytes: 4096, blockSize: .smallest)))
            stack.overlay = Overlay(sizeBytes: 4096, blockSize: .smallest, map: map, above: levels)
            let write = BackendRequest(.write, offset: written.lowerBound * 512, length: UInt64(written.count) * 512)
            #expect(parts(write) == [[0, written.lowerBound, UInt64(written.count)]])
            levels = (stack.overlay.map { [$0.ownMap] } ?? []) + levels
        }
        let read = BackendRequest(.read, length: 4096)
        #expect(parts(read) == [[3, 0, 2], [2, 2, 2], [1, 4, 1], [0, 5, 1], [3, 6, 2]])
        #expect(stack.overlay?.ownBytes == 512)
        #expect(levels.map(\.count) == [1, 1, 4])
    }

    /// Runs of any length and place are found as a set says, in few steps.
    @Test(arguments: UInt64(1)...6) func aMapIsASet(seed: UInt64) {
        var numbers = SeededGenerator(seed: seed)
        let blocks: UInt64 = 1000
        var map = OverlayMap(allocated(Int(OverlayMap.memoryBytes(blocks: blocks))), blocks: blocks)
        var set: Set<UInt64> = []
        for _ in 0..<60 {
            let first = UInt64.random(in: 0..<blocks, using: &numbers)
            let range = first..<first + UInt64.random(in: 0...min(150, blocks - first), using: &numbers)
            map.insert(range)
            set.formUnion(range)
            #expect(map.count == UInt64(set.count))
            let asked = UInt64.random(in: 0..<blocks, using: &numbers)..<blocks
            let run = map.run(in: asked)
            let expected = asked.prefix { set.contains($0) == set.contains(asked.lowerBound) }.count
            #expect(run == (set.contains(asked.lowerBound), UInt64(expected)))
            let isSame = Set(map.ranges.ranges.joined()) == set
            #expect(isSame)
        }
    }

    /// Of a large disk, blocks are found wherever they are.
    @Test func aLargeMap() {
        let blocks: UInt64 = 70 << 20 + 3
        var map = OverlayMap(allocated(Int(OverlayMap.memoryBytes(blocks: blocks))), blocks: blocks)
        // The ends of words, of parts, and of the words that say which parts there are.
        let ranges: [Range<UInt64>] = [
            0..<1, 32767..<32769, 1_048_575..<1_048_576, 2_097_152..<2_097_153, 5_000_000..<5_040_000,
            blocks - 1..<blocks,
        ]
        for range in ranges.reversed() { map.insert(range) }
        #expect(map.ranges.ranges == ranges)
    }
}
