// Connections come: accepted by the first loop, handed to the one with the fewest, greeted.

import Glibc
import IOUring
import Listening

extension Loop {
    /// A listener has a new connection; it goes to the loop with the fewest.
    mutating func accepted(_ completion: Completion, listener: Int) {
        if completion.result >= 0, countConnection(completion.result) {
            let target = shared.loopWithFewestConnections
            shared.addConnections(1, to: target)
            prepare(completion.result, isTCP: shared.listeners[listener].isTCP)
            if target == index {
                adopt(completion.result, from: shared.listeners[listener].endpoint)
            } else {
                ring.message(
                    to: shared.ring(of: target), value: completion.result,
                    remoteUserData: Token(.adopt, listener: listener).userData,
                    userData: Token(.messageSent).userData)
            }
        } else if completion.result < 0 && !isStopping {
            // Out of descriptors, say; the listener itself stays good.
            logger.warning("cannot accept a connection", metadata: ["reason": "\(errorText(-completion.result))"])
        }
        if !completion.hasMore {
            // The next tick begins again: at once, a lack of descriptors would keep the loop busy with failing.
            isAccepting[listener] = false
        }
    }

    /// Counts a new connection, or closes it when there are enough.
    private func countConnection(_ descriptor: Int32) -> Bool {
        let limit = shared.limits.connections
        guard shared.connectionCount.load(ordering: .relaxed) < limit else {
            logger.warning(
                "connection refused",
                metadata: [
                    "client": "\(Peer(of: descriptor))",
                    "reason": "there are as many connections as there may be: \(limit)",
                ])
            counters[.refused].add()
            close(descriptor)
            return false
        }
        // Only this loop adds.
        shared.connectionCount.add(1, ordering: .relaxed)
        return true
    }

    /// The client that was there before the server.
    mutating func begin(_ connection: InheritedConnection) {
        prepare(connection.descriptor, isTCP: connection.isTCP)
        shared.connectionCount.add(1, ordering: .relaxed)
        shared.addConnections(1, to: index)
        adopt(connection.descriptor, from: .standardInput)
    }

    private func prepare(_ descriptor: Int32, isTCP: Bool) {
        if isTCP { prepareTCP(descriptor) } else { prepareLocal(descriptor) }
    }

    /// A socket of this machine holds no more than it is told, by default less than one large reply.
    private func prepareLocal(_ descriptor: Int32) {
        SocketOption.set(descriptor, SOL_SOCKET, SO_SNDBUF, to: shared.limits.localSendBufferBytes)
    }

    /// Replies are written in one piece, so that waiting to fill a segment only costs; a peer that has vanished is
    /// noticed a minute after the time that it may be silent.
    private func prepareTCP(_ descriptor: Int32) {
        SocketOption.set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, to: 1)
        keepAlive(descriptor)
        let idle = shared.limits.keepAliveSeconds
        guard idle > 0 else { return }
        SocketOption.set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPINTVL, to: 10)
        SocketOption.set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPCNT, to: 6)
        // The same for replies that nobody confirms.
        SocketOption.set(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, to: Int32(clamping: (idle + 60) &* 1000))
    }

    /// A client that has been silent for the usual time, or for a second, is asked for a sign of life.
    func keepAlive(_ descriptor: Int32, isUrgent: Bool = false) {
        let idle = shared.limits.keepAliveSeconds
        SocketOption.set(descriptor, SOL_SOCKET, SO_KEEPALIVE, to: isUrgent || idle > 0 ? 1 : 0)
        guard isUrgent || idle > 0 else { return }
        SocketOption.set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE, to: isUrgent ? 1 : Int32(clamping: idle))
    }

    /// A connection of this loop begins.
    mutating func adopt(_ descriptor: Int32, from endpoint: Endpoint) {
        precondition(descriptor >= 0, "a connection is handed over with its socket")
        guard !isStopping, let slot = takeConnectionSlot() else {
            if !isStopping { counters[.refused].add() }
            close(descriptor)
            shared.giveUpConnection(of: index)
            return
        }
        activeConnections += 1
        counters[.accepted].add()
        counters[.connections].add()
        connections[slot].begin(
            descriptor: descriptor, number: shared.lastConnection.add(1, ordering: .relaxed).newValue,
            peer: shared.peer(descriptor), frontEnd: endpoint.frontEnd, now: now)
        note(.debug, "connection accepted", slot, ["loop": .stringConvertible(index)])
        beginSession(slot, at: endpoint)
        receive(slot)
    }

    mutating func takeConnectionSlot() -> ConnectionSlot? {
        if let slot = freeConnections.pop() { return slot }
        guard connectionSlots < shared.limits.connectionsPerLoop else { return nil }
        let slot = ConnectionSlot(connectionSlots)
        do {
            connections.insert(
                try Connection(ring: ring, slot: slot, pageCount: shared.limits.pagesPerConnection), at: slot)
        } catch {
            logger.error("no memory for a connection", metadata: ["reason": "\(error)"])
            return nil
        }
        connectionSlots += 1
        return slot
    }
}
