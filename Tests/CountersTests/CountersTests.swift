// Counts: cells that do not touch each other, sums over loops, latency buckets, what a FLUSH has covered.

import Testing

@testable import Counters

@Suite struct CountersTests {
    @Test func aBucketContainsItsBound() {
        // Nanoseconds, and the microseconds of the bound they come under.
        let known: [(UInt64, UInt64)] = [
            (0, 1), (1, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 4), (4000, 4), (4001, 8), (100_000, 128),
            (1_000_000, 1024), (1_024_000, 1024), (1_024_001, 2048), (8_388_608_000, 8_388_608),
        ]
        for (nanoseconds, bound) in known {
            let index = LatencyBuckets.index(nanoseconds: nanoseconds)
            #expect(LatencyBuckets.boundMicroseconds(index) == bound, "\(nanoseconds) ns")
        }
        #expect(LatencyBuckets.index(nanoseconds: 8_388_608_001) == LatencyBuckets.boundedCount)
        #expect(LatencyBuckets.index(nanoseconds: .max) == LatencyBuckets.boundedCount)
    }

    /// Every cell of every loop gets a number of its own; each still has it when all are set.
    @Test func noTwoCellsAreTheSame() throws {
        let counters = try ExportCounters(loopCount: 3)
        defer { withExtendedLifetime(counters) {} }
        var cells: [CounterCell] = []
        for loop in 0..<3 {
            let own = counters.cells(of: loop)
            cells += [own.inFlight, own.highestInFlight, own.written, own.stable]
            for kind in CommandKind.allCases {
                cells += [own.bytes(kind), own.nanoseconds(kind)]
                cells += ErrorKind.allCases.map { own.errors(kind, $0) }
                cells += (0..<LatencyBuckets.count).map { own.bucket(kind, $0) }
            }
            #expect(cells.count == ExportCells.cellCount * (loop + 1))
        }
        for (number, cell) in cells.enumerated() { cell.set(UInt64(number)) }
        for (number, cell) in cells.enumerated() { #expect(cell.value == number) }

        let loops = try LoopCounters(loopCount: 2)
        defer { withExtendedLifetime(loops) {} }
        let loopCells = (0..<2).flatMap { loop in
            LoopCount.allCases.map { loops.cells(of: loop)[$0] } + EndReason.allCases.map { loops.cells(of: loop)[$0] }
        }
        #expect(loopCells.count == 2 * LoopCells.cellCount)
        for (number, cell) in loopCells.enumerated() { cell.set(UInt64(number)) }
        for (number, cell) in loopCells.enumerated() { #expect(cell.value == number) }
    }

    @Test func figuresAreSumsOverTheLoops() throws {
        let counters = try ExportCounters(loopCount: 2)
        defer { withExtendedLifetime(counters) {} }
        let read = CommandKind.read
        for (loop, amount) in [(0, UInt64(3)), (1, 4)] {
            let cells = counters.cells(of: loop)
            cells.inFlight.add(amount)
            cells.highestInFlight.set(amount * 10)
            cells.bytes(read).add(amount * 512)
            cells.nanoseconds(read).add(amount * 1000)
            cells.errors(read, .inputOutput).add(amount)
            cells.bucket(read, 5).add(amount)
            cells.bucket(read, LatencyBuckets.boundedCount).add()
        }
        let figures = counters.figures()
        #expect(figures.inFlight == 7)
        // Not a sum: the loops need not have had theirs at the same time.
        #expect(figures.highestInFlight == 40)
        let commands = figures.commands[read.rawValue]
        #expect(commands.bytes == 7 * 512)
        #expect(commands.nanoseconds == 7000)
        #expect(commands.requests == 9)
        #expect(commands.buckets[5] == 7)
        #expect(commands.errors.reduce(0, +) == 7)
        #expect(figures.commands[CommandKind.write.rawValue] == CommandFigures())
    }

    @Test func aFlushCoversWhatWasWrittenBeforeItOnAllLoops() throws {
        let counters = try ExportCounters(loopCount: 2)
        defer { withExtendedLifetime(counters) {} }
        #expect(counters.unflushedBytes == 0)
        counters.cells(of: 0).written.add(1000)
        counters.cells(of: 1).written.add(200)
        #expect(counters.unflushedBytes == 1200)
        let covered = counters.writtenBytes
        // Written while the flush is under way.
        counters.cells(of: 0).written.add(30)
        counters.cells(of: 1).stable.set(covered)
        #expect(counters.unflushedBytes == 30)
        // One that began earlier and ends later takes nothing back.
        counters.cells(of: 0).stable.set(500)
        #expect(counters.unflushedBytes == 30)
    }

    @Test func requestsAreTimedToTheEndOfTheTurn() throws {
        let counters = try ExportCounters(loopCount: 1)
        defer { withExtendedLifetime(counters) {} }
        let cells = counters.cells(of: 0)
        var clock = RequestClock()
        clock.beginTurn()
        let hour: UInt64 = 3_600_000_000_000
        // One that arrived an hour ago (a machine may be younger), one that was refused at once, one that failed.
        clock.answer(RequestMeasure(kind: .write, arrival: clock.turnStart &- hour), bytes: 512, cells)
        clock.answer(RequestMeasure(kind: .unknown, error: .invalidArgument), bytes: 0, cells)
        clock.answer(
            RequestMeasure(kind: .read, arrival: clock.turnStart, error: .inputOutput), bytes: 4096, cells)
        #expect(counters.figures() == ExportFigures(), "the turn is not over")
        clock.settle()
        let figures = counters.figures()
        let write = figures.commands[CommandKind.write.rawValue]
        #expect(write.requests == 1)
        #expect(write.bytes == 512)
        #expect(write.buckets.last == 1)
        #expect(write.nanoseconds >= hour)
        let unknown = figures.commands[CommandKind.unknown.rawValue]
        #expect(unknown.requests == 1)
        #expect(unknown.errors[3] == 1)
        let read = figures.commands[CommandKind.read.rawValue]
        #expect(read.requests == 1)
        #expect(read.bytes == 0, "it has read nothing")
        #expect(read.errors[1] == 1)
        clock.settle()
        #expect(counters.figures() == figures, "each answer is counted once")
    }

    @Test func aTurnMayHaveAnyNumberOfAnswers() throws {
        let counters = try ExportCounters(loopCount: 1)
        defer { withExtendedLifetime(counters) {} }
        var clock = RequestClock()
        for _ in 0..<1000 {
            clock.answer(RequestMeasure(kind: .read), bytes: 2, counters.cells(of: 0))
        }
        clock.settle()
        let read = counters.figures().commands[CommandKind.read.rawValue]
        #expect(read.requests == 1000)
        #expect(read.bytes == 2000)
    }
}
