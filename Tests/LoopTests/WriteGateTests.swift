// The gate between writes: who may enter, who is woken, and threads that try everything at once.

import Backends
import Foundation
import Seeded
import Support
import Synchronization
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct WriteGateTests {
    @Test func manyShareOneIsAlone() throws {
        let gate = try WriteGate(loopCount: 2)
        #expect(gate.enterShared(loop: 0) == .entered(.nobody))
        #expect(gate.enterShared(loop: 0) == .entered(.nobody))
        #expect(gate.enterShared(loop: 1) == .entered(.nobody))
        var hasClaim = false
        #expect(gate.enterAlone(loop: 1, hasClaim: &hasClaim) == .refused(.nobody))
        #expect(hasClaim)
        // From the claim on nobody else enters, or the claim could wait for ever.
        #expect(gate.enterShared(loop: 0) == .refused(.nobody))
        var other = false
        #expect(gate.enterAlone(loop: 0, hasClaim: &other) == .refused(.nobody))
        #expect(!other)
        // The last of a loop wakes the one that waits.
        #expect(gate.leaveShared(loop: 0) == .nobody)
        #expect(gate.leaveShared(loop: 0) == .loop(1))
        #expect(gate.enterAlone(loop: 1, hasClaim: &hasClaim) == .refused(.nobody))
        #expect(gate.leaveShared(loop: 1) == .loop(1))
        #expect(gate.enterAlone(loop: 1, hasClaim: &hasClaim) == .entered(.nobody))
        #expect(gate.enterShared(loop: 0) == .refused(.nobody))
        #expect(gate.leaveAlone(loop: 1) == .all)
        // It was refused before, so that others may have waited for it to get its turn.
        #expect(gate.enterShared(loop: 0) == .entered(.all))
        #expect(gate.leaveShared(loop: 0) == .nobody)
    }

    /// A writer that was refused leaves no trace.
    @Test func theRefusedDoNotCount() throws {
        let gate = try WriteGate(loopCount: 3)
        var hasClaim = false
        #expect(gate.enterAlone(loop: 2, hasClaim: &hasClaim) == .entered(.nobody))
        for loop in 0..<3 { #expect(gate.enterShared(loop: loop) == .refused(.nobody)) }
        #expect(gate.leaveAlone(loop: 2) == .all)
        var next = false
        #expect(gate.enterAlone(loop: 0, hasClaim: &next) == .entered(.all))
    }

    /// Nobody leaves a gate that it has not entered.
    @Test func onlyWhoIsInsideLeaves() async {
        await #expect(processExitsWith: .failure) {
            _ = try WriteGate(loopCount: 2).leaveShared(loop: 0)
        }
        await #expect(processExitsWith: .failure) {
            let gate = try WriteGate(loopCount: 2)
            var hasClaim = false
            _ = gate.enterAlone(loop: 0, hasClaim: &hasClaim)
            _ = gate.leaveAlone(loop: 1)
        }
    }

    /// A loop that was alone does not claim the gate again before those that waited have had their turn.
    @Test func whoWaitsLongerComesFirst() throws {
        let gate = try WriteGate(loopCount: 3)
        var first = false
        #expect(gate.enterAlone(loop: 0, hasClaim: &first) == .entered(.nobody))
        #expect(gate.enterShared(loop: 1) == .refused(.nobody))
        var second = false
        #expect(gate.enterAlone(loop: 2, hasClaim: &second) == .refused(.nobody))
        #expect(gate.leaveAlone(loop: 0) == .all)
        var again = false
        #expect(gate.enterAlone(loop: 0, hasClaim: &again) == .refused(.nobody))
        #expect(gate.enterAlone(loop: 2, hasClaim: &second) == .refused(.nobody))
        #expect(gate.enterShared(loop: 1) == .entered(.all))
        #expect(gate.enterAlone(loop: 0, hasClaim: &again) == .refused(.nobody))
        #expect(gate.enterAlone(loop: 2, hasClaim: &second) == .refused(.all))
        #expect(second && !again)
        #expect(gate.leaveShared(loop: 1) == .loop(2))
        #expect(gate.enterAlone(loop: 2, hasClaim: &second) == .entered(.nobody))
    }

    /// Each thread behaves as a loop does: who may not enter sleeps until woken, and is lost if nobody wakes it.
    @Test(arguments: [2, 4])
    func threadsThatSleepUntilWoken(loopCount: Int) throws {
        let gate = try WriteGate(loopCount: loopCount)
        let seed = UInt64.random(in: 0...UInt64.max)
        let observer = Observer(loopCount: loopCount)
        for loop in 0..<loopCount {
            Thread.detachNewThread {
                var generator = SeededGenerator(seed: seed &+ UInt64(loop))
                for _ in 0..<2000 {
                    guard observer.serve(one: gate, loop, alone: Int.random(in: 0..<3, using: &generator) == 0) else {
                        break
                    }
                }
                observer.finished.signal()
            }
        }
        for _ in 0..<loopCount { #expect(observer.finished.wait(timeout: .now() + 60) == .success, "seed \(seed)") }
        #expect(observer.served.load(ordering: .relaxed) == loopCount * 2000, "seed \(seed): somebody was never woken")
        #expect(observer.overlaps.load(ordering: .relaxed) == 0, "seed \(seed)")
        #expect(observer.shared.load(ordering: .relaxed) == 0 && observer.alone.load(ordering: .relaxed) == 0)
    }

    /// A writer that was let in for a moment, and then saw that another one had come first, has left again.
    @Test func whoIsTurnedAwayLateHasLeft() throws {
        let gate = try WriteGate(loopCount: 2)
        let lateCount = Atomic<Int>(0)
        let isDone = Atomic<Bool>(false)
        let finished = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while !isDone.load(ordering: .relaxed) {
                switch gate.enterShared(loop: 0) {
                case .entered: _ = gate.leaveShared(loop: 0)
                case .refused(.nobody): break
                case .refused: lateCount.add(1, ordering: .relaxed)
                }
            }
            finished.signal()
        }
        let deadline = Date(timeIntervalSinceNow: 60)
        var count = 0
        var hasClaim = false
        while lateCount.load(ordering: .relaxed) < 20 && Date() < deadline {
            var attempts = 0
            while true {
                if case .entered = gate.enterAlone(loop: 1, hasClaim: &hasClaim) { break }
                attempts += 1
                if attempts % 1000 == 0, Date() > deadline { break }
            }
            if attempts % 1000 == 0, attempts > 0 { break }
            _ = gate.leaveAlone(loop: 1)
            hasClaim = false
            count += 1
        }
        isDone.store(true, ordering: .relaxed)
        finished.wait()
        // With nobody there, whoever comes is let in.
        if hasClaim { _ = gate.leaveAlone(loop: 1) }
        hasClaim = false
        // The other loop may have been refused last, and its turn comes first.
        if case .entered = gate.enterShared(loop: 0) { _ = gate.leaveShared(loop: 0) }
        guard case .entered = gate.enterAlone(loop: 1, hasClaim: &hasClaim) else {
            Issue.record("a writer has been forgotten in the gate after \(count) rounds")
            return
        }
    }

    /// A writer that comes to be alone may let go on who waits before it in the line of its loop: at once, not when
    /// something else happens there.
    @Test func whoWaitsBeforeAWriterThatWasAloneGoesOnWithIt() throws {
        let folder = try TemporaryFolder()
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        let gate = loops.entry.gate
        // This test stands for other writers of the loop. (With another loop there would be messages, which are turns.)
        let client = try Client(loops.path)
        func seconds() throws -> Int { try #require(try loops.connections().first).seconds }
        // A turn that nothing else causes comes with the loop's next second. If those in the line waited for that, no
        // round would be over within a second.
        try waitUntil("all were answered within one second of the loop") {
            var hasClaim = false
            guard case .entered = gate.enterAlone(loop: 0, hasClaim: &hasClaim) else {
                throw ProgramFailure("somebody is in the gate")
            }
            try client.write([UInt8](repeating: 1, count: 512), at: 0, cookie: 1)
            try loops.settle(client)
            _ = gate.leaveAlone(loop: 0)
            guard case .entered = gate.enterShared(loop: 0) else {
                throw ProgramFailure("the gate is taken")
            }
            try client.write([2, 2, 2], at: 5000, cookie: 2)
            try loops.settle(client)
            let before = try seconds()
            _ = gate.leaveShared(loop: 0)
            try client.request(.read, at: 0, 0x200, cookie: 3)
            for _ in 0..<3 {
                let header = try client.connection.receive(16)
                if header[15] == 3 { _ = try client.connection.receive(512) }
            }
            return try seconds() == before
        }
        #expect(try loops.stop())
    }

    /// What the threads see of each other.
    private final class Observer: Sendable {
        let shared = Atomic<Int>(0)
        let alone = Atomic<Int>(0)
        let overlaps = Atomic<Int>(0)
        let served = Atomic<Int>(0)
        let finished = DispatchSemaphore(value: 0)
        private let sleepers: [DispatchSemaphore]

        init(loopCount: Int) {
            sleepers = (0..<loopCount).map { _ in DispatchSemaphore(value: 0) }
        }

        /// One write through the gate; false if nobody wakes it.
        func serve(one gate: WriteGate, _ loop: Int, alone isAlone: Bool) -> Bool {
            var hasClaim = false
            while true {
                let entry =
                    isAlone ? gate.enterAlone(loop: loop, hasClaim: &hasClaim) : gate.enterShared(loop: loop)
                switch entry {
                case .entered(let others):
                    wake(others, from: loop)
                case .refused(let others):
                    wake(others, from: loop)
                    guard sleepers[loop].wait(timeout: .now() + 20) == .success else { return false }
                    continue
                }
                break
            }
            look(isAlone)
            wake(isAlone ? gate.leaveAlone(loop: loop) : gate.leaveShared(loop: loop), from: loop)
            served.add(1, ordering: .relaxed)
            return true
        }

        /// Nobody is beside one that is alone.
        private func look(_ isAlone: Bool) {
            if isAlone {
                let others = alone.add(1, ordering: .sequentiallyConsistent).oldValue
                if others != 0 || shared.load(ordering: .sequentiallyConsistent) != 0 {
                    overlaps.add(1, ordering: .relaxed)
                }
                alone.subtract(1, ordering: .sequentiallyConsistent)
            } else {
                shared.add(1, ordering: .sequentiallyConsistent)
                if alone.load(ordering: .sequentiallyConsistent) != 0 { overlaps.add(1, ordering: .relaxed) }
                shared.subtract(1, ordering: .sequentiallyConsistent)
            }
        }

        private func wake(_ wake: WriteGate.Wake, from loop: Int) {
            switch wake {
            case .nobody: break
            case .loop(let other): if other != loop { sleepers[other].signal() }
            case .all: for other in sleepers.indices where other != loop { sleepers[other].signal() }
            }
        }
    }
}
