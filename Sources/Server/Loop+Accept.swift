// Connections come: accepted by the first loop, handed to the others in turn, greeted.

import Glibc
import IOUring
import NBD

extension Loop {
    /// A listener has a new connection; it goes to the next loop in turn.
    mutating func accepted(_ completion: Completion, listener: Int) {
        if completion.result >= 0 {
            let target = nextLoop
            nextLoop = (nextLoop + 1) % shared.loopCount
            if shared.listeners[listener].isTCP { prepareTCP(completion.result) }
            if target == index {
                adopt(completion.result)
            } else {
                ring.message(
                    to: shared.ring(of: target), value: completion.result, remoteUserData: Token(.adopt).userData,
                    userData: Token(.messageSent).userData)
            }
        } else if !isStopping {
            // Out of descriptors, say; the listener itself stays good.
            logger.warning("cannot accept a connection", metadata: ["reason": "\(errorText(-completion.result))"])
        }
        if !completion.hasMore {
            // The next tick begins again: at once, a lack of descriptors would keep the loop busy with failing.
            isAccepting[listener] = false
        }
    }

    /// Replies are written in one piece, so that waiting to fill a segment only costs; a peer that has vanished is noticed
    /// within two minutes.
    private func prepareTCP(_ descriptor: Int32) {
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
        set(descriptor, SOL_SOCKET, SO_KEEPALIVE)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE, to: 60)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPINTVL, to: 10)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPCNT, to: 6)
        set(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, to: 120_000)
    }

    /// A connection of this loop begins.
    mutating func adopt(_ descriptor: Int32) {
        guard !isStopping, let slot = takeConnectionSlot() else {
            if !isStopping {
                logger.warning(
                    "connection refused: the limit is reached",
                    metadata: ["client": "\(peerName(descriptor))", "limit": "\(shared.limits.connectionsPerLoop)"])
            }
            close(descriptor)
            return
        }
        activeConnections += 1
        unsafe connections[slot].begin(
            descriptor: descriptor, peer: peerName(descriptor), tls: shared.tlsPolicy, now: now)
        unsafe logger.debug("connection accepted", metadata: ["client": "\(connections[slot].peer)"])
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
                to: try Connection(ring: ring, group: UInt16(connectionSlots)))
        } catch {
            logger.error("no memory for a connection", metadata: ["reason": "\(error)"])
            return nil
        }
        connectionSlots += 1
        return connectionSlots - 1
    }
}

/// Sets a socket option to a number.
private func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, to value: Int32) {
    var value = value
    unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
}

/// The address of a socket's other end, as the log names it.
private func peerName(_ descriptor: Int32) -> String {
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
    let found = unsafe withUnsafeMutablePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> Bool in
            guard unsafe getpeername(descriptor, pointer, &length) == 0 else { return false }
            guard unsafe pointer.pointee.sa_family != AF_UNIX else { return false }
            return unsafe getnameinfo(
                pointer, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV) == 0
        }
    }
    guard found else { return "unix" }
    let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let number = String(decoding: port.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return name.contains(":") ? "[\(name)]:\(number)" : "\(name):\(number)"
}
