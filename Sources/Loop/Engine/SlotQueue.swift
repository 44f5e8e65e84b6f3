// Queues and stacks of slots, in memory of a fixed size.

import IOUring

/// Slots in the order of their coming, each at most once.
struct SlotQueue<Index: SlotIndex>: ~Copyable {
    private var slots: FixedList<Index>
    private let capacity: Int
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) {
        slots = FixedList(repeating: Index(0), count: capacity)
        self.capacity = capacity
    }

    /// Where in memory the slot is that follows so many others. (A division would take longer than all the rest.)
    private func position(_ place: Int) -> Int {
        let position = head + place
        return position < capacity ? position : position - capacity
    }

    mutating func append(_ slot: Index) {
        precondition(count < capacity, "a slot is in the queue twice")
        slots[position(count)] = slot
        count += 1
    }

    mutating func popFirst() -> Index? {
        guard count > 0 else { return nil }
        let slot = slots[head]
        removeFirst(1)
        return slot
    }

    /// Takes the first slots off.
    mutating func removeFirst(_ number: Int) {
        precondition(number >= 0 && number <= count, "the queue is shorter")
        head = position(number)
        count -= number
    }

    /// The slot at a place, counted from the first.
    subscript(_ place: Int) -> Index {
        precondition(place >= 0 && place < count, "the queue is shorter")
        return slots[position(place)]
    }

    /// Takes the slot at a place; those behind it move up.
    mutating func remove(at place: Int) -> Index {
        let slot = self[place]
        for next in place + 1..<max(count, place + 1) {
            slots[position(next - 1)] = slots[position(next)]
        }
        count -= 1
        return slot
    }
}

/// Slots of which the last to come is the first to go.
struct SlotStack<Index: SlotIndex>: ~Copyable {
    private var slots: FixedList<Index>

    init(capacity: Int) {
        slots = FixedList(capacity: capacity)
    }

    var count: Int { slots.count }

    mutating func push(_ slot: Index) {
        precondition(!slots.isFull, "a slot is in the stack twice")
        slots.append(slot)
    }

    mutating func pop() -> Index? { slots.popLast() }
}
