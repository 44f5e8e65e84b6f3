// A place that is made when it is needed.

/// A value on the heap, or none. It stays where it is until it is taken out.
@safe
public struct HeapBox<Value: ~Copyable>: ~Copyable {
    @usableFromInline var place: UnsafeMutablePointer<Value>?

    /// An empty box, which takes no memory.
    public init() {
        unsafe place = nil
    }

    deinit {
        guard let place = unsafe place else { return }
        unsafe place.deinitialize(count: 1)
        unsafe place.deallocate()
    }

    /// There is nothing in it.
    @inlinable public var isEmpty: Bool { unsafe place == nil }

    /// Puts a value into the box, which is empty.
    public mutating func put(_ value: consuming Value) {
        precondition(isEmpty, "the box is full")
        let memory = UnsafeMutablePointer<Value>.allocate(capacity: 1)
        unsafe memory.initialize(to: value)
        unsafe place = memory
    }

    /// Takes the value out of the box; nil if there is none.
    public mutating func take() -> Value? {
        guard let memory = unsafe place else { return nil }
        unsafe place = nil
        defer { unsafe memory.deallocate() }
        return unsafe memory.move()
    }

    /// Empties the box.
    public mutating func clear() {
        self = HeapBox()
    }

    /// The content of the box, which is not empty.
    @inlinable public var value: Value {
        @_transparent unsafeAddress { unsafe UnsafePointer(existing) }
        @_transparent unsafeMutableAddress { unsafe existing }
    }

    @inlinable var existing: UnsafeMutablePointer<Value> {
        guard let place = unsafe place else { preconditionFailure("the box is empty") }
        return unsafe place
    }
}
