// A connection changes to another loop: to the home of the chosen unit, if only that one serves it.

import Export
import Glibc
import IOUring
import Listening
import Synchronization

/// A whole connection that no loop has now. Its session waits for the unit to be opened.
struct Passenger: ~Copyable, Sendable {
    let descriptor: Int32
    let number: UInt64
    let peer: Peer
    let frontEnd: FrontEnd
    let identityName: String?
    let crossing: Link
    let choices: [ExportEntry]
    let making: ExportMaking?
    /// How long its handshake takes already.
    let seconds: Int
    /// All that was ever received and sent.
    let receivedBytes: UInt64
    let sentBytes: UInt64
    /// Received bytes that are not parsed.
    let unparsed: [UInt8]
    let session: MovingSession
    /// It has one owner, which may be any thread.
    nonisolated(unsafe) let secure: SecureLink?

    init(_ connection: inout Connection, _ session: consuming MovingSession, now: Int) {
        descriptor = connection.descriptor
        number = connection.number
        peer = connection.peer
        frontEnd = connection.frontEnd
        identityName = connection.identityName
        crossing = connection.crossing
        choices = connection.choices
        making = connection.making
        seconds = now - connection.startedAt
        receivedBytes = connection.receivedBytes
        sentBytes = connection.sentBytes
        unparsed = connection.takeUnparsed()
        self.session = session
        unsafe secure = connection.takeTLS()
    }
}

/// A connection between two loops. It is in one mailbox, and nobody else knows it.
final class MovingConnection: Sendable {
    private let passenger: Mutex<Passenger?>

    init(_ passenger: consuming Passenger) {
        self.passenger = Mutex(passenger)
    }

    /// The loop that it was sent to has ended without a look.
    deinit {
        if let left = take() { close(left.descriptor) }
    }

    /// Takes the connection; that can be done once.
    func take() -> Passenger? {
        passenger.withLock { $0.take() }
    }
}

extension Loop {
    /// Another loop serves the client's unit. First the kernel gives back what it has of the connection.
    mutating func leave(for home: Int, _ slot: ConnectionSlot) {
        guard connections[slot].destination == nil else { return }
        connections[slot].destination = home
        if connections[slot].isReceiving { cancelReceive(slot) }
    }

    /// Sends a connection to another loop, and forgets it. Nothing of it is with the kernel, nothing is to be sent.
    mutating func handOver(_ slot: ConnectionSlot, to home: Int) {
        precondition(connections[slot].requestsInUse == 0 && connections[slot].awaited.isEmpty, "it has begun")
        let session = sessions.remove(connections[slot].frontEnd, at: slot)
        let passenger = Passenger(&connections[slot], session, now: now)
        shared.addConnections(1, to: home)
        shared.addConnections(-1, to: index)
        shared.mailboxes[home].post(.takeOver(MovingConnection(passenger)))
        connections[slot].end()
        counters[.connections].subtract(1)
        freeConnections.push(slot)
        activeConnections -= 1
    }

    /// Goes on with a connection from where another loop has left it: its client has chosen a unit.
    mutating func takeOver(_ connection: MovingConnection) {
        guard let passenger = connection.take() else { preconditionFailure("a connection moves to one loop") }
        guard let slot = takeConnectionSlot() else {
            counters[.refused].add()
            close(passenger.descriptor)
            shared.giveUpConnection(of: index)
            return
        }
        activeConnections += 1
        counters[.connections].add()
        connections[slot].begin(passenger, now: now)
        sessions.insert(passenger.session, at: slot)
        if let secure = unsafe passenger.secure { connections[slot].begin(with: secure) }
        if isStopping { refuseFurther(slot) }
        pump(slot)
        finishIfIdle(slot)
    }
}

extension Connection {
    fileprivate mutating func begin(_ passenger: borrowing Passenger, now: Int) {
        begin(
            descriptor: passenger.descriptor, number: passenger.number, peer: passenger.peer,
            frontEnd: passenger.frontEnd, now: now)
        identityName = passenger.identityName
        crossing = passenger.crossing
        choices = passenger.choices
        making = passenger.making
        startedAt = now - passenger.seconds
        receivedBytes = passenger.receivedBytes
        sentBytes = passenger.sentBytes
        begin(with: passenger.unparsed)
    }
}
