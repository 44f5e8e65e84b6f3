// What a completion is about survives the way through the kernel; queues of slots keep their order.

import Seeded
import Testing

@testable import Server

@Suite struct TokenTests {
    @Test func everyOperationComesBack() {
        let operations = (UInt8.min...UInt8.max).compactMap(Operation.init(rawValue:))
        #expect(operations.count == 13)
        var seen = Set<UInt64>()
        for operation in operations {
            for connection in [0, 1, 127, 255, 256, 65535] {
                for request in [0, 1, 127, 128, 65535] {
                    let token = Token(operation, connection: connection, request: request)
                    #expect(Token(userData: token.userData) == token)
                    #expect(token.operation == operation && token.connection == connection && token.request == request)
                    #expect(seen.insert(token.userData).inserted)
                }
            }
        }
    }
}

@Suite struct SlotQueueTests {
    @Test func theOrderIsThatOfAnArray() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var queue = SlotQueue(capacity: 7)
        var model: [Int] = []
        for step in 0..<5000 {
            let slot = Int.random(in: 0..<7, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0, 1:
                guard !model.contains(slot) else { continue }
                queue.append(slot)
                model.append(slot)
            case 2:
                guard !model.contains(slot) else { continue }
                queue.prepend(slot)
                model.insert(slot, at: 0)
            default:
                let first = queue.popFirst()
                try #require(first == (model.isEmpty ? nil : model.removeFirst()), "seed \(seed), step \(step)")
            }
            try #require(queue.count == model.count, "seed \(seed), step \(step)")
        }
        while let slot = queue.popFirst() { #expect(slot == model.removeFirst(), "seed \(seed)") }
        #expect(model.isEmpty)
    }
}
