// A volatile write cache: what is read, what a flush brings to the image, and what a power cut leaves.

import Seeded
import Testing

@testable import Blocks

/// A cache above an array of bytes, with many requests under way at once, whose steps end in any order; and beside it
/// what each sector has been.
private struct CachedMedium {
    static let sectors: UInt64 = 48
    static let cacheSectors = 16

    var bytes = [UInt8](repeating: 0, count: Int(sectors) * 512)
    var stack = BlockStack()
    var cache: WriteCache { stack.writeCache! }
    private(set) var requests: [Running] = []
    private var waiting: [Int] = []
    /// By sector: what it was once, and each write since; the last one is the newest.
    private(set) var versions = [[UInt8]](repeating: [0], count: Int(sectors))
    /// By sector: the version that a flush has made stable; none before it can come back.
    private(set) var stable = [Int](repeating: 0, count: Int(sectors))
    /// Sectors that are being written. Which of two writes at once is the newest nobody could say.
    private(set) var writing: Set<UInt64> = []
    private var nextValue: UInt8 = 0

    struct Running {
        var request: BackendRequest
        var task = BlockTask()
        var data: [UInt8]
        var pending: BackendRequest?
        var isOver = false
        /// Of a read, by its sectors, and of a flush, by all: the newest answered version when it began.
        var marks: [Int]
    }

    init() {
        let cacheBytes = Self.cacheSectors * 512
        let memory = allocated(WriteCache.memoryBytes(cacheBytes: cacheBytes))
        stack.writeCache = WriteCache(cacheBytes: cacheBytes, memory: memory, blockSize: .smallest)
    }

    var pending: [Int] { requests.indices.filter { requests[$0].pending != nil } }

    /// Begins a request of whole sectors. A write has a value of its own.
    mutating func begin(_ operation: BackendOperation, _ sectors: Range<UInt64>) {
        var value: UInt8 = 0
        if operation == .write {
            nextValue = nextValue % 250 + 1
            value = nextValue
        }
        let isFlush = operation == .flush
        let all = isFlush ? 0..<Self.sectors : sectors
        let request = BackendRequest(
            operation, offset: isFlush ? 0 : sectors.lowerBound * 512, length: isFlush ? 0 : UInt64(sectors.count) * 512
        )
        requests.append(
            Running(
                request: request, data: [UInt8](repeating: value, count: Int(request.length)),
                marks: all.map { versions[Int($0)].count - (writing.contains($0) ? 2 : 1) }))
        // It may be in the image from now on.
        if operation == .write || operation == .writeZeroes(mayDeallocate: true) || operation == .discard {
            for sector in sectors { versions[Int(sector)].append(value) }
            writing.formUnion(sectors)
        }
        let number = requests.count - 1
        take(advance(number) { $0.begin(request, &$1, &$2) }, number)
    }

    /// What was under way for a request has ended.
    mutating func end(_ number: Int, fails: Bool) throws {
        let below = try #require(requests[number].pending)
        requests[number].pending = nil
        let outcome = fails ? BlockOutcome.failed(.unrecovered, afterBytes: 0) : .done
        if !fails { perform(below, number) }
        take(advance(number) { $0.resume(outcome, &$1, &$2) }, number)
    }

    private mutating func perform(_ below: BackendRequest, _ number: Int) {
        let place = Int(below.offset)..<Int(below.offset + below.length)
        let data = Int(below.dataOffset)..<Int(below.dataOffset + below.length)
        switch below.operation {
        case .read: requests[number].data.replaceSubrange(data, with: bytes[place])
        case .write:
            #expect(below.dataPlace == .layers)
            bytes.replaceSubrange(place, with: cache.memory[data])
        case .writeZeroes: bytes.replaceSubrange(place, with: repeatElement(0, count: place.count))
        case .flush, .discard, .prefetch, .lookUp: break
        }
    }

    private mutating func advance(
        _ number: Int, _ body: (inout BlockStack, inout BlockTask, inout MutableRawSpan) -> BlockStep
    ) -> BlockStep {
        var (task, data) = (requests[number].task, requests[number].data)
        let step = data.withMutableBytes { body(&stack, &task, &$0) }
        (requests[number].task, requests[number].data) = (task, data)
        return step
    }

    private mutating func take(_ step: BlockStep, _ number: Int) {
        note(step, number)
        while stack.takeWake() {
            let woken = waiting
            waiting = []
            for number in woken { note(advance(number) { $0.resume(.done, &$1, &$2) }, number) }
        }
    }

    private mutating func note(_ step: BlockStep, _ number: Int) {
        switch step {
        case .io(let below): requests[number].pending = below
        case .waitForOthers: waiting.append(number)
        case .finished: finish(number)
        case .failed: requests[number].isOver = true
        case .wait, .found: Issue.record("\(step) of a write cache")
        }
    }

    private mutating func finish(_ number: Int) {
        requests[number].isOver = true
        let request = requests[number].request
        let sectors = request.offset / 512..<(request.offset + request.length) / 512
        switch request.operation {
        case .read:
            for (index, sector) in sectors.enumerated() {
                let found = Set(requests[number].data[index * 512..<(index + 1) * 512])
                let allowed = versions[Int(sector)][requests[number].marks[index]...]
                #expect(
                    found.count == 1 && found.isSubset(of: Set(allowed)),
                    "sector \(sector): \(found), allowed \(allowed)")
            }
        case .flush:
            for (sector, mark) in requests[number].marks.enumerated() { stable[sector] = max(stable[sector], mark) }
        case .write, .writeZeroes, .discard: writing.subtract(sectors)
        case .prefetch, .lookUp: break
        }
    }

    /// Cuts the power, and takes what is left to the image.
    mutating func cut(_ cut: PowerCut) -> PowerCutReport {
        let report = stack.writeCache!.cut(cut)
        let memory = cache.memory
        stack.writeCache!.empty { left in
            switch left {
            case .write(let offset, let data):
                bytes.replaceSubrange(Int(offset)..<Int(offset) + 512, with: memory[data])
            case .zeroes(let range, _):
                bytes.replaceSubrange(
                    Int(range.lowerBound)..<Int(range.upperBound), with: repeatElement(0, count: range.count))
            }
        }
        return report
    }

    /// What a sector of the image is now; nil if it is torn inside, which a sector never is.
    func value(_ sector: Int) -> UInt8? {
        let found = Set(bytes[sector * 512..<(sector + 1) * 512])
        return found.count == 1 ? found.first : nil
    }

    /// The image is what the drive has been.
    mutating func forgetHistory() {
        versions = (0..<Int(Self.sectors)).map { [value($0) ?? 0] }
        stable = [Int](repeating: 0, count: Int(Self.sectors))
    }

    var isIdle: Bool { requests.allSatisfy(\.isOver) }
}

/// Memory for layers.
private func allocated(_ byteCount: Int) -> LayerMemory {
    let start = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
    return LayerMemory(start, byteCount: byteCount) { start, _ in start.deallocate() }
}

@Suite struct WriteCacheTests {
    private static let operations: [BackendOperation] = [
        .read, .read, .write, .write, .write, .write, .writeZeroes(mayDeallocate: true), .discard,
        .flush, .prefetch,
    ]

    /// Random requests at once, ended in any order, then a cut: what was flushed is there, each sector is something
    /// that it was since, and what is kept is what the report says.
    @Test(arguments: PowerCutKeeping.allCases) func aCutLeavesWhatADriveMayLeave(keeping: PowerCutKeeping) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var lostSomething = false
        for round in 0..<12 {
            var medium = CachedMedium()
            for _ in 0..<3 {
                try run(&medium, &numbers)
                let cut = PowerCut(keeping: keeping, seed: numbers.next())
                let before = (0..<Int(CachedMedium.sectors)).map { medium.value($0) }
                let report = medium.cut(cut)
                let place: Comment = "seed \(seed), round \(round), \(cut)"
                for sector in 0..<Int(CachedMedium.sectors) {
                    let value = try #require(medium.value(sector), place)
                    let versions = medium.versions[sector]
                    try #require(
                        versions[medium.stable[sector]...].contains(value), "\(place.rawValue), sector \(sector)")
                    if keeping == .all { try #require(value == versions.last, place) }
                    if keeping == .none { try #require(value == before[sector], place) }
                    let writes = report.writes.filter { $0.sectors.contains(UInt64(sector)) }
                    if writes.isEmpty { try #require(value == versions.last, place) }
                    let kept = writes.last { $0.kept.contains { $0.contains(UInt64(sector)) } }
                    if kept == nil { try #require(value == before[sector], place) }
                    if let kept, kept == writes.last { try #require(value == versions.last, place) }
                    lostSomething = lostSomething || value != versions.last
                }
                #expect(report.writes.map(\.sequence) == report.writes.map(\.sequence).sorted())
                medium.forgetHistory()
            }
        }
        #expect(lostSomething == (keeping != .all), "a cut that loses nothing is none; seed \(seed)")
    }

    private func run(_ medium: inout CachedMedium, _ numbers: inout SeededGenerator) throws {
        let end = medium.requests.count + 60
        while medium.requests.count < end || !medium.isIdle {
            if medium.requests.count < end, Int.random(in: 0..<2, using: &numbers) == 0 {
                let operation = Self.operations.randomElement(using: &numbers)!
                let first = UInt64.random(in: 0..<CachedMedium.sectors, using: &numbers)
                let length = UInt64.random(in: 1...min(20, CachedMedium.sectors - first), using: &numbers)
                let sectors = first..<first + length
                guard operation == .read || medium.writing.isDisjoint(with: sectors) else { continue }
                medium.begin(operation, sectors)
            } else if let number = medium.pending.randomElement(using: &numbers) {
                try medium.end(number, fails: false)
            } else {
                try #require(medium.requests.count < end, "requests wait for nobody")
            }
        }
    }

    @Test func theSameSeedGivesTheSameOutcome() {
        func outcome(_ seed: UInt64) -> (report: PowerCutReport, bytes: [UInt8]) {
            var medium = CachedMedium()
            for first in [0, 4, 2, 9] as [UInt64] { medium.begin(.write, first..<first + 4) }
            let report = medium.cut(PowerCut(keeping: .torn, seed: seed))
            return (report, medium.bytes)
        }
        let (first, second, other) = (outcome(1), outcome(1), outcome(2))
        #expect(first.report == second.report)
        #expect(first.bytes.elementsEqual(second.bytes), "the same seed")
        #expect(!first.bytes.elementsEqual(other.bytes), "another seed")
    }

    /// What cannot reach the image stays here: the flush fails, and the next one may succeed.
    @Test func aFlushThatFailsLosesNothing() throws {
        var medium = CachedMedium()
        medium.begin(.write, 3..<9)
        medium.begin(.flush, 0..<0)
        try medium.end(1, fails: true)
        #expect(medium.isIdle && medium.stable[3] == 0 && medium.value(3) == 0)
        medium.begin(.flush, 0..<0)
        try medium.end(2, fails: false)
        try medium.end(2, fails: false)
        #expect(medium.isIdle && medium.stable[3] == 1 && medium.value(3) == medium.versions[3].last)
        #expect(medium.cache.isClean)
    }

    /// A flush that comes while another request takes sectors to the image waits for it, and then goes on.
    @Test func oneTakesSectorsToTheImageAtATime() throws {
        var medium = CachedMedium()
        medium.begin(.write, 0..<4)
        medium.begin(.flush, 0..<0)
        medium.begin(.write, 0..<2)
        medium.begin(.flush, 0..<0)
        #expect(medium.pending == [1])
        try medium.end(1, fails: false)
        #expect(medium.pending == [1, 3])
        let below = try #require(medium.requests[3].pending)
        #expect(below.operation == .write && below.offset == 0 && below.length == 1024)
        #expect(medium.requests[1].pending?.operation == .flush)
    }

    /// Zeroes and trims are lost as writes are; sectors that are named are lost in any case.
    @Test func rangesAreLostAndNamedSectorsToo() {
        var medium = CachedMedium()
        medium.begin(.write, 0..<4)
        medium.begin(.writeZeroes(mayDeallocate: true), 1..<3)
        let report = medium.cut(PowerCut(keeping: .all, seed: 0, lost: [2...2]))
        #expect(report.writes.map(\.kept) == [[0..<2, 3..<4], [1..<2]])
        #expect(report.writes.map(\.fate) == [.torn, .torn])
        #expect((0..<4).map { medium.value($0) } == [1, 0, 0, 1])
        medium.begin(.writeZeroes(mayDeallocate: true), 0..<4)
        #expect(medium.cut(PowerCut(keeping: .none, seed: 0)).writes.map(\.fate) == [.lost])
        #expect(medium.value(0) == 1)
    }

    /// A client that writes one sector again and again, and zeroes it in between, holds nobody up.
    @Test(.timeLimit(.minutes(1))) func aSectorWithManyVersionsCostsNoMore() {
        let count = 60_000
        let cacheBytes = (2 * count + 8) * 512
        var stack = BlockStack()
        stack.writeCache = WriteCache(
            cacheBytes: cacheBytes, memory: allocated(WriteCache.memoryBytes(cacheBytes: cacheBytes)),
            blockSize: .smallest)
        var task = BlockTask()
        var data = [UInt8](repeating: 7, count: 512)
        let write = BackendRequest(.write, offset: 512, length: 512)
        let zeroes = BackendRequest(.writeZeroes(mayDeallocate: true), offset: 0, length: 4096)
        data.withMutableBytes { data in
            for _ in 0..<count { _ = stack.begin(write, &task, &data) }
            #expect(stack.begin(zeroes, &task, &data) == .finished)
            for _ in 0..<count { _ = stack.begin(write, &task, &data) }
            #expect(stack.begin(BackendRequest(.flush), &task, &data) == .io(zeroes))
            #expect(stack.writeCache?.versions.count == 2 * count)
            guard case .io(let below) = stack.resume(.done, &task, &data) else {
                Issue.record("the sector has not reached the image")
                return
            }
            #expect(below.offset == 512 && below.length == 512)
            #expect(stack.writeCache?.versions.count == count)
            #expect(stack.resume(.done, &task, &data) == .io(BackendRequest(.flush)))
            #expect(stack.writeCache?.isClean == true)
        }
    }

    /// A trimmed range reads as zeroes from the answer on, and is zeroes in the image, too.
    @Test func trimmedRangesReadAsTheyWillRead() throws {
        var medium = CachedMedium()
        medium.begin(.write, 0..<4)
        medium.begin(.discard, 1..<3)
        medium.begin(.read, 0..<4)
        let read = medium.requests[2].data
        #expect((0..<4).map { read[$0 * 512] } == [1, 0, 0, 1])
        let report = medium.cut(PowerCut(keeping: .all, seed: 0))
        #expect(report.writes.map(\.operation) == [.write, .discard])
        #expect((0..<4).map { medium.value($0) } == [1, 0, 0, 1])
    }

    /// A look-up says that what is here is stored, and asks below for no more than what is not.
    @Test func lookUpsKnowWhatIsHere() throws {
        var medium = CachedMedium()
        medium.begin(.write, 4..<6)
        var task = BlockTask()
        var data = MutableRawSpan()
        let whole = BackendRequest(.lookUp, offset: 0, length: CachedMedium.sectors * 512)
        #expect(medium.stack.begin(whole, &task, &data) == .io(whole.part(from: 0, count: 4 * 512)))
        let extent = BackendExtent(isMapped: false, lengthBytes: 1024)
        #expect(medium.stack.resume(extent, &task, &data) == .found(extent))
        let rest = whole.part(from: 4 * 512, count: 20 * 512)
        #expect(
            medium.stack.begin(rest, &task, &data) == .found(BackendExtent(isMapped: true, lengthBytes: 1024)))
    }
}
