// What other threads want of a loop.

import Export
import IOUring
import Synchronization

/// Something that a loop does between two turns.
enum LoopCommand: Sendable {
    /// Finish what is in flight, then end.
    case stop
    /// The drive of an export has changed.
    case refresh(ExportEntry)
    /// End the connections that have an export open, when what they have in flight is done.
    case endConnections(ExportEntry)
    /// End a connection, by its number.
    case drop(UInt64, Gathered<Bool>)
    /// Tell which connections there are.
    case listConnections(Gathered<ConnectionStatus>)
    /// Let a fence wait for connections of this loop.
    case fence(Fence)
    /// A fence of a connection of this loop has nothing to wait for any more.
    case fencePassed(Fence)
}

/// Commands on their way to one loop, which reads them when the counter says so.
final class Mailbox: Sendable {
    /// The loop keeps a read of it in its ring.
    let arrivals: EventCounter
    private let commands = Mutex<[LoopCommand]>([])

    init() throws(RingError) {
        arrivals = try EventCounter()
    }

    func post(_ command: LoopCommand) {
        commands.withLock { $0.append(command) }
        arrivals.signal()
    }

    /// All commands, in their order.
    func take() -> [LoopCommand] {
        commands.withLock { commands in
            let taken = commands
            commands = []
            return taken
        }
    }
}

/// Answers of all loops, which one thread waits for.
final class Gathered<Value: Sendable>: Sendable {
    private let state: Mutex<(values: [Value], missing: Int)>
    private let isComplete: EventCounter

    init(loops: Int) throws(RingError) {
        state = Mutex(([], loops))
        isComplete = try EventCounter()
    }

    deinit {
        isComplete.close()
    }

    /// A loop has said all that it has to say.
    func add(_ values: [Value]) {
        let isLast = state.withLock {
            $0.values += values
            $0.missing -= 1
            return $0.missing == 0
        }
        if isLast { isComplete.signal() }
    }

    /// Waits for all loops; nil when they have ended instead.
    func wait() -> [Value]? {
        isComplete.wait(seconds: 10) ? state.withLock { $0.values } : nil
    }
}
