// Requests that wait for each other in a layer: one at a time, in the order of their coming, and none for ever.

import Seeded
import Testing

@testable import Blocks

@Suite struct TurnTests {
    private static let sectors: UInt64 = 16
    private static let sizeBytes = sectors * 512

    /// Many requests in a stack at once, whose steps end in any order.
    private struct BusyMedium {
        var stack = BlockStack()
        private(set) var requests: [BackendRequest] = []
        private var tasks: [BlockTask] = []
        /// What is under way below, or for how long it is waited.
        private(set) var pending: Set<Int> = []
        private var delayed: Set<Int> = []
        private(set) var waiting: [Int] = []
        /// In the order in which they came further than that.
        private(set) var entered: [Int] = []
        private(set) var endedCount = 0

        /// Begins a request, with the next number.
        mutating func begin(_ request: BackendRequest) {
            let number = requests.count
            requests.append(request)
            tasks.append(BlockTask())
            var data = MutableRawSpan()
            take(stack.begin(request, &tasks[number], &data), number)
        }

        /// What was under way for a request has ended. A time that passes, or a look-up below, does not fail.
        mutating func end(_ number: Int, _ outcome: BlockOutcome) {
            pending.remove(number)
            var data = MutableRawSpan()
            if delayed.remove(number) != nil {
                take(stack.resume(.done, &tasks[number], &data), number)
            } else if requests[number].operation == .lookUp {
                take(stack.resume(BackendExtent(isMapped: true, lengthBytes: 512), &tasks[number], &data), number)
            } else {
                take(stack.resume(outcome, &tasks[number], &data), number)
            }
        }

        private mutating func take(_ step: BlockStep, _ number: Int) {
            var data = MutableRawSpan()
            note(step, number)
            while stack.takeWake() {
                let woken = waiting
                waiting = []
                for number in woken { note(stack.resume(.done, &tasks[number], &data), number) }
            }
        }

        private mutating func note(_ step: BlockStep, _ number: Int) {
            if step == .waitForOthers { return waiting.append(number) }
            if !entered.contains(number) { entered.append(number) }
            switch step {
            case .io: pending.insert(number)
            case .wait:
                pending.insert(number)
                delayed.insert(number)
            case .finished, .failed, .found: endedCount += 1
            case .waitForOthers: break
            }
        }
    }

    private func faults(_ list: [Fault]) -> Faults { Faults(list, sizeBytes: Self.sizeBytes, blockSize: .smallest) }

    private func write(_ range: Range<UInt64>) -> BackendRequest {
        BackendRequest(.write, offset: range.lowerBound * 512, length: UInt64(range.count) * 512)
    }

    @Test func aRequestWaitsForTheOneBeforeIt() {
        var medium = BusyMedium()
        medium.stack.faults = faults([Fault(.inTurn, 0..<1024)])
        for range in [0..<1, 1..<3, 2..<4, 0..<2, 0..<4] as [Range<UInt64>] { medium.begin(write(range)) }
        medium.begin(BackendRequest(.flush))
        #expect(medium.pending == [0, 2, 5] && medium.waiting == [1, 3, 4])
        medium.end(2, .done)
        #expect(medium.waiting == [1, 3, 4], "that was not in its turn")
        medium.end(0, .failed(.unrecovered))
        #expect(medium.pending == [1, 5] && medium.waiting == [3, 4], "a failure ends a turn, too")
        medium.end(1, .done)
        medium.end(3, .done)
        #expect(medium.pending == [4, 5] && medium.waiting == [])
        medium.end(4, .done)
        medium.begin(write(0..<1))
        #expect(medium.pending == [5, 6])
    }

    /// Those that a fault with a count does not happen to do not wait, whoever has the turn.
    @Test func aTurnMayComeANumberOfTimes() {
        var medium = BusyMedium()
        medium.stack.faults = faults([Fault(.inTurn, 0..<512, count: 2)])
        for _ in 0..<2 { medium.begin(write(0..<1)) }
        #expect(medium.waiting == [1])
        medium.end(0, .done)
        medium.begin(write(0..<1))
        #expect(medium.pending == [1, 2])
    }

    private static let operations: [BackendOperation] = [
        .read, .write, .write, .writeZeroes(mayDeallocate: true), .discard, .prefetch, .lookUp, .flush,
    ]

    /// Random requests through one layer or two, ended in any order, some of them by failures.
    @Test func everyTurnEndsAndTheNextOneBegins() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<60 {
            var generator = SeededGenerator(seed: seed &+ UInt64(round))
            func sectors() -> Range<UInt64> {
                let first = UInt64.random(in: 0..<Self.sectors, using: &generator)
                return first..<first + .random(in: 1...Self.sectors - first, using: &generator)
            }
            let levels = (0..<2).map { _ in
                (0..<Int.random(in: 1...3, using: &generator)).map { _ in
                    let range = sectors()
                    return Fault(.inTurn, range.lowerBound * 512..<range.upperBound * 512)
                }
            }
            let hasTwo = Bool.random(using: &generator)
            var medium = BusyMedium()
            let others = [Fault(.short(bytes: 1024), 0..<Self.sizeBytes), Fault(.delay(milliseconds: 1), 0..<1024)]
            medium.stack.faults = faults(levels[0] + others)
            if hasTwo { medium.stack.imageFaults = faults(levels[1]) }
            func turn(_ number: Int) -> Int? { levels[0].firstIndex { $0.concerns(medium.requests[number]) } }
            let place: Comment = "seed \(seed &+ UInt64(round)): \(hasTwo ? levels : [levels[0]])"
            while medium.requests.count < 100 || !medium.pending.isEmpty {
                if medium.requests.count < 100, Int.random(in: 0..<3, using: &generator) == 0 {
                    let range = sectors()
                    let operation = Self.operations.randomElement(using: &generator)!
                    medium.begin(
                        operation == .flush
                            ? BackendRequest(.flush)
                            : BackendRequest(
                                operation, offset: range.lowerBound * 512, length: UInt64(range.count) * 512))
                } else if let number = medium.pending.sorted().randomElement(using: &generator) {
                    let fails = Int.random(in: 0..<5, using: &generator) == 0
                    medium.end(number, fails ? .failed(.unrecovered) : .done)
                }
                let taken = medium.pending.compactMap(turn)
                try #require(Set(taken).count == taken.count, place)
            }
            try #require(medium.waiting == [] && medium.endedCount == 100, place)
            guard !hasTwo else { continue }
            for number in levels[0].indices {
                let order = medium.entered.filter { turn($0) == number }
                try #require(order == order.sorted(), place)
            }
        }
    }
}
