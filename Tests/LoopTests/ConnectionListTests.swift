// Lists of connections that wait keep their order, whoever leaves.

import IOUring
import Seeded
import Testing

@testable import Loop

@Suite struct ConnectionListTests {
    @Test func theOrderIsThatOfAnArray() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let ring = try Ring(entries: 8, completions: 16)
        var connections = try ConnectionList.Table(capacity: 5)
        for number in 0..<5 {
            let slot = ConnectionSlot(number)
            connections.insert(try Connection(ring: ring, slot: slot, pageCount: 1), at: slot)
        }
        var list = ConnectionList()
        var model: [ConnectionSlot] = []
        for step in 0..<2000 {
            let slot = ConnectionSlot(Int.random(in: 0..<5, using: &generator))
            if let place = model.firstIndex(of: slot) {
                list.remove(slot, &connections)
                model.remove(at: place)
            } else {
                list.append(slot, &connections)
                model.append(slot)
            }
            let (first, count) = (list.first, list.count(connections))
            try #require(first == model.first && count == model.count, "seed \(seed), step \(step)")
            // Of those with the lowest rank the first one.
            let rank = { (slot: ConnectionSlot) in slot.number / 2 }
            let lowest = list.lowest(connections, byRank: rank)
            try #require(lowest == model.min { rank($0) < rank($1) }, "seed \(seed), step \(step)")
        }
    }
}
