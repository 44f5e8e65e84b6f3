// Queues and stacks of slots keep their order, and no more slots than there is room for.

import Seeded
import Testing

@testable import Loop

@Suite struct SlotQueueTests {
    @Test func theOrderIsThatOfAnArray() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var queue = SlotQueue<ConnectionSlot>(capacity: 7)
        var model: [ConnectionSlot] = []
        for step in 0..<5000 {
            let slot = ConnectionSlot(Int.random(in: 0..<7, using: &generator))
            switch Int.random(in: 0..<6, using: &generator) {
            case 0, 1, 2:
                guard !model.contains(slot) else { continue }
                queue.append(slot)
                model.append(slot)
            case 3:
                guard !model.isEmpty else { continue }
                let place = Int.random(in: 0..<model.count, using: &generator)
                try #require(queue[place] == model[place], "seed \(seed), step \(step)")
                try #require(queue.remove(at: place) == model.remove(at: place), "seed \(seed), step \(step)")
            case 4:
                let count = Int.random(in: 0...model.count, using: &generator)
                queue.removeFirst(count)
                model.removeFirst(count)
            default:
                let first = queue.popFirst()
                try #require(first == (model.isEmpty ? nil : model.removeFirst()), "seed \(seed), step \(step)")
            }
            try #require(queue.count == model.count, "seed \(seed), step \(step)")
        }
        while let slot = queue.popFirst() { #expect(slot == model.removeFirst(), "seed \(seed)") }
        #expect(model.isEmpty)
    }

    @Test func aSlotIsNotTakenTwice() async {
        await #expect(processExitsWith: .failure) {
            var queue = SlotQueue<ConnectionSlot>(capacity: 1)
            queue.append(ConnectionSlot(0))
            queue.append(ConnectionSlot(0))
        }
        await #expect(processExitsWith: .failure) {
            let queue = SlotQueue<ConnectionSlot>(capacity: 4)
            _ = queue[0]
        }
    }
}

@Suite struct SlotStackTests {
    @Test func theLastToComeIsTheFirstToGo() {
        var stack = SlotStack<ConnectionSlot>(capacity: 3)
        #expect(stack.pop() == nil)
        for number in 0..<3 { stack.push(ConnectionSlot(number)) }
        #expect(stack.count == 3)
        for number in (0..<3).reversed() { #expect(stack.pop() == ConnectionSlot(number)) }
        #expect(stack.pop() == nil && stack.count == 0)
    }

    @Test func aSlotIsNotGivenBackTwice() async {
        await #expect(processExitsWith: .failure) {
            var stack = SlotStack<ConnectionSlot>(capacity: 1)
            stack.push(ConnectionSlot(0))
            stack.push(ConnectionSlot(0))
        }
    }
}
