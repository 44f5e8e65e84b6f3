// How fast a client moves data while it keeps memory from others.

/// A client may hold memory for requests: it has not sent all of a payload, or has not taken its replies. It then has
/// to send and take a 32nd of that each second, on average over ``Limits/stallSeconds``, so that the memory is somebody
/// else's after half a minute. A slower client is disconnected when others wait for memory.
struct Pace {
    private static let leastPart = 32

    /// In the last whole span of time it was slower.
    private(set) var isSlow = false
    /// What it has moved in that time.
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
        let held = heldBytes(slot)
        connections[slot].pace.look(
            heldBytes: held, movedBytes: connections[slot].receivedBytes &+ connections[slot].sentBytes, now: now,
            span: shared.limits.stallSeconds)
        guard connections[slot].pace.isSlow && connections[slot].phase != .closing else { return }
        let isInTheWay =
            connections[slot].largePages > 0 && !large.line.isEmpty
            || connections[slot].middlePages > 0 && !middle.line.isEmpty
            || connections[slot].arena.pagesInUse > Limits.sharePages && !ownLine.isEmpty
        guard isInTheWay else { return }
        let moved = connections[slot].pace.lastBytes
        end(
            slot, .stalled,
            "it held \(held) bytes of memory that others wait for, and moved \(moved) in \(shared.limits.stallSeconds) s"
        )
    }

    /// Memory of requests that wait for the client: for the rest of a payload, or to be taken as replies. What the
    /// medium has under way is not its fault.
    private func heldBytes(_ slot: ConnectionSlot) -> Int {
        let used = connections[slot].largePages + connections[slot].middlePages
        guard used > 0 || connections[slot].arena.pagesInUse > 0 else { return 0 }
        var pages = 0
        if let place = connections[slot].payloadRequest {
            pages += requests[place].payload.pageCount
        }
        for number in 0..<connections[slot].replies.count {
            pages += requests[connections[slot].replies[number]].payload.pageCount
        }
        return pages * PageArena.pageBytes
    }
}
