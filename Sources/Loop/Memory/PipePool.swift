// Pipes for payloads that arrive (PagePipe): a few for all connections of a loop.

import IOUring

/// At most four pipes, made when they are first needed: most loops need none, and each takes descriptors. A WRITE has
/// one while its payload is in it.
struct PipePool: ~Copyable {
    private static let capacity = 4
    /// Room for the largest payload that goes through one, even where the network brings it in small pieces.
    private static let pipeBytes: Int32 = 1 << 19

    /// Nil where a worker has the pipe of a request.
    private var pipes = FixedList<PagePipe?>(capacity: capacity)
    private var count: Int { pipes.count }
    /// A bit for each pipe that nobody has.
    private var free: UInt8 = 0
    /// The system has refused one.
    private var isComplete = false

    deinit {
        precondition(free == (1 << count) - 1, "a pipe is still in use")
    }

    /// How many somebody has.
    var takenCount: Int { count - free.nonzeroBitCount }

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
            pipes.append(try PagePipe(byteCount: Self.pipeBytes))
        } catch {
            // There is another way for payloads.
            isComplete = true
            return
        }
        free |= 1 << (count - 1)
    }

    /// Gives a pipe back, and forgets what is in it.
    mutating func release(_ number: Int) {
        checkTaken(number)
        pipes[number]!.empty()
        free |= 1 << number
    }

    private func checkTaken(_ number: Int) {
        precondition(number < count && free & 1 << number == 0, "nobody has taken the pipe")
    }

    /// Moves what a socket has received into a pipe that was taken (``PagePipe/add(socket:count:)``).
    mutating func add(socket: Int32, count: Int, to number: Int) -> Int {
        checkTaken(number)
        return pipes[number]!.add(socket: socket, count: count)
    }

    /// Takes all that is in a pipe out of it, to where there is room for it.
    mutating func empty(_ number: Int, into target: MemoryRange) {
        checkTaken(number)
        pipes[number]!.empty(into: target)
    }

    /// A worker has a pipe that was taken, until it is taken back.
    mutating func lend(_ number: Int) -> PagePipe {
        checkTaken(number)
        guard let pipe = pipes[number].take() else { preconditionFailure("a worker has the pipe") }
        return pipe
    }

    /// The worker is done with the pipe, or has never had it.
    mutating func takeBack(_ pipe: consuming PagePipe, _ number: Int) {
        checkTaken(number)
        precondition(pipes[number] == nil, "the pipe was not lent")
        pipes[number] = consume pipe
    }
}
