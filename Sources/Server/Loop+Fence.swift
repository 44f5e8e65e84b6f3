// Fences (see Fence): the connection that waits, and those that are waited for.

import Glibc
import IOUring
import Logging

/// The connection that waits.
extension Loop {
    /// An export was opened that others have open, too.
    mutating func raiseFence(_ slot: Int, _ entry: ExportEntry) {
        unsafe connections[slot].isFenced = true
        let fence = unsafe Fence(
            entry, peer: connections[slot].peer, opening: connections[slot].opening, loop: index, slot: slot,
            connection: connections[slot].number, loopCount: shared.loopCount)
        shared.postToAll(.fence(fence))
    }

    /// What an older connection, or a loop, had to do for a fence is done.
    func lower(_ fence: Fence) {
        if fence.remove() { shared.mailboxes[fence.loop].post(.fencePassed(fence)) }
    }

    /// A connection may begin with its requests.
    mutating func fencePassed(_ fence: Fence) {
        let slot = fence.slot
        guard unsafe connections[slot].number == fence.connection, unsafe connections[slot].isFenced else { return }
        unsafe connections[slot].isFenced = false
        pump(slot)
        finishIfIdle(slot)
    }
}

/// Those that are waited for.
extension Loop {
    /// Looks for connections that a fence has to wait for.
    mutating func hold(_ fence: Fence) {
        for slot in 0..<connectionSlots { hold(fence, slot) }
        lower(fence)
    }

    private mutating func hold(_ fence: Fence, _ slot: Int) {
        let connection = unsafe connections + slot
        guard unsafe connection.pointee.entry === fence.entry, unsafe connection.pointee.opening < fence.opening else {
            return
        }
        let isSame = unsafe fence.isSameClient(connection.pointee.peer)
        if isSame, fence.peer.isRemote, fence.entry.definition.isTakenOver,
            now - (unsafe connection.pointee.startedAt) > shared.limits.handshakeSeconds
        {
            end(slot, .replaced, "its client has opened the export anew from \(fence.peer.name)")
            // Freed by that, it may be somebody else's already.
            guard unsafe connection.pointee.entry === fence.entry else { return }
        }
        fence.add()
        let stage = isSame ? .bytes(arrivedBytes(slot)) : AwaitedFence.Stage.marking
        unsafe connection.pointee.awaited.append(AwaitedFence(fence: fence, stage: stage, since: now))
        advanceFences(slot)
    }

    /// How many bytes have come so far; what the socket holds has come, too.
    private func arrivedBytes(_ slot: Int) -> UInt64 {
        unsafe connections[slot].receivedBytes &+ UInt64(LinuxFile.receivedBytes(connections[slot].descriptor))
    }

    /// Something has happened on a connection that fences wait for.
    mutating func advanceFences(_ slot: Int) {
        guard unsafe !connections[slot].awaited.isEmpty else { return }
        let connection = unsafe connections + slot
        for number in unsafe connection.pointee.awaited.indices {
            let awaited = unsafe connection.pointee.awaited[number]
            guard case .bytes(let count) = awaited.stage else { continue }
            let isReading = unsafe connection.pointee.phase == .transmission
            let isBehind = unsafe connection.pointee.parsedBytes < count || connection.pointee.isInsideRequest
            if !isReading || !isBehind {
                unsafe connection.pointee.awaited[number].stage = .marking
            }
        }
        while unsafe connection.pointee.busyBeforeMark == 0 {
            lowerFencesWithoutRequests(slot)
            guard unsafe connection.pointee.awaited.contains(where: \.isMarking) else { return }
            unsafe connection.pointee.mark()
        }
    }

    /// A request that has begun before the last mark is done.
    mutating func finishMarked(_ slot: Int) {
        unsafe connections[slot].busyBeforeMark -= 1
        advanceFences(slot)
    }

    /// The requests that these fences waited for are done.
    private mutating func lowerFencesWithoutRequests(_ slot: Int) {
        let passed = unsafe connections[slot].awaited.filter(\.isWaitingForRequests)
        guard !passed.isEmpty else { return }
        unsafe connections[slot].awaited.removeAll(where: \.isWaitingForRequests)
        for awaited in passed { lower(awaited.fence) }
    }

    /// A connection has ended, and nothing of it is under way.
    mutating func lowerAllFences(_ slot: Int) {
        let awaited = unsafe connections[slot].awaited
        unsafe connections[slot].awaited = []
        for one in awaited { lower(one.fence) }
    }

    /// Fences do not wait for ever for what depends on a client. If it is not there any more, its connection is ended.
    ///
    /// - Returns: whether it was.
    mutating func limitFences(_ slot: Int) -> Bool {
        let limit = now - Fence.patienceSeconds
        guard unsafe connections[slot].awaited.contains(where: { $0.isReading && $0.since <= limit }) else {
            return false
        }
        if unsafe connections[slot].peer.isRemote && connections[slot].lastProgress <= limit {
            if unsafe connections[slot].isInsideRequest {
                end(
                    slot, .replaced,
                    "its client has come back on another connection; the request that it was sending is dropped")
                return true
            }
            if isUnheard(unsafe connections[slot].descriptor) {
                end(
                    slot, .replaced, "its client has come back on another connection, and cannot be reached on this one"
                )
                return true
            }
        }
        for number in unsafe connections[slot].awaited.indices where unsafe connections[slot].awaited[number].isReading
        {
            unsafe connections[slot].awaited[number].stage = .marking
        }
        advanceFences(slot)
        return false
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
        busyBeforeMark = busyRequests
        for number in awaited.indices where awaited[number].isMarking { awaited[number].stage = .requests }
    }
}

/// TCP has sent something again, and has heard nothing yet (tcp(7), TCP_INFO).
private func isUnheard(_ descriptor: Int32) -> Bool {
    var information = tcp_info()
    var length = socklen_t(MemoryLayout<tcp_info>.size)
    guard unsafe getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &information, &length) == 0 else { return false }
    return information.tcpi_retransmits > 0
}
