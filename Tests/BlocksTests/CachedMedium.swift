// A drive with a write cache whose every state is known, for tests.

import Seeded
import Testing

@testable import Blocks

/// A cache above an array of bytes, with many requests under way at once, whose steps end in any order; and beside it
/// what each sector has been.
struct CachedMedium {
    static let sectors: UInt64 = 48
    static let cacheSectors = 16

    var bytes = [UInt8](repeating: 0, count: Int(sectors) * 512)
    var stack = BlockStack()
    var cache: WriteCache { stack.writeCache! }
    private(set) var requests: [Running] = []
    private(set) var waiting: [Int] = []
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
        var isAnswered = false
        /// Of a read, by its sectors, and of a flush, by all: the newest answered version when it began.
        var marks: [Int]
    }

    init(sectorsPerPhysical: UInt64 = 1) {
        let cacheBytes = Self.cacheSectors * 512
        let memory = allocated(WriteCache.memoryBytes(cacheBytes: cacheBytes))
        stack.writeCache = WriteCache(
            cacheBytes: cacheBytes, memory: memory, blockSize: .smallest, sectorsPerPhysical: sectorsPerPhysical)
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
        requests[number].task.writer = BlockWriter(client: UInt64(value))
        take(advance(number) { $0.begin(request, &$1, &$2) }, number)
    }

    /// Begins one of these on some sectors, unless they are being written.
    mutating func beginAny(of operations: [BackendOperation], _ numbers: inout SeededGenerator) {
        let operation = operations.randomElement(using: &numbers)!
        let first = UInt64.random(in: 0..<Self.sectors, using: &numbers)
        let sectors = first..<first + UInt64.random(in: 1...min(20, Self.sectors - first), using: &numbers)
        if operation == .read || writing.isDisjoint(with: sectors) { begin(operation, sectors) }
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
            #expect(below.dataPlace == .writeCache)
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
        case .finished:
            requests[number].isAnswered = true
            finish(number)
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
        let report = stack.writeCache!.cut(cut, sectors: Self.sectors)
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

    /// The clients of requests that wait have gone.
    mutating func giveUp() {
        for number in waiting { requests[number].isOver = true }
        waiting = []
        writing = []
    }
}

/// Memory for layers.
func allocated(_ byteCount: Int) -> LayerMemory {
    let start = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
    start.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    return LayerMemory(start, byteCount: byteCount) { start, _ in start.deallocate() }
}
