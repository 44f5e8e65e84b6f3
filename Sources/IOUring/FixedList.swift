// Elements in memory of a fixed size, which never moves.

/// A list with room for a fixed number of elements. Each use checks its index.
@safe
public struct FixedList<Element: ~Copyable>: ~Copyable {
    @usableFromInline let base: UnsafeMutablePointer<Element>
    /// So many fit in.
    public let capacity: Int
    @usableFromInline var used = 0

    /// An empty list.
    public init(capacity: Int) {
        precondition(capacity > 0, "a list has room")
        unsafe base = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        unsafe base.deinitialize(count: used)
        unsafe base.deallocate()
    }

    /// So many there are.
    @inlinable public var count: Int { used }

    /// There are none.
    @inlinable public var isEmpty: Bool { used == 0 }

    /// No more fit in.
    @inlinable public var isFull: Bool { used == capacity }

    /// The element at a place.
    @inlinable public subscript(place: Int) -> Element {
        @_transparent unsafeAddress {
            precondition(place >= 0 && place < used, "the list is shorter")
            return unsafe UnsafePointer(base + place)
        }
        @_transparent unsafeMutableAddress {
            precondition(place >= 0 && place < used, "the list is shorter")
            return unsafe base + place
        }
    }

    /// Adds an element behind all others.
    @inlinable public mutating func append(_ element: consuming Element) {
        precondition(used < capacity, "the list is full")
        unsafe (base + used).initialize(to: element)
        used &+= 1
    }

    /// Takes the last element off; nil when there is none.
    @inlinable public mutating func popLast() -> Element? {
        guard used > 0 else { return nil }
        used &-= 1
        return unsafe (base + used).move()
    }

    /// Takes all elements off.
    @inlinable public mutating func removeAll() {
        unsafe base.deinitialize(count: used)
        used = 0
    }
}

extension FixedList {
    /// A list of equal elements.
    public init(repeating element: Element, count: Int) {
        self.init(capacity: count)
        for _ in 0..<count { append(element) }
    }
}
