// Pipes for payloads that arrive (PagePipe): a few for all connections of a loop.

import IOUring

/// At most four pipes, made when they are first needed: most loops need none, and each takes descriptors. A WRITE has one
/// while its payload is in it.
@safe
struct PipePool: ~Copyable {
    private static let capacity = 4
    /// Room for the largest payload that goes through one, even where the network brings it in small pieces.
    private static let pipeBytes: Int32 = 1 << 19

    private let pipes: UnsafeMutablePointer<PagePipe>
    private var count = 0
    /// A bit for each pipe that nobody has.
    private var free: UInt8 = 0
    /// The system has refused one.
    private var isComplete = false

    init() {
        unsafe pipes = UnsafeMutablePointer<PagePipe>.allocate(capacity: Self.capacity)
    }

    deinit {
        precondition(free == (1 << count) - 1, "a pipe is still in use")
        unsafe pipes.deinitialize(count: count)
        unsafe pipes.deallocate()
    }

    /// Takes a pipe, which is empty; nil when all are taken.
    mutating func take() -> Int? {
        if free == 0 { makeOne() }
        guard free != 0 else { return nil }
        let number = free.trailingZeroBitCount
        free &= ~(1 << number)
        return number
    }

    private mutating func makeOne() {
        guard count < Self.capacity, !isComplete else { return }
        do throws(RingError) {
            unsafe (pipes + count).initialize(to: try PagePipe(byteCount: Self.pipeBytes))
        } catch {
            // There is another way for payloads.
            isComplete = true
            return
        }
        free |= 1 << count
        count += 1
    }

    /// Gives a pipe back, and forgets what is in it.
    mutating func release(_ number: Int) {
        precondition(free & 1 << number == 0, "a pipe is given back once")
        unsafe pipes[number].empty()
        free |= 1 << number
    }

    /// A pipe that was taken.
    func pointer(to number: Int) -> UnsafeMutablePointer<PagePipe> {
        unsafe pipes + number
    }
}
