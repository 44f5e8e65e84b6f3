// Fences (see Fence): the connection that waits, and those that are waited for.

import Glibc
import IOUring
import Logging

/// The connection that waits.
extension Loop {
    /// An export was opened that others have open, too.
    mutating func raiseFence(_ slot: ConnectionSlot, _ entry: ExportEntry) {
        connections[slot].fencesAhead += 1
        let fence = Fence(
            entry, peer: connections[slot].peer, client: fenceClient(slot), opening: connections[slot].opening,
            loop: index, slot: slot, connection: connections[slot].number, loopCount: shared.loopCount)
        shared.postToAll(.fence(fence))
    }

    /// The work of an older connection, or a loop, for a fence is done.
    func lower(_ fence: Fence) {
        if fence.remove() { shared.mailboxes[fence.loop].post(.fencePassed(fence)) }
    }

    /// A connection may begin with its requests.
    mutating func fencePassed(_ fence: Fence) {
        let slot = fence.slot
        guard connections[slot].number == fence.connection, connections[slot].isFenced else { return }
        connections[slot].fencesAhead -= 1
        guard !connections[slot].isFenced else { return }
        pump(slot)
        finishIfIdle(slot)
    }
}

/// Those that are waited for.
extension Loop {
    /// Looks for connections that a fence has to wait for.
    mutating func hold(_ fence: Fence) {
        for slot in usedSlots { hold(fence, slot) }
        lower(fence)
    }

    private mutating func hold(_ fence: Fence, _ slot: ConnectionSlot) {
        guard hasOpen(fence.entry, slot), connections[slot].opening < fence.opening else {
            return
        }
        let isSame = fence.client.isSame(as: fenceClient(slot))
        if fence.isFromSamePlace(connections[slot].peer), fence.peer.isRemote, fence.entry.definition.isTakenOver,
            now - (connections[slot].startedAt) > shared.limits.handshakeSeconds
        {
            end(slot, .replaced, "its client has opened the export anew from \(fence.peer.name)")
            // Freed by that, it may be somebody else's already.
            guard hasOpen(fence.entry, slot) else { return }
        }
        fence.add()
        hurryHeld(slot)
        if isSame { listen(to: slot) }
        let stage = isSame ? .bytes(arrivedBytes(slot)) : AwaitedFence.Stage.marking
        connections[slot].awaited.append(AwaitedFence(fence: fence, stage: stage, since: now))
        advanceFences(slot)
    }

    /// How many bytes have come so far, those in the socket among them.
    private func arrivedBytes(_ slot: ConnectionSlot) -> UInt64 {
        connections[slot].receivedBytes &+ UInt64(LinuxFile.receivedBytes(connections[slot].descriptor))
    }

    /// Something has happened on a connection that fences wait for.
    mutating func advanceFences(_ slot: ConnectionSlot) {
        guard !connections[slot].awaited.isEmpty else { return }
        for number in connections[slot].awaited.indices {
            let awaited = connections[slot].awaited[number]
            guard case .bytes(let count) = awaited.stage else { continue }
            let isReading = connections[slot].phase == .transmission
            let isBehind = connections[slot].parsedBytes(isHeldUp: isHeldUp(slot)) < count || isInsideRequest(slot)
            if !isReading || !isBehind {
                connections[slot].awaited[number].stage = .marking
            }
        }
        while connections[slot].busyBeforeMark == 0 {
            lowerFencesWithoutRequests(slot)
            guard connections[slot].awaited.contains(where: \.isMarking) else { return }
            connections[slot].mark()
        }
    }

    /// A request that has begun before the last mark is done.
    mutating func finishMarked(_ slot: ConnectionSlot) {
        connections[slot].busyBeforeMark -= 1
        advanceFences(slot)
    }

    /// The requests that these fences waited for are done.
    private mutating func lowerFencesWithoutRequests(_ slot: ConnectionSlot) {
        let passed = connections[slot].awaited.filter(\.isWaitingForRequests)
        guard !passed.isEmpty else { return }
        connections[slot].awaited.removeAll(where: \.isWaitingForRequests)
        if connections[slot].awaited.isEmpty && connections[slot].peer.isRemote {
            keepAlive(connections[slot].descriptor)
        }
        for awaited in passed { lower(awaited.fence) }
    }

    /// A connection has ended, and nothing of it is under way.
    mutating func lowerAllFences(_ slot: ConnectionSlot) {
        let awaited = connections[slot].awaited
        connections[slot].awaited = []
        for one in awaited { lower(one.fence) }
    }

    /// Fences do not wait for ever for what depends on a client, nor for all of a request that has many commands. If
    /// the client is not there any more, its connection is ended.
    ///
    /// - Returns: whether it was.
    mutating func limitFences(_ slot: ConnectionSlot) -> Bool {
        let limit = now - Fence.patienceSeconds
        guard connections[slot].awaited.contains(where: { $0.since <= limit }) else { return false }
        if connections[slot].awaited.contains(where: { $0.isReading && $0.since <= limit }) {
            if endSilent(slot, since: limit) { return true }
            for number in connections[slot].awaited.indices
            where connections[slot].awaited[number].isReading {
                connections[slot].awaited[number].stage = .marking
            }
            advanceFences(slot)
        }
        return limitRequests(slot, since: limit)
    }

    /// A fence does not wait for data that a returned client would not have sent, or heard, on its old connection.
    private mutating func endSilent(_ slot: ConnectionSlot, since limit: Int) -> Bool {
        guard connections[slot].peer.isRemote && connections[slot].lastProgress <= limit else { return false }
        if isInsideRequest(slot) {
            end(
                slot, .replaced,
                "its client has come back on another connection; the request that it was sending is dropped")
            return true
        }
        guard isUnheard(connections[slot].descriptor) else { return false }
        endUnreachable(slot)
        return true
    }

    private mutating func endUnreachable(_ slot: ConnectionSlot) {
        end(slot, .replaced, "its client has come back on another connection, and cannot be reached on this one")
    }

    /// Requests that have begun take longer than fences wait. Fences wait for operations in the kernel. Beyond that,
    /// the next commands of a present client are like any at the same time; those of an absent one must not come later.
    private mutating func limitRequests(_ slot: ConnectionSlot, since limit: Int) -> Bool {
        let overdue = connections[slot].awaited.filter { $0.isWaitingForRequests && $0.since <= limit }
        guard !overdue.isEmpty else { return false }
        if connections[slot].phase != .transmission || connections[slot].isAtEndOfFile {
            connections[slot].isAbandoned = true
            return false
        }
        let client = fenceClient(slot)
        if connections[slot].peer.isRemote, !isHeard(connections[slot].descriptor),
            overdue.contains(where: { $0.fence.client.isSame(as: client) })
        {
            endUnreachable(slot)
            return true
        }
        connections[slot].isPassedByFences = true
        return false
    }

    /// A request that fences have waited for long enough is between two commands.
    mutating func letFencesPass(_ place: RequestPlace, _ slot: ConnectionSlot) {
        guard connections[slot].isPassedByFences && requests[place].mark != connections[slot].currentMark
        else { return }
        requests[place].mark = connections[slot].currentMark
        finishMarked(slot)
    }

    /// Whether a client is still there, its connection will show soon.
    private func listen(to slot: ConnectionSlot) {
        guard connections[slot].peer.isRemote && connections[slot].busyRequests > 0 else { return }
        keepAlive(connections[slot].descriptor, isUrgent: true)
    }
}

extension AwaitedFence {
    fileprivate var isReading: Bool {
        if case .bytes = stage { true } else { false }
    }

    fileprivate var isMarking: Bool {
        if case .marking = stage { true } else { false }
    }

    fileprivate var isWaitingForRequests: Bool {
        if case .requests = stage { true } else { false }
    }
}

extension Connection {
    /// From here on requests that begin can be told from those that have begun, all of which the fences wait for.
    mutating func mark() {
        currentMark.toggle()
        isPassedByFences = false
        busyBeforeMark = busyRequests
        for number in awaited.indices where awaited[number].isMarking { awaited[number].stage = .requests }
    }
}

/// TCP has sent something again, and has heard nothing yet.
private func isUnheard(_ descriptor: Int32) -> Bool {
    guard let information = informationOfTCP(descriptor) else { return false }
    return information.tcpi_retransmits > 0
}

/// TCP has heard something since it was told to ask for a sign of life.
private func isHeard(_ descriptor: Int32) -> Bool {
    guard let information = informationOfTCP(descriptor) else { return true }
    return information.tcpi_retransmits == 0
        && information.tcpi_last_ack_recv <= UInt32(1000 * (Fence.patienceSeconds + 1))
}

/// tcp(7), TCP_INFO; nil for other sockets.
private func informationOfTCP(_ descriptor: Int32) -> tcp_info? {
    var information = tcp_info()
    var length = socklen_t(MemoryLayout<tcp_info>.size)
    guard unsafe getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &information, &length) == 0 else { return nil }
    return information
}
