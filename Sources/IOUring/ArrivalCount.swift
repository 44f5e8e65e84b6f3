// The word in which the kernel tells a loop that an event counter (eventfd(2)) has moved.

/// Where a loop's ring puts the value of an event counter: for as long as the loop lives.
@safe
public struct ArrivalCount: ~Copyable {
    private let word: UnsafeMutablePointer<UInt64>

    /// Room for the word.
    public init() {
        unsafe word = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
    }

    deinit {
        unsafe word.deallocate()
    }

    /// Waits for the counter, in the ring.
    public func await(_ counter: EventCounter, ring: inout Ring, userData: UInt64) {
        unsafe ring.read(
            counter.descriptor, into: UnsafeMutableRawPointer(word), count: UInt32(MemoryLayout<UInt64>.size),
            offset: 0, userData: userData)
    }
}
