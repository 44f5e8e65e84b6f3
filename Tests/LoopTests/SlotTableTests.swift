// Tables keep their elements, end them once, and let nobody out of their bounds.

import Support
import Testing

@testable import Loop

@Suite struct SlotTableTests {
    @Test func anElementStaysUntilItIsTakenOut() throws {
        let living = Living()
        do {
            var table = try SlotTable<ConnectionSlot, CountedElement>(capacity: 130)
            for number in [0, 63, 64, 129] {
                let before = table.contains(ConnectionSlot(number))
                table.insert(CountedElement(living, number), at: ConnectionSlot(number))
                let after = table.contains(ConnectionSlot(number))
                #expect(!before && after)
            }
            #expect(living.count == 4)
            table[ConnectionSlot(64)].value += 1000
            let values = [0, 63, 64, 129].map { table[ConnectionSlot($0)].value }
            #expect(values == [0, 63, 1064, 129])
            table.remove(at: ConnectionSlot(63))
            let isThere = table.contains(ConnectionSlot(63))
            #expect(living.count == 3 && !isThere)
            table.insert(CountedElement(living, 7), at: ConnectionSlot(63))
            let value = table[ConnectionSlot(63)].value
            #expect(value == 7)
        }
        // What is left ends with the table.
        #expect(living.count == 0)
    }

    @Test func nobodyGoesOutOfBounds() async {
        await #expect(processExitsWith: .failure) {
            var table = try SlotTable<ConnectionSlot, Int>(capacity: 4)
            table[ConnectionSlot(4)] = 1
        }
        await #expect(processExitsWith: .failure) {
            let table = try SlotTable<ConnectionSlot, Int>(capacity: 4)
            _ = table.contains(ConnectionSlot(4))
        }
    }

    @Test func aPlaceIsTakenOnceAndGivenBackOnce() async {
        await #expect(processExitsWith: .failure) {
            var table = try SlotTable<ConnectionSlot, Int>(capacity: 4)
            table.insert(1, at: ConnectionSlot(2))
            table.insert(1, at: ConnectionSlot(2))
        }
        await #expect(processExitsWith: .failure) {
            var table = try SlotTable<ConnectionSlot, Int>(capacity: 4)
            table.insert(1, at: ConnectionSlot(2))
            table.remove(at: ConnectionSlot(2))
            table.remove(at: ConnectionSlot(2))
        }
        await #expect(processExitsWith: .failure) {
            var table = try SlotTable<ConnectionSlot, Int>(capacity: 4096)
            table.insert(1, at: ConnectionSlot(2))
            table.trim(ConnectionSlot(0), count: 1024)
        }
    }

    @Test func freePlacesCostNoMemory() throws {
        var table = try SlotTable<ConnectionSlot, Int>(capacity: 4096)
        for number in 0..<4096 { table.insert(number, at: ConnectionSlot(number)) }
        for number in 1024..<2048 { table.remove(at: ConnectionSlot(number)) }
        table.trim(ConnectionSlot(1024), count: 1024)
        let neighbours = (table[ConnectionSlot(1023)], table[ConnectionSlot(2048)])
        #expect(neighbours == (1023, 2048))
        table.insert(5, at: ConnectionSlot(1024))
        let value = table[ConnectionSlot(1024)]
        #expect(value == 5)
    }

    @Test func aRequestKnowsItsConnection() {
        for slot in [0, 1, 77, 32767].map(ConnectionSlot.init) {
            let places = Array(slot.places)
            #expect(places.count == Limits.requestsPerConnection && places.first == slot.firstPlace)
            #expect(places.allSatisfy { $0.slot == slot })
        }
    }
}
