// Counts that agree between any two turns of a loop. Debug builds check it.

extension Loop {
    /// Traps at the end of a turn when two counts of one thing differ. Release builds do not look. With many
    /// connections only some turns look, so that the check takes as long for each turn as with a few.
    func check() {
        assert(!isCheckDue || violations().isEmpty, "counts disagree: \(violations().joined(separator: "; "))")
    }

    private var isCheckDue: Bool { counters[.turns].value % UInt64(1 + connectionSlots / 8) == 0 }

    /// Counts of one thing that are kept in two places, and differ, and memory beyond its bound.
    func violations() -> [String] {
        var found: [String] = []
        func expect(_ count: Int, _ other: Int, _ what: @autoclosure () -> String) {
            if count != other { found.append("\(what()): \(count) and \(other)") }
        }
        var sums = Sums()
        for slot in usedSlots where !isAtRest(slot) { add(slot, to: &sums, &found) }
        expect(activeConnections, sums.connections, "connections")
        expect(connectionSlots - freeConnections.count, sums.connections, "connections that are no free slots")
        expect(requestsUnderWay, sums.busyRequests, "requests under way")
        expect(sendsUnderWay, sums.sends, "sends under way")
        expect(sendQueue.count, sums.queuedForSend, "connections that wait to be sent to")
        expect(ownPagesInUse, sums.ownPages, "pages of connections")
        expect(middle.pagesInUse, sums.middlePages, "pages of the middle stage")
        expect(large.pagesInUse, sums.largePages, "pages of the large stage")
        expect(extraPages, sums.extraPages, "pages of interrupted replies")
        expect(mappedBytes, sums.mappedBytes, "mapped bytes")
        // All but the largest were there already when the last one came, or less has left since. Tests that want this
        // payload ask for no room.
        let others = sums.mappedBytes - sums.largestMappedBytes
        if forcedPayload == nil, sums.mappedBytes > 0 {
            let bound = min(others, shared.mappedReplyBytes - 1)
            expect(others, bound, "mapped bytes beside the largest reply, and their bound")
        }
        expect(pipes.takenCount, sums.pipes, "pipes")
        expect(ownPagesInUse, min(ownPagesInUse, ownPageLimit), "pages of connections, and their bound")
        expect(landedPages, sums.landedPages, "pages of landing places")
        expect(landedPages, min(landedPages, landingPageLimit), "pages of landing places, and their bound")
        let touchedBound = ownPageLimit + connectionSlots * Limits.sharePages
        expect(ownTouchedPages, min(ownTouchedPages, touchedBound), "touched pages of connections, and their bound")
        for memory in AwaitedMemory.allCases {
            expect(waiting(for: memory), sums.waiting[memory], "connections that wait for \(memory) memory")
        }
        addExports(sums, &found)
        return found
    }

    /// What is wrong with the counts of exports that somebody has open.
    private func addExports(_ sums: Sums, _ found: inout [String]) {
        func expect(_ count: Int, _ other: Int, _ what: @autoclosure () -> String) {
            if count != other { found.append("\(what()): \(count) and \(other)") }
        }
        for (number, writers) in sums.sharedWriters {
            // Tests stand for other writers of a loop; with its last connection the export has none (`leave`).
            let inside = exports[number].gate.sharedWriters(of: index)
            expect(inside, max(inside, writers), "writers of export \(number.number)")
        }
        for (number, users) in sums.users {
            expect(exports[number].users, users, "connections of export \(number.number)")
            let pages = sums.exportPages[number] ?? PerAwaitedMemory { _ in 0 }
            for memory in AwaitedMemory.allCases {
                let held = exports[number].memory[memory].pages
                expect(held, pages[memory], "pages of \(memory) memory of export \(number.number)")
            }
        }
        for number in sums.users.keys {
            let inRing = exports[number].ringShare.count
            expect(inRing, sums.inRing[number, default: 0], "operations of export \(number.number) in the ring")
            expect(inRing, min(inRing, RingShare.capacity), "the same, and the export's share")
            let held = exports[number].ringShare.hasRoom ? exports[number].ringShare.waitingCount(requests) : 0
            expect(held, 0, "requests of export \(number.number) that wait for a ring with room")
            let waiting = sums.waitingForOthers[number, default: 0]
            let listed = exports[number].waitingForOthers.count(requests)
            expect(listed, waiting, "requests of export \(number.number) that wait for others in layers")
            // Nobody would ever wake them, but they have to wait where there is no power.
            let isOrphaned = sums.insideLayers[number, default: 0] == 0 && exports[number].blocks.hasPower
            let orphans = isOrphaned ? waiting : 0
            expect(orphans, 0, "requests of export \(number.number) that wait for nobody in layers")
        }
    }

    private struct Sums {
        var connections = 0
        var busyRequests = 0
        var sends = 0
        var queuedForSend = 0
        var ownPages = 0
        var sharePages = 0
        var middlePages = 0
        var largePages = 0
        var extraPages = 0
        var mappedBytes = 0
        var landedPages = 0
        var largestMappedBytes = 0
        var inRing: [ExportNumber: Int] = [:]
        var pipes = 0
        var waiting = PerAwaitedMemory { _ in 0 }
        var exportPages: [ExportNumber: PerAwaitedMemory<Int>] = [:]
        var users: [ExportNumber: Int] = [:]
        var sharedWriters: [ExportNumber: Int] = [:]
        var insideLayers: [ExportNumber: Int] = [:]
        var waitingForOthers: [ExportNumber: Int] = [:]
    }

    private func isAtRest(_ slot: ConnectionSlot) -> Bool {
        connections[slot].phase == .free && connections[slot].requestsInUse == 0
            && connections[slot].arena.pagesInUse == 0 && !connections[slot].isQueuedForSend
            && connections[slot].line == nil
    }

    private func add(_ slot: ConnectionSlot, to sums: inout Sums, _ found: inout [String]) {
        func expect(_ count: Int, _ other: Int, _ what: StaticString) {
            guard count != other else { return }
            found.append("\(what) of connection \(connections[slot].number): \(count) and \(other)")
        }
        if connections[slot].phase != .free { sums.connections += 1 }
        if connections[slot].frontEnd == .iscsi, connections[slot].phase != .free {
            let landed = sessions.iscsi[slot].tasks.count { $0.landedBytes > 0 }
            sums.landedPages += landed * TargetSession.landingPages
            let waiting = sessions.iscsi[slot].tasks.count { $0.isWaiting }
            expect(sessions.iscsi[slot].waiting.count, waiting, "tasks that wait for memory")
        }
        expect(sessions.contains(slot) ? 1 : 0, connections[slot].phase == .free ? 0 : 1, "sessions")
        if connections[slot].isSending { sums.sends += 1 }
        if connections[slot].isQueuedForSend { sums.queuedForSend += 1 }
        if let memory = connections[slot].line { sums.waiting[memory] += 1 }
        for export in openExports(of: slot) {
            sums.users[export, default: 0] += 1
            sums.sharedWriters[export, default: 0] += 0
        }
        sums.busyRequests += connections[slot].busyRequests
        let before = sums
        let requestCount = connections[slot].requestsInUse > 0 ? addRequests(of: slot, to: &sums) : 0
        expect(connections[slot].requestsInUse, requestCount, "requests")
        let sharePages = sums.sharePages - before.sharePages
        expect(connections[slot].arena.pagesInUse, sums.ownPages - before.ownPages + sharePages, "pages")
        expect(connections[slot].sharePages, sharePages, "pages of the share")
        expect(connections[slot].stagePages[.middle], sums.middlePages - before.middlePages, "middle pages")
        expect(connections[slot].stagePages[.large], sums.largePages - before.largePages, "large pages")
        expect(max(connections[slot].busyRequests, requestCount), requestCount, "busy requests")
        expect(max(connections[slot].replies.count, requestCount), requestCount, "replies")
        expect(
            max(connections[slot].repliesInSend, connections[slot].replies.count), connections[slot].replies.count,
            "replies in the send")
    }

    /// - Returns: how many there are.
    private func addRequests(of slot: ConnectionSlot, to sums: inout Sums) -> Int {
        var count = 0
        for place in slot.places where requests.contains(place) {
            count += 1
            switch requests[place].payload {
            case .none, .spliced: break
            case .pages(let run): add(run, requests[place].unit, to: &sums)
            case .mapped(let byteCount):
                sums.mappedBytes += byteCount
                sums.largestMappedBytes = max(sums.largestMappedBytes, byteCount)
            case .piped(_, let run):
                sums.pipes += 1
                add(run, requests[place].unit, to: &sums)
            }
            if requests[place].isInRing { sums.inRing[requests[place].unit, default: 0] += 1 }
            if requests[place].gate == .shared {
                sums.sharedWriters[requests[place].unit, default: 0] += 1
            }
            if layered.contains(place) { addStage(of: place, to: &sums) }
        }
        return count
    }

    private func addStage(of place: RequestPlace, to sums: inout Sums) {
        switch layered[place].stage {
        case .outside, .held: break
        case .inside: sums.insideLayers[requests[place].unit, default: 0] += 1
        case .waitingForOthers: sums.waitingForOthers[requests[place].unit, default: 0] += 1
        }
    }

    private func add(_ run: PageRun, _ export: ExportNumber, to sums: inout Sums) {
        func count(_ memory: AwaitedMemory, _ sum: WritableKeyPath<Sums, Int>) {
            sums[keyPath: sum] += run.count
            sums.exportPages[export, default: PerAwaitedMemory { _ in 0 }][memory] += run.count
        }
        switch run.memory {
        case .share: sums.sharePages += run.count
        case .own: count(.own, \.ownPages)
        case .middle: count(.middle, \.middlePages)
        case .large: count(.large, \.largePages)
        case .extra: sums.extraPages += run.count
        }
    }

    /// By going through the lists of all exports in the line.
    private func waiting(for memory: AwaitedMemory) -> Int {
        var count = 0
        for place in 0..<lines[memory].exports.count {
            count += exports[lines[memory].exports[place]].memory[memory].waiting.count(connections)
        }
        return count
    }
}
