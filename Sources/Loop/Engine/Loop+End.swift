// Connections go, and the loop itself: draining, aborting, time limits, shutdown.

import Counters
import Glibc
import IOUring
import Logging

extension Loop {
    /// Reads nothing more; finishes and answers requests in flight, then the connection ends.
    ///
    /// Neither this nor ``abort(_:_:)`` frees the slot: the handler of the event still uses it, and calls
    /// ``finishIfIdle(_:)`` last of all.
    mutating func drain(_ slot: ConnectionSlot, _ reason: EndReason) {
        guard connections[slot].phase != .closing else { return }
        noteEnd(slot, reason)
        connections[slot].phase = .draining
        connections[slot].lastProgress = now
        forgetIncompleteRequests(slot)
        hurryHeld(slot)
    }

    /// Ends the connection without another word. Operations that the kernel has come back first.
    mutating func abort(_ slot: ConnectionSlot, _ reason: EndReason) {
        guard connections[slot].phase != .closing, connections[slot].phase != .free else { return }
        noteEnd(slot, reason)
        connections[slot].phase = .closing
        shutdown(connections[slot].descriptor, Int32(SHUT_RDWR))
        forgetIncompleteRequests(slot)
        dropReplies(slot)
    }

    /// The first reason counts; later ones only follow from it.
    private mutating func noteEnd(_ slot: ConnectionSlot, _ reason: EndReason) {
        guard connections[slot].endReason == nil else { return }
        connections[slot].endReason = reason
        shared.addConnections(-1, to: index)
    }

    /// Takes the next steps towards a connection's end, if it is on its way there and nothing holds it up.
    mutating func finishIfIdle(_ slot: ConnectionSlot) {
        if let home = connections[slot].destination, connections[slot].phase == .handshake, isIdle(slot), isUnused(slot)
        {
            handOver(slot, to: home)
            return
        }
        // A stopping server waits for what was asked, not for what might be.
        if isStopping || connections[slot].endsAt != nil, connections[slot].phase == .transmission,
            isIdle(slot), !connections[slot].hasUnparsed, !owesReply(slot)
        {
            drain(slot, .stopped)
        }
        if connections[slot].phase == .draining, isIdle(slot), !confirmEnd(slot), !sayGoodbye(slot) {
            if !connections[slot].awaitsEndOfFile {
                abort(slot, connections[slot].endReason ?? .disconnect)
            } else if connections[slot].isSecure || connections[slot].peer.closesFirst {
                // With this it sees that nothing more comes.
                shutdown(connections[slot].descriptor, Int32(SHUT_WR))
            }
        }
        guard connections[slot].phase == .closing else { return }
        // The connection may itself wait for the memory that its replies have.
        dropReplies(slot)
        leaveLine(slot)
        giveUpWaiting(slot)
        hurryHeld(slot)
        if isUnused(slot) { release(slot) }
    }

    /// Nothing of the connection is with the kernel or in a queue of this loop. Else somebody takes it from there, and
    /// looks again.
    private func isUnused(_ slot: ConnectionSlot) -> Bool {
        return !connections[slot].isReceiving && !connections[slot].isSending
            && connections[slot].busyRequests == 0 && connections[slot].lookUpsUnderWay == 0
            && !connections[slot].isQueuedForSend
    }

    /// No request, and nothing to be sent.
    private func isIdle(_ slot: ConnectionSlot) -> Bool {
        connections[slot].requestsInUse == 0 && !connections[slot].isSending
            && connections[slot].words.isEmpty && !connections[slot].isQueuedForSend
    }

    /// A connection has ended.
    private func countEnd(_ slot: ConnectionSlot) {
        guard let reason = connections[slot].endReason else { preconditionFailure("it ends without a reason") }
        counters[reason].add()
        counters[.connections].subtract(1)
    }

    private mutating func release(_ slot: ConnectionSlot) {
        noteClosed(slot)
        close(connections[slot].descriptor)
        countEnd(slot)
        lowerAllFences(slot)
        let entry = connections[slot].entry
        endSession(slot)
        connections[slot].end()
        if let entry { leave(entry) }
        shared.connectionCount.subtract(1, ordering: .relaxed)
        freeConnections.push(slot)
        activeConnections -= 1
        if shared.connection != nil { isStopping = true }
    }

    /// Once a second: time limits, and memory that nobody uses goes back.
    mutating func tick() {
        now += 1
        if isStopping && now >= stoppedAt + shared.limits.shutdownSeconds {
            // A connection that is left a second after that waits for a file.
            hasGivenUp = now > stoppedAt + shared.limits.shutdownSeconds
            abortAll("the server stops")
        }
        for slot in usedSlots { checkTime(slot) }
        if !mediaToTake.isEmpty { endSlowReaders() }
        if index == 0 && !isStopping { listen() }
        isTrimDue = true
        keepStates()
        if index == 0 { beginCacheEpoch() }
        ring.timeout(second, userData: Token(.tick).userData)
    }

    private mutating func checkTime(_ slot: ConnectionSlot) {
        let idle = now - (connections[slot].lastProgress)
        noticeMissedEnd(slot)
        retryOpening(slot)
        retryLogin(slot)
        if let endsAt = connections[slot].endsAt, now >= endsAt {
            end(slot, .stopped, "its export is gone, and it has not taken its last replies in time")
            return
        }
        if limitFences(slot) || noticeAbsence(slot) || checkSession(slot, idleSeconds: idle) { return }
        switch connections[slot].phase {
        case .handshake where isStopping && now > stoppedAt + 1:
            end(slot, .stopped, "the server stops")
        case .handshake where now - (connections[slot].startedAt) >= shared.limits.handshakeSeconds:
            let aim = connections[slot].frontEnd == .iscsi ? "target" : "export"
            end(slot, .handshakeTimeout, "no \(aim) was opened within \(shared.limits.handshakeSeconds) s")
        case .draining where connections[slot].busyRequests == 0 && idle >= shared.limits.handshakeSeconds:
            end(slot, .stalled, "it does not take its last replies")
        default:
            checkPace(slot)
        }
    }

    /// Ends a connection for a reason that the log tells.
    mutating func end(_ slot: ConnectionSlot, _ kind: EndReason, _ reason: String) {
        note(kind.level, "client cut off", slot, ["reason": "\(reason)"])
        abort(slot, kind)
        finishIfIdle(slot)
    }

    /// The server stops: no new connections, no new requests; those in flight are finished.
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
        for slot in usedSlots {
            switch connections[slot].phase {
            case .handshake:
                // It has until the next but one tick to learn why it is not served.
                refuseFurther(slot)
            case .transmission:
                finishTransmission(slot)
            case .draining:
                connections[slot].awaitsEndOfFile = false
                finishIfIdle(slot)
            case .closing, .free:
                break
            }
        }
    }

    /// All requests of a client are finished, then its connection ends.
    mutating func finishTransmission(_ slot: ConnectionSlot) {
        refuseFurther(slot)
        pump(slot)
        finishIfIdle(slot)
    }

    private mutating func abortAll(_ reason: String) {
        for slot in usedSlots where connections[slot].phase != .free { end(slot, .stopped, reason) }
    }
}
