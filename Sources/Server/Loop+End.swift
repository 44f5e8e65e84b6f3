// Connections go, and the loop itself: draining, aborting, time limits, shutdown.

import Glibc
import IOUring
import Logging

extension Loop {
    /// Reads nothing more; what is in flight is finished and answered, then the connection ends.
    ///
    /// Neither this nor ``abort(_:_:)`` frees the slot: whoever handles the event still uses it, and calls
    /// ``finishIfIdle(_:)`` last of all.
    mutating func drain(_ slot: Int, _ reason: EndReason) {
        guard unsafe connections[slot].phase != .closing else { return }
        noteEnd(slot, reason)
        unsafe connections[slot].phase = .draining
        unsafe connections[slot].lastProgress = now
        forgetIncompleteRequest(slot)
    }

    /// Ends the connection without another word. Operations that the kernel has come back first.
    mutating func abort(_ slot: Int, _ reason: EndReason) {
        guard unsafe connections[slot].phase != .closing, unsafe connections[slot].phase != .free else { return }
        noteEnd(slot, reason)
        unsafe connections[slot].phase = .closing
        unsafe shutdown(connections[slot].descriptor, Int32(SHUT_RDWR))
        forgetIncompleteRequest(slot)
        dropReplies(slot)
    }

    /// The first reason counts; what follows is only how it goes on.
    private func noteEnd(_ slot: Int, _ reason: EndReason) {
        if unsafe connections[slot].endReason == nil { unsafe connections[slot].endReason = reason }
    }

    /// A WRITE whose payload has not arrived has not happened.
    private mutating func forgetIncompleteRequest(_ slot: Int) {
        guard let request = unsafe connections[slot].payloadRequest else { return }
        unsafe connections[slot].payloadRequest = nil
        releaseBuffer(self.slot(request, of: slot), slot)
        unsafe connections[slot].releaseRequest(request)
    }

    /// Takes the next steps towards a connection's end, if it is on its way there and nothing holds it up.
    mutating func finishIfIdle(_ slot: Int) {
        // A stopping server waits for what was asked, not for what might be.
        if unsafe isStopping || connections[slot].endsAt != nil, unsafe connections[slot].phase == .transmission,
            isIdle(slot), unsafe !connections[slot].hasUnparsed
        {
            drain(slot, .stopped)
        }
        if unsafe connections[slot].phase == .draining, isIdle(slot), !sayGoodbye(slot) {
            if unsafe !connections[slot].awaitsEndOfFile {
                abort(slot, unsafe connections[slot].endReason ?? .disconnect)
            } else if unsafe connections[slot].secure != nil || connections[slot].peer.closesFirst {
                // With this it sees that nothing more comes.
                unsafe shutdown(connections[slot].descriptor, Int32(SHUT_WR))
            }
        }
        guard unsafe connections[slot].phase == .closing, isUnused(slot) else { return }
        dropReplies(slot)
        release(slot)
    }

    /// Nothing of the connection is with the kernel or in a queue of this loop; what takes it from there comes back.
    private func isUnused(_ slot: Int) -> Bool {
        let connection = unsafe connections + slot
        return unsafe !connection.pointee.isReceiving && !connection.pointee.isSending
            && connection.pointee.busyRequests == 0 && !connection.pointee.isQueuedForSend
            && connection.pointee.line == .none
    }

    /// No request, and nothing to be sent.
    private func isIdle(_ slot: Int) -> Bool {
        unsafe connections[slot].requestsInUse == 0 && !connections[slot].isSending
            && connections[slot].handshakeOutput.isEmpty && !connections[slot].isQueuedForSend
    }

    private mutating func release(_ slot: Int) {
        noteClosed(slot)
        unsafe close(connections[slot].descriptor)
        countEnd(slot)
        lowerAllFences(slot)
        let entry = unsafe connections[slot].entry
        unsafe connections[slot].end()
        if let entry { leave(entry) }
        shared.connectionCount.subtract(1, ordering: .relaxed)
        unsafe freeConnections[freeConnectionCount] = UInt16(slot)
        freeConnectionCount += 1
        activeConnections -= 1
        if shared.connection != nil { isStopping = true }
    }

    /// Once a second: time limits, and memory that nobody uses goes back.
    mutating func tick() {
        now += 1
        if isStopping && now >= stoppedAt + shared.limits.shutdownSeconds { abortAll("the server stops") }
        for slot in 0..<connectionSlots { checkTime(slot) }
        if index == 0 && !isStopping { listen() }
        trim()
        if index == 0 { beginCacheEpoch() }
        unsafe ring.timeout(second.pointer, userData: Token(.tick).userData)
    }

    private mutating func checkTime(_ slot: Int) {
        let connection = unsafe connections + slot
        let idle = now - (unsafe connection.pointee.lastProgress)
        if let endsAt = unsafe connection.pointee.endsAt, now >= endsAt {
            end(slot, .stopped, "its export is gone, and it has not taken its last replies in time")
            return
        }
        if limitFences(slot) { return }
        switch unsafe connection.pointee.phase {
        case .handshake where isStopping && now > stoppedAt + 1:
            end(slot, .stopped, "the server stops")
        case .handshake where now - (unsafe connection.pointee.startedAt) >= shared.limits.handshakeSeconds:
            end(slot, .handshakeTimeout, "no export was opened within \(shared.limits.handshakeSeconds) s")
        case .transmission where idle >= shared.limits.stallSeconds:
            unsafe connection.pointee.arena.trim()
            let isInTheWay =
                unsafe connection.pointee.stagedPages > 0 && !stageLine.isEmpty
                || connection.pointee.arena.pagesInUse > 0 && !ownLine.isEmpty
            guard isInTheWay else { return }
            end(
                slot, .stalled, "it held memory of requests for \(idle) s without moving a byte while others waited")
        case .draining where idle >= shared.limits.handshakeSeconds && isIdleButForPeer(slot):
            end(slot, .stalled, "it does not take its last replies")
        default:
            break
        }
    }

    /// Nothing is under way but what the client has to take.
    private func isIdleButForPeer(_ slot: Int) -> Bool {
        unsafe connections[slot].busyRequests == 0
    }

    /// Ends a connection for a reason that the log tells.
    mutating func end(_ slot: Int, _ kind: EndReason, _ reason: String) {
        note(kind.level, "client cut off", slot, ["reason": "\(reason)"])
        abort(slot, kind)
        finishIfIdle(slot)
    }

    /// The server stops: no new connections, no new requests; what is in flight is finished.
    mutating func stop() {
        guard !isStopping else { return }
        isStopping = true
        stoppedAt = now
        if index == 0 {
            for listener in shared.listeners {
                ring.cancelAll(onDescriptor: listener.descriptor, userData: Token(.cancelled).userData)
                listener.refuse()
            }
        }
        for slot in 0..<connectionSlots {
            switch unsafe connections[slot].phase {
            case .handshake:
                // It has until the next but one tick to learn why it is not served.
                unsafe connections[slot].negotiation.beginShutdown()
            case .transmission:
                finishTransmission(slot)
            case .draining:
                unsafe connections[slot].awaitsEndOfFile = false
                finishIfIdle(slot)
            case .closing, .free:
                break
            }
        }
    }

    /// What a client has asked for is finished, then its connection ends.
    mutating func finishTransmission(_ slot: Int) {
        unsafe connections[slot].parameters?.isShuttingDown = true
        pump(slot)
        finishIfIdle(slot)
    }

    private mutating func abortAll(_ reason: String) {
        for slot in 0..<connectionSlots where unsafe connections[slot].phase != .free { end(slot, .stopped, reason) }
    }
}
