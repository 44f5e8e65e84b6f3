// Commands of other threads to a loop.

import Blocks
import Export
import IOUring
import Synchronization

/// Something that a loop does between two turns.
enum LoopCommand: Sendable {
    /// Finish what is in flight, then end.
    case stop
    /// Change the drive of an export whose home this loop is, and tell all loops.
    case change(ExportEntry, UnitChange, Gathered<UInt64>)
    /// The home loop of an export has changed its drive.
    case refresh(ExportEntry)
    /// Serve an export from where its medium is now.
    case takeMedium(MediumToTake)
    /// End the connections that have an export open, when what they have in flight is done.
    case endConnections(ExportEntry)
    /// The power of a drive is cut: end the connections that have it open, at once.
    case cutOff(ExportEntry)
    /// The power of a drive is cut: answer the connections that have it open nothing more.
    case hang(ExportEntry)
    /// Order the power of a drive whose home this loop is to go at a moment, or take that back, and tell whether the
    /// drive has power.
    case orderPower(ExportEntry, CutMoment?, Gathered<Bool>)
    /// End a connection, by its number.
    case drop(UInt64, Gathered<Bool>)
    /// Tell which connections there are.
    case listConnections(Gathered<ConnectionStatus>)
    /// A connection of an export with a limit has ended: open it for those that wait for that.
    case retryOpenings(ExportEntry)
    /// An export that a connection of this loop waits for was made, or cannot be.
    case exportMade(ExportMaking)
    /// Let a fence wait for connections of this loop.
    case fence(Fence)
    /// A fence of a connection of this loop need not wait any more.
    case fencePassed(Fence)
    /// A target whose home this loop is has one more logical unit.
    case unitAdded(ExportEntry)
    /// The reservations of an export whose home this loop is are kept, or could not be (errno).
    case reservationsKept(ExportEntry, Int32)
    /// The state of a drive whose home this loop is is kept, or could not be (errno), by the write of this number.
    case stateKept(ExportEntry, UInt64, Int32)
    /// Go on with a connection that another loop has begun.
    case takeOver(MovingConnection)
}

/// A connection as an operator sees it.
public struct ConnectionStatus: Equatable, Sendable {
    /// No other connection of this server has, had or will have it.
    public var number: UInt64
    /// Where the client is.
    public var client: String
    /// The identity that it has proved.
    public var identity: String?
    /// The name that it says, an initiator of iSCSI's.
    public var initiator: String?
    /// The export that it has open; nil in the handshake.
    public var export: String?
    /// It has begun TLS.
    public var isEncrypted: Bool
    /// Its age.
    public var seconds: Int
    /// Requests that have begun and are not answered.
    public var requestsInFlight: Int
    /// The loop that serves it.
    public var loop: Int
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
            precondition($0.missing > 0, "each loop answers once")
            $0.values += values
            $0.missing -= 1
            return $0.missing == 0
        }
        if isLast { isComplete.signal() }
    }

    /// Waits for all loops; nil when they take longer.
    func wait(seconds: Int) -> [Value]? {
        isComplete.wait(seconds: seconds) ? state.withLock { $0.values } : nil
    }
}

/// Other threads' questions to the loops. A question waits for the answers; they are nil when the loops have ended
/// instead.
extension SharedState {
    /// Asks every loop for something.
    func postToAll(_ command: LoopCommand) {
        for mailbox in mailboxes { mailbox.post(command) }
    }

    /// Has all loops finish what is in flight, and then end.
    public func stopLoops() {
        areStopping.store(true, ordering: .relaxed)
        postToAll(.stop)
    }

    /// The loops were told to end.
    public var isStopping: Bool { areStopping.load(ordering: .relaxed) }

    /// Waits for the answers of loops; nil when they end instead, or take longer than ten seconds.
    func answers<Value>(to question: Gathered<Value>) -> [Value]? {
        for _ in 0..<10 {
            if let values = question.wait(seconds: 1) { return values }
            guard !isStopping else { return nil }
        }
        return nil
    }

    /// Ends the connections that have an export open, when what they have in flight is done.
    public func endConnections(of entry: ExportEntry) {
        postToAll(.endConnections(entry))
    }

    /// Ends the connections that have an export open, at once: requests in flight are not answered.
    public func cutOff(_ entry: ExportEntry) {
        postToAll(.cutOff(entry))
    }

    /// Answers nothing more to the connections that have an export open.
    public func hang(_ entry: ExportEntry) {
        postToAll(.hang(entry))
    }

    /// Orders the power of a drive to go at a moment; nil takes the order back.
    ///
    /// - Returns: whether the drive has power. If not, a moment that was ordered before has come.
    public func orderPower(of entry: ExportEntry, _ moment: CutMoment?) throws(RingError) -> Bool? {
        let answer = try Gathered<Bool>(loops: 1)
        mailboxes[entry.homeLoop].post(.orderPower(entry, moment, answer))
        return answers(to: answer)?.first
    }

    /// Tells the sessions of an export's target that it is there.
    public func noteAdded(_ entry: ExportEntry) {
        guard entry.target?.isShared == true else { return }
        mailboxes[entry.homeLoop].post(.unitAdded(entry))
    }

    /// Has a unit's home loop change it.
    ///
    /// - Returns: the sectors that its drive has then.
    public func change(_ entry: ExportEntry, _ change: UnitChange) throws(RingError) -> UInt64? {
        let answer = try Gathered<UInt64>(loops: 1)
        mailboxes[entry.homeLoop].post(.change(entry, change, answer))
        return answers(to: answer)?.first
    }

    /// Has all loops serve an export from where its medium is now.
    ///
    /// - Returns: whether nothing uses the old one any more.
    public func takeMedium(of entry: ExportEntry) throws(RingError) -> Bool {
        let answer = try Gathered<Bool>(loops: loopCount)
        postToAll(.takeMedium(MediumToTake(entry: entry, answer: answer)))
        return answer.wait(seconds: limits.shutdownSeconds + 30) != nil
    }

    /// All connections, in their order.
    public func connections() throws(RingError) -> [ConnectionStatus]? {
        try gather { .listConnections($0) }?.sorted { $0.number < $1.number }
    }

    /// Ends a connection at once.
    ///
    /// - Returns: whether there was one with this number.
    public func drop(connection number: UInt64) throws(RingError) -> Bool? {
        try gather { .drop(number, $0) }?.contains(true)
    }

    private func gather<Value>(_ command: (Gathered<Value>) -> LoopCommand) throws(RingError) -> [Value]? {
        let gathered = try Gathered<Value>(loops: loopCount)
        postToAll(command(gathered))
        return answers(to: gathered)
    }
}
