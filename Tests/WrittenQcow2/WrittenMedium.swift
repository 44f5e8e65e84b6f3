// A qcow2 image that is written while its power may go at any moment, for tests.

import Seeded

@testable import Blocks

/// An image below a stack, many requests under way at once, whose steps end in any order; and beside it what each
/// sector of the disk has been. What is written to its file is lost by a power cut, unless a flush has ended that began
/// later.
public struct WrittenMedium {
    private static let sectorBytes = 512
    private static let fullBytes: UInt64 = 64 << 20

    private var stack = BlockStack()
    /// The image's file as its users see it.
    public private(set) var file: [UInt8]
    /// What of it a power cut cannot take away.
    private var stableFile: [UInt8]
    /// What has been written since, in order, and how many changes are no longer among these.
    public private(set) var unstable: [Change] = []
    private var changesMadeStable = 0
    /// The raw backing file.
    public let backing: [UInt8]?
    /// How large the disk is.
    public let sectorCount: Int
    private var requests: [Running] = []
    /// Those that have something under way below.
    public private(set) var pending: [Int] = []
    private var waiting: [Int] = []
    /// By sector: what it was once, and each change since.
    private var versions: [[UInt32]]
    /// By sector: nothing in front of this version can be read any more.
    private var current: [Int]
    /// By sector: nothing in front of this version is left by a power cut.
    private var stable: [Int]
    private var writing: Set<Int> = []
    private var nextStamp: UInt32 = 0
    /// Sectors that were read and are none of what they may be.
    public private(set) var mistakes: [String] = []

    /// Bytes that were written to the file; zeroes only where there is a file.
    public struct Change: Sendable {
        var offset: Int
        var bytes: [UInt8]
        var isPunch = false
        /// A flush has failed, and the kernel does not write it any more (fsync(2), EIO).
        var isForgotten = false

        func apply(to file: inout [UInt8]) {
            let end = isPunch ? min(offset + bytes.count, file.count) : offset + bytes.count
            guard end > offset else { return }
            if file.count < end { file += [UInt8](repeating: 0, count: end - file.count) }
            file.replaceSubrange(offset..<end, with: bytes[..<(end - offset)])
        }
    }

    private struct Running {
        var request: BackendRequest
        var task = BlockTask()
        var data: [UInt8]
        var below: BackendRequest?
        /// Of a write below, what is in the memory when it is asked for.
        var change: Change?
        /// Of a flush below, how many changes there were.
        var changeCount = 0
        /// What of each sector may be read, or is stable afterwards.
        var marks: [Int] = []
        var end: BlockStep?
    }

    /// Begins with an image and what is on its disk.
    public init(_ file: [UInt8], disk: [UInt32], backing: [UInt8]? = nil) throws {
        self.file = file
        self.backing = backing
        stableFile = file
        sectorCount = disk.count
        versions = disk.map { [$0] }
        current = Array(repeating: 0, count: disk.count)
        stable = current
        let header = try Qcow2Header(Array(file.prefix(Qcow2Header.byteCount)), fileBytes: UInt64(file.count))
        try header.checkWritable()
        let memory = Self.memory(Qcow2.memoryBytes([header], isWritable: true))
        stack.qcow2 = Qcow2(
            [header], rawBytes: backing.map { UInt64($0.count) }, memory: memory, blockSize: .smallest,
            isWritable: true)
    }

    private static func memory(_ byteCount: Int) -> LayerMemory {
        let start = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
        start.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        return LayerMemory(start, byteCount: byteCount) { start, _ in start.deallocate() }
    }

    /// A sector full of a number.
    public static func sector(_ stamp: UInt32) -> [UInt8] {
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: stamp >> (24 - 8 * $0)) }
        return (0..<sectorBytes).map { bytes[$0 & 3] }
    }

    /// The number that a sector is full of; nil: it is not.
    public static func stamp(_ sector: ArraySlice<UInt8>) -> UInt32? {
        let (first, last) = (sector.prefix(4), sector.suffix(4))
        guard first.elementsEqual(last), sector.dropFirst(252).prefix(4).elementsEqual(first) else { return nil }
        return first.reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// Requests.
extension WrittenMedium {
    /// All have ended.
    public var isIdle: Bool { requests.allSatisfy { $0.end != nil } }

    /// How many have failed.
    public var failureCount: Int {
        requests.count {
            if case .failed = $0.end { true } else { false }
        }
    }

    /// How many have something under way, or wait.
    public var underWayCount: Int { pending.count + waiting.count }

    /// Begins a request of whole sectors.
    @discardableResult
    public mutating func begin(_ operation: BackendOperation, _ sectors: Range<Int>) -> Int {
        let isFlush = operation == .flush
        let request = BackendRequest(
            operation, offset: isFlush ? 0 : UInt64(sectors.lowerBound * Self.sectorBytes),
            length: isFlush ? 0 : UInt64(sectors.count * Self.sectorBytes))
        var running = Running(request: request, data: [])
        switch operation {
        case .write:
            nextStamp += 1
            running.data = sectors.flatMap { _ in Self.sector(nextStamp) }
        case .read: running.data = [UInt8](repeating: 0xEE, count: sectors.count * Self.sectorBytes)
        case .writeZeroes, .discard, .flush, .prefetch, .lookUp: break
        }
        running.marks = (isFlush ? 0..<sectorCount : sectors).map { current[$0] }
        switch operation {
        case .write, .writeZeroes, .discard:
            for sector in sectors { versions[sector].append(operation == .write ? nextStamp : 0) }
            writing.formUnion(sectors)
        case .read, .flush, .prefetch, .lookUp: break
        }
        requests.append(running)
        let number = requests.count - 1
        take(advance(number) { $0.begin(request, &$1, &$2) }, number)
        return number
    }

    /// Begins one of these on some sectors, unless these are being written.
    public mutating func beginAny(_ numbers: inout SeededGenerator, most: Int = 40) {
        let operations: [BackendOperation] = [
            .write, .write, .write, .write, .read, .writeZeroes(mayDeallocate: true),
            .writeZeroes(mayDeallocate: false),
            .discard,
        ]
        let operation = operations.randomElement(using: &numbers)!
        let first = Int.random(in: 0..<sectorCount, using: &numbers)
        let sectors = first..<first + Int.random(in: 1...min(most, sectorCount - first), using: &numbers)
        if operation == .read || writing.isDisjoint(with: sectors) { begin(operation, sectors) }
    }

    /// What was under way for a request has ended.
    public mutating func end(_ number: Int, _ outcome: BlockOutcome = .done) {
        guard let below = requests[number].below else { return }
        // Damaged refcounts may say that gigabytes are used.
        let outcome = below.operation == .write && below.offset > Self.fullBytes ? .failed(.noSpace) : outcome
        requests[number].below = nil
        pending.removeAll { $0 == number }
        if outcome == .done { perform(below, number) } else if below.operation == .flush { forget(number) }
        take(advance(number) { $0.resume(outcome, &$1, &$2) }, number)
    }

    /// Ends all that is under way, in any order.
    public mutating func endAll(_ numbers: inout SeededGenerator) {
        while let next = pending.randomElement(using: &numbers) { end(next) }
    }

    /// Performs one alone.
    public mutating func perform(_ operation: BackendOperation, _ sectors: Range<Int>) {
        let number = begin(operation, sectors)
        while requests[number].below != nil { end(number) }
    }

    /// A flush has failed: of what it was for, every second change never reaches the disk, however often others ask.
    private mutating func forget(_ number: Int) {
        let count = max(0, requests[number].changeCount - changesMadeStable)
        for index in unstable.indices.prefix(count) where index & 1 == 0 { unstable[index].isForgotten = true }
    }

    private func place(_ below: BackendRequest, _ number: Int) -> [UInt8] {
        let range = Int(below.dataOffset)..<Int(below.dataOffset + below.length)
        if let memory = stack.memory(of: below.dataPlace) { return Array(memory[range]) }
        return Array(requests[number].data[range])
    }

    private mutating func perform(_ below: BackendRequest, _ number: Int) {
        let (start, count) = (Int(below.offset), Int(below.length))
        switch below.operation {
        case .read:
            let file = below.file == 0 ? file : backing ?? []
            var bytes = Array(file.dropFirst(start).prefix(count))
            bytes += [UInt8](repeating: 0, count: count - bytes.count)
            let place = Int(below.dataOffset)
            if let memory = stack.memory(of: below.dataPlace) {
                memory[place..<place + count].copyBytes(from: bytes)
            } else {
                requests[number].data.replaceSubrange(place..<place + count, with: bytes)
            }
        case .write, .writeZeroes, .discard:
            guard let change = requests[number].change else { return }
            change.apply(to: &file)
            unstable.append(change)
        case .flush:
            let count = requests[number].changeCount
            // Another flush may have ended meanwhile.
            let stableCount = changesMadeStable
            for change in unstable.prefix(max(0, count - stableCount)) where !change.isForgotten {
                change.apply(to: &stableFile)
            }
            unstable.removeFirst(min(unstable.count, max(0, count - stableCount)))
            changesMadeStable = max(stableCount, count)
        case .prefetch, .lookUp: break
        }
    }

    private mutating func advance(
        _ number: Int, _ body: (inout BlockStack, inout BlockTask, inout MutableRawSpan) -> BlockStep
    ) -> BlockStep {
        var (task, data) = (requests[number].task, requests[number].data)
        requests[number].data = []
        let step = data.withUnsafeMutableBytes {
            var span = MutableRawSpan(_unsafeBytes: $0)
            return body(&stack, &task, &span)
        }
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
        case .io(let below):
            requests[number].below = below
            pending.append(number)
            requests[number].changeCount = changesMadeStable + unstable.count
            requests[number].change =
                switch below.operation {
                case .write: Change(offset: Int(below.offset), bytes: place(below, number))
                case .writeZeroes, .discard:
                    Change(
                        offset: Int(below.offset), bytes: [UInt8](repeating: 0, count: Int(below.length)),
                        isPunch: below.operation == .discard)
                case .read, .flush, .prefetch, .lookUp: nil
                }
            if below.file != 0, below.operation != .read { mistakes.append("a backing file is written") }
        case .waitForOthers: waiting.append(number)
        case .wait: mistakes.append("it waits for time")
        case .finished, .failed, .found: finish(number, step)
        }
    }

    private mutating func finish(_ number: Int, _ step: BlockStep) {
        requests[number].end = step
        let request = requests[number].request
        let sectors = Int(request.offset) / Self.sectorBytes..<Int(request.offset + request.length) / Self.sectorBytes
        switch request.operation {
        case .read where step == .finished:
            for (index, sector) in sectors.enumerated() {
                let bytes = requests[number].data[index * Self.sectorBytes..<(index + 1) * Self.sectorBytes]
                check(Self.stamp(bytes), sector, versions[sector][requests[number].marks[index]...])
            }
        case .write, .writeZeroes, .discard:
            writing.subtract(sectors)
            guard step == .finished else { break }
            // What a discarded sector is nobody says.
            if request.operation != .discard { for sector in sectors { current[sector] = versions[sector].count - 1 } }
        case .flush where step == .finished:
            for sector in 0..<sectorCount { stable[sector] = max(stable[sector], requests[number].marks[sector]) }
        case .read, .flush, .prefetch, .lookUp: break
        }
        requests[number].data = []
        requests[number].marks = []
    }

    private mutating func check(_ stamp: UInt32?, _ sector: Int, _ allowed: ArraySlice<UInt32>) {
        guard let stamp, allowed.contains(stamp) else {
            mistakes.append("sector \(sector) is \(stamp.map { "\($0)" } ?? "torn"), and may be \(Array(allowed))")
            return
        }
    }
}

/// Power.
extension WrittenMedium {
    /// Everything that a power cut may lose: what was not flushed, and what is on its way.
    public var losable: [Change] {
        unstable.filter { !$0.isForgotten } + pending.compactMap { requests[$0].change }
    }

    /// The file after a power cut, of which these have arrived.
    public func file(keeping kept: [Change]) -> [UInt8] {
        var file = stableFile
        for change in kept { change.apply(to: &file) }
        return file
    }

    /// What a power cut keeps: of each change none, all, or any sectors.
    public func cut(_ numbers: inout SeededGenerator) -> [UInt8] {
        var kept: [Change] = []
        for change in losable {
            switch Int.random(in: 0...3, using: &numbers) {
            case 0: break
            case 1, 2: kept.append(change)
            default:
                for start in stride(from: 0, to: change.bytes.count, by: Self.sectorBytes)
                where Bool.random(using: &numbers) {
                    let bytes = change.bytes[start..<min(start + Self.sectorBytes, change.bytes.count)]
                    kept.append(Change(offset: change.offset + start, bytes: Array(bytes), isPunch: change.isPunch))
                }
            }
        }
        return file(keeping: kept)
    }

    /// What a sector may be after a power cut.
    public func allowedAfterCut(_ sector: Int) -> ArraySlice<UInt32> { versions[sector][stable[sector]...] }

    /// What it may be now.
    public func allowed(_ sector: Int) -> ArraySlice<UInt32> { versions[sector][current[sector]...] }
}
