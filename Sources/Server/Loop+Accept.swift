// Connections come: accepted by the first loop, handed to the others in turn, greeted.

import Glibc
import IOUring
import NBD

extension Loop {
    /// A listener has a new connection; it goes to the next loop in turn.
    mutating func accepted(_ completion: Completion, listener: Int) {
        if completion.result >= 0, countConnection(completion.result) {
            let target = nextLoop
            nextLoop = (nextLoop + 1) % shared.loopCount
            prepare(completion.result, isTCP: shared.listeners[listener].isTCP)
            if target == index {
                adopt(completion.result)
            } else {
                ring.message(
                    to: shared.ring(of: target), value: completion.result, remoteUserData: Token(.adopt).userData,
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
        adopt(connection.descriptor)
    }

    private func prepare(_ descriptor: Int32, isTCP: Bool) {
        if isTCP { prepareTCP(descriptor) } else { prepareLocal(descriptor) }
    }

    /// A socket of this machine holds no more than it is told, by default less than one large reply.
    private func prepareLocal(_ descriptor: Int32) {
        set(descriptor, SOL_SOCKET, SO_SNDBUF, to: Int32(Limits.localSendBufferBytes))
    }

    /// Replies are written in one piece, so that waiting to fill a segment only costs; a peer that has vanished is noticed
    /// a minute after the time that it may be silent.
    private func prepareTCP(_ descriptor: Int32) {
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
        let idle = shared.limits.keepAliveSeconds
        guard idle > 0 else { return }
        set(descriptor, SOL_SOCKET, SO_KEEPALIVE)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE, to: Int32(clamping: idle))
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPINTVL, to: 10)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPCNT, to: 6)
        // The same for replies that nobody confirms.
        set(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, to: Int32(clamping: (idle + 60) &* 1000))
    }

    /// A connection of this loop begins.
    mutating func adopt(_ descriptor: Int32) {
        guard !isStopping, let slot = takeConnectionSlot() else {
            if !isStopping { counters[.refused].add() }
            close(descriptor)
            shared.connectionCount.subtract(1, ordering: .relaxed)
            return
        }
        activeConnections += 1
        counters[.accepted].add()
        counters[.connections].add()
        unsafe connections[slot].begin(
            descriptor: descriptor, number: shared.lastConnection.add(1, ordering: .relaxed).newValue,
            peer: Peer(of: descriptor),
            negotiation: Negotiation(tls: shared.tlsPolicy, optionLimit: shared.limits.handshakeOptions), now: now)
        lookUpExports(slot)
        note(.debug, "connection accepted", slot, ["loop": .stringConvertible(index)])
        unsafe connections[slot].handshakeOutput = Negotiation.greeting
        queueSend(slot)
        receive(slot)
    }

    private mutating func takeConnectionSlot() -> Int? {
        if freeConnectionCount > 0 {
            freeConnectionCount -= 1
            return Int(unsafe freeConnections[freeConnectionCount])
        }
        guard connectionSlots < shared.limits.connectionsPerLoop else { return nil }
        do {
            unsafe (connections + connectionSlots).initialize(
                to: try Connection(
                    ring: ring, group: UInt16(connectionSlots), pageCount: shared.limits.pagesPerConnection))
        } catch {
            logger.error("no memory for a connection", metadata: ["reason": "\(error)"])
            return nil
        }
        connectionSlots += 1
        noteTouched(Limits.receivePages)
        return connectionSlots - 1
    }
}

/// Sets a socket option to a number.
private func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, to value: Int32) {
    var value = value
    unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
}
