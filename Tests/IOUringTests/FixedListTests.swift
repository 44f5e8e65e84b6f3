// A list in memory of a fixed size keeps its elements, ends them once, and lets nobody out of its bounds.

import IOUring
import Support
import Testing

@Suite struct FixedListTests {
    @Test func elementsEndOnce() {
        let living = Living()
        do {
            var list = FixedList<CountedElement>(capacity: 4)
            for number in 0..<4 { list.append(CountedElement(living, number)) }
            list[2].value += 10
            let values = (list[0].value, list[2].value, list[3].value, list.isFull)
            #expect(values == (0, 12, 3, true))
            var last = 0
            if let element = list.popLast() { last = element.value }
            #expect(last == 3 && living.count == 3)
            list.removeAll()
            let isEmpty = list.isEmpty
            #expect(isEmpty && living.count == 0)
            list.append(CountedElement(living, 7))
        }
        // What is left ends with the list.
        #expect(living.count == 0)
    }

    @Test func nobodyGoesOutOfBounds() async {
        await #expect(processExitsWith: .failure) {
            var list = FixedList<Int>(repeating: 0, count: 2)
            list.append(1)
        }
        await #expect(processExitsWith: .failure) {
            var list = FixedList<Int>(capacity: 2)
            list[0] = 1
        }
        await #expect(processExitsWith: .failure) {
            let list = FixedList<Int>(repeating: 0, count: 2)
            _ = list[-1]
        }
    }
}
