// How fast a client moves data while it keeps memory from others.

/// A client may hold memory for requests: it has not sent all of a payload, or has not taken its replies. It then has
/// to send and take a 32nd of that each second, on average over ``Limits/stallSeconds``, so that the memory is somebody
/// else's after half a minute. A slower client is disconnected when others wait for memory.
struct Pace {
    private static let leastPart = 32

    /// In the last whole span of time it was slower.
    private(set) var isSlow = false
    /// The bytes that it has moved in that time.
    private(set) var lastBytes = 0
    private var start: Int
    private var bytesAtStart: UInt64 = 0

    init(now: Int) {
        start = now
    }

    /// A second has passed.
    ///
    /// - Parameters:
    ///   - heldBytes: what it holds now.
    ///   - movedBytes: what it has ever sent and taken.
    ///   - span: the time of which the average is taken, in seconds.
    mutating func look(heldBytes: Int, movedBytes: UInt64, now: Int, span: Int) {
        if heldBytes == 0 {
            isSlow = false
        } else {
            guard now - start >= span else { return }
            lastBytes = Int(clamping: movedBytes &- bytesAtStart)
            isSlow = lastBytes < heldBytes / Self.leastPart * (now - start)
        }
        start = now
        bytesAtStart = movedBytes
    }
}

extension Loop {
    /// Whether its client keeps memory from others.
    mutating func checkPace(_ slot: ConnectionSlot) {
        turnAwayLateTasks(slot)
        let held = heldBytes(slot)
        connections[slot].pace.look(
            heldBytes: held, movedBytes: connections[slot].receivedBytes &+ connections[slot].sentBytes, now: now,
            span: shared.limits.stallSeconds)
        guard connections[slot].pace.isSlow && connections[slot].phase != .closing else { return }
        guard AwaitedMemory.allCases.contains(where: { isInTheWay(slot, of: $0) }) else { return }
        let moved = connections[slot].pace.lastBytes
        end(
            slot, .stalled,
            "it held \(held) bytes of memory that others wait for, and moved \(moved) in \(shared.limits.stallSeconds) s"
        )
    }

    /// Whether others wait for memory that the connection has: with its export, or with one that has less than that.
    /// A connection that has more waits for itself.
    func isInTheWay(_ slot: ConnectionSlot, of memory: AwaitedMemory) -> Bool {
        guard connections[slot].heldPages(memory) > 0 else { return false }
        return openExports(of: slot).contains { export in
            let share = exports[export].memory[memory]
            return !share.waiting.isEmpty || anyWaits(for: memory) { $0.pages < share.pages }
        }
    }

    /// Memory of requests that wait for the client: for the rest of a payload, or to be taken as replies. Work of
    /// the medium is not its fault.
    private func heldBytes(_ slot: ConnectionSlot) -> Int {
        let used = connections[slot].stagePages[.large] + connections[slot].stagePages[.middle]
        guard used > 0 || connections[slot].arena.pagesInUse > 0 else { return 0 }
        var pages = arrivingPages(slot)
        for number in 0..<connections[slot].replies.count {
            pages += requests[connections[slot].replies[number]].payload.pageCount
        }
        return pages * PageArena.pageBytes
    }
}
