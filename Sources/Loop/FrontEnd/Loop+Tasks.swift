// Tasks of iSCSI: a command of an initiator becomes a request of the loop, and its ending a response.

import Counters
import IOUring
import ISCSI
import Replies
import SCSI
import Units

/// Commands.
extension Loop {
    /// Finds a place for a task, and begins it unless data are still to come, or it has to wait for memory. A task that
    /// writes takes memory when its data come: what an initiator never sends takes none that others could have.
    ///
    /// - Returns: false when there is no place for it now; nothing has happened then.
    mutating func begin(_ task: SCSITask, _ slot: ConnectionSlot) -> Bool {
        precondition(!sessions.iscsi[slot].units.isEmpty, "a session has its commands after its login")
        guard let place = connections[slot].freeRequests.pop() else { return false }
        let (unit, isPresent) = sessions.iscsi[slot].unit(task.logicalUnit)
        put(task, to: unit, isPresent: isPresent, at: place)
        let number = task.number.index
        sessions.iscsi[slot].tasks[number] = TargetTask(
            place: place, isUnplaced: task.writes, isArriving: task.writes, lastProgress: now)
        if !task.writes { occupyMemory(number, place) }
        sessions.iscsi[slot].session.accepted(dataOutBytes: served.commands[place].dataOutBytes)
        if !task.writes { goOn(number, .begin, slot) }
        return true
    }

    private mutating func placeTaskData(_ place: RequestPlace) -> Bool {
        placeData(of: place, need(of: place), offer(of: requests[place].unit))
    }

    /// The data of a task take memory, or wait for it.
    private mutating func occupyMemory(_ number: Int, _ place: RequestPlace) {
        let slot = place.slot
        sessions.iscsi[slot].tasks[number].isUnplaced = false
        if sessions.iscsi[slot].waiting.isEmpty, placeTaskData(place) {
            moveLanded(number, place)
        } else {
            sessions.iscsi[slot].tasks[number].isWaiting = true
            sessions.iscsi[slot].waiting.append(place)
        }
    }

    /// A task has memory. What has landed of its data goes there.
    private mutating func moveLanded(_ number: Int, _ place: RequestPlace) {
        let landed = sessions.iscsi[place.slot].tasks[number].landedBytes
        guard landed > 0 else { return }
        _ = requests[place].payload(from: 0, count: landed).copy(landing(number, place.slot)[0..<landed])
        leaveLanding(number, place.slot)
    }

    /// Tasks that have waited for memory go on, in their order, as far as there is some.
    mutating func serveWaitingTasks(_ slot: ConnectionSlot) {
        while let place = sessions.iscsi[slot].waiting.first {
            let number = Int(requests[place].taskNumber)
            guard sessions.iscsi[slot].tasks[number].isTurnedAway || placeTaskData(place) else { return }
            sessions.iscsi[slot].waiting.removeFirst()
            moveLanded(number, place)
            sessions.iscsi[slot].tasks[number].isWaiting = false
            goOn(number, sessions.iscsi[slot].tasks[number].next, slot)
        }
    }

    /// Does what a task is to do next, once it has memory and nothing that was encoded for it waits to be sent.
    private mutating func goOn(_ number: Int, _ next: TargetTask.Next, _ slot: ConnectionSlot) {
        let task = sessions.iscsi[slot].tasks[number]
        guard !task.isInQueue && !task.isWaiting, let place = task.place else {
            sessions.iscsi[slot].tasks[number].next = next
            return
        }
        sessions.iscsi[slot].tasks[number].next = .nothing
        switch next {
        case .nothing: break
        case .begin:
            guard let refusal = task.refusal else { return start(place) }
            respond(refusal, to: place)
        case .solicit:
            guard task.isTurnedAway, let refusal = task.refusal else { return solicit(TaskNumber(number), place) }
            respond(refusal, to: place)
        case .fail(let failure): respond(Ending(failure), to: place)
        case .respond:
            encode(ending(of: place), place)
            queuePart(of: place)
        }
    }

    /// The last encoded bytes for a task have left.
    mutating func goOnWithTask(_ place: RequestPlace) {
        let slot = place.slot
        let number = Int(requests[place].taskNumber)
        sessions.iscsi[slot].tasks[number].isInQueue = false
        requests[place].endsWithReply = true
        let task = sessions.iscsi[slot].tasks[number]
        if task.isAborted { return endAborted(place) }
        let isForgotten = connections[slot].phase != .transmission && (task.isArriving || task.isWaiting)
        guard connections[slot].phase != .closing && !isForgotten else { return drop(place) }
        goOn(number, task.next, slot)
    }

    /// Tasks whose data will not come, or that have no memory, have not happened. An R2T in the queue leaves first.
    mutating func forgetIncompleteTasks(_ slot: ConnectionSlot) {
        for number in sessions.iscsi[slot].tasks.indices {
            let task = sessions.iscsi[slot].tasks[number]
            guard task.isWaiting || task.isArriving, !task.isInQueue, let place = task.place else { continue }
            drop(place)
        }
    }

    /// Nobody will hear of a task any more, and nothing of it is under way.
    private mutating func drop(_ place: RequestPlace) {
        let slot = place.slot
        let number = Int(requests[place].taskNumber)
        precondition(!sessions.iscsi[slot].tasks[number].isInQueue, "bytes of a task wait to be sent")
        if sessions.iscsi[slot].tasks[number].isWaiting { sessions.iscsi[slot].waiting.removeAll { $0 == place } }
        removeTask(number, slot)
        releaseRequest(place)
    }

    private mutating func removeTask(_ number: Int, _ slot: ConnectionSlot) {
        leaveLanding(number, slot)
        sessions.iscsi[slot].tasks[number] = TargetTask()
    }
}

/// Their data.
extension Loop {
    /// Moves what has come of a task's data to its place.
    mutating func takeTaskPayload(_ slot: ConnectionSlot) -> Bool {
        let data = sessions.iscsi[slot].session.place
        let number = data.task.index
        guard let place = sessions.iscsi[slot].tasks[number].place else { preconditionFailure("whose data are these?") }
        guard connections[slot].hasUnparsed else { return false }
        sessions.iscsi[slot].lastProgress = now
        if sessions.iscsi[slot].session.isSolicited(data.task) { sessions.iscsi[slot].answers = true }
        if sessions.iscsi[slot].tasks[number].isUnplaced, !waitsForAnswer(place) {
            occupyMemory(number, place)
        }
        let task = sessions.iscsi[slot].tasks[number]
        guard task.isUnplaced || task.isWaiting || task.isTurnedAway else {
            return takePayload(of: place, from: data.offset, data.count)
        }
        let lands = !task.isTurnedAway && (task.landedBytes > 0 || takeLandingPlace())
        let room = landing(number, slot).dropFirst(lands ? data.offset : 0)
        let target = room[0..<min(data.count, room.count)]
        let count = connections[slot].takeBytes(into: target)
        if lands { sessions.iscsi[slot].tasks[number].landedBytes = data.offset + count }
        payloadMoved(target[0..<count], place)
        if !lands { turnAway(number, slot) }
        return true
    }

    /// The data of a long task land as long as nobody knows whether its initiator answers an R2T: one that does not
    /// keeps no memory from others.
    private func waitsForAnswer(_ place: RequestPlace) -> Bool {
        !sessions.iscsi[place.slot].answers
            && served.commands[place].dataOutBytes > TargetSession.unsolicitedBytes
    }

    /// - Returns: false when all are taken.
    private mutating func takeLandingPlace() -> Bool {
        guard landedPages + TargetSession.landingPages <= landingPageLimit else { return false }
        landedPages += TargetSession.landingPages
        return true
    }

    /// What has come for a task has no place, and is gone.
    private mutating func turnAway(_ number: Int, _ slot: ConnectionSlot) {
        let refusal = sessions.iscsi[slot].tasks[number].refusal ?? Ending(status: .taskSetFull)
        sessions.iscsi[slot].tasks[number].refusal = refusal
        sessions.iscsi[slot].tasks[number].isTurnedAway = true
        connections[slot].landing.value.trim(landingRange(number))
    }

    /// Once a second: a session that has sent no data for a second gives back the memory of its tasks that others need.
    /// When it has sent what it was asked for, they end with TASK SET FULL, as if there had been no memory.
    mutating func turnAwayLateTasks(_ slot: ConnectionSlot) {
        guard connections[slot].frontEnd == .iscsi, connections[slot].phase == .transmission,
            sessions.iscsi[slot].lastProgress + TargetSession.patienceSeconds <= now
        else { return }
        for number in sessions.iscsi[slot].tasks.indices where isLate(sessions.iscsi[slot].tasks[number], slot) {
            if let place = sessions.iscsi[slot].tasks[number].place { releasePayload(place) }
            leaveLanding(number, slot)
            turnAway(number, slot)
            sessions.iscsi[slot].answers = false
        }
    }

    /// It waits for data, and others for its memory.
    private func isLate(_ task: TargetTask, _ slot: ConnectionSlot) -> Bool {
        guard task.isArriving, !task.isWaiting, task.lastProgress + TargetSession.patienceSeconds <= now,
            let place = task.place
        else { return false }
        if let memory = requests[place].payload.awaitedMemory { return isInTheWay(slot, of: memory) }
        return task.landedBytes > 0 && landedPages + TargetSession.landingPages > landingPageLimit
    }

    /// Maps a place for the unsolicited data of each task: unused places cost nothing.
    ///
    /// - Returns: false when there is no memory.
    mutating func makeLandingPlaces(_ slot: ConnectionSlot) -> Bool {
        let byteCount = sessions.iscsi[slot].tasks.count * TargetSession.landingBytes
        do {
            connections[slot].landing.put(try MappedRegion(byteCount: byteCount))
            return true
        } catch {
            return false
        }
    }

    /// The place for the unsolicited data of a task that waits for memory.
    private func landing(_ number: Int, _ slot: ConnectionSlot) -> MemoryRange {
        unsafe connections[slot].landing.value[landingRange(number)]
    }

    private func landingRange(_ number: Int) -> Range<Int> {
        number * TargetSession.landingBytes..<(number + 1) * TargetSession.landingBytes
    }

    /// The landed data of a task, if there are any, are in its memory, or are not wanted.
    private mutating func leaveLanding(_ number: Int, _ slot: ConnectionSlot) {
        guard sessions.iscsi[slot].tasks[number].landedBytes > 0 else { return }
        connections[slot].landing.value.trim(landingRange(number))
        sessions.iscsi[slot].tasks[number].landedBytes = 0
        landedPages -= TargetSession.landingPages
    }

    /// These data of a task are at their place.
    mutating func noteTaskPayload(_ bytes: MemoryRange, _ place: RequestPlace) {
        bytes.withBytes { sessions.iscsi[place.slot].session.payloadMoved($0) }
    }

    /// Pages of tasks whose data are still to come.
    func arrivingTaskPages(_ slot: ConnectionSlot) -> Int {
        var pages = 0
        for number in sessions.iscsi[slot].tasks.indices {
            let task = sessions.iscsi[slot].tasks[number]
            if task.isArriving, let place = task.place { pages += requests[place].payload.pageCount }
        }
        return pages
    }

    /// More data of a task have to be asked for.
    mutating func solicit(_ number: TaskNumber, _ slot: ConnectionSlot) { goOn(number.index, .solicit, slot) }

    private mutating func solicit(_ number: TaskNumber, _ place: RequestPlace) {
        let slot = place.slot
        // Data that have no place yet may have to land.
        let end = sessions.iscsi[slot].tasks[number.index].isUnplaced ? TargetSession.landingBytes : Int.max
        let count = headers.bytes(of: place).withMutableBytes {
            sessions.iscsi[slot].session.encodeReadyToTransfer(of: number, upTo: end, into: &$0)
        }
        sessions.iscsi[slot].tasks[number.index].lastProgress = now
        requests[place].reply = ReplyLayout()
        requests[place].reply.append(ReplyPart(headerBytes: count))
        requests[place].endsWithReply = false
        sessions.iscsi[slot].tasks[number.index].isInQueue = true
        queuePart(of: place)
    }

    /// All data of a task are there.
    mutating func complete(_ number: TaskNumber, _ slot: ConnectionSlot) {
        sessions.iscsi[slot].tasks[number.index].isArriving = false
        let task = sessions.iscsi[slot].tasks[number.index]
        if task.isUnplaced, let place = task.place { occupyMemory(number.index, place) }
        goOn(number.index, .begin, slot)
    }

    /// The data of a task are wrong: it never begins.
    mutating func fail(_ number: TaskNumber, _ failure: DataOutFailure, _ slot: ConnectionSlot) {
        sessions.iscsi[slot].tasks[number.index].isArriving = false
        note(.notice, "command failed", slot, ["reason": "\(failure.description)"])
        goOn(number.index, .fail(failure), slot)
    }
}

/// Endings.
extension Loop {
    /// The unit has served a task.
    mutating func respond(to place: RequestPlace) {
        if served.commands[place].readsInventory { noteInventoryRead(place.slot) }
        if served.commands[place].changesUnit { publishUnit(requests[place].unit) }
        if !exports[requests[place].unit].server.aborted.isEmpty { abortPreempted(requests[place].unit) }
        noteReservations(requests[place].unit)
        guard !keepReservations(for: place) else { return }
        answer(place)
    }

    /// Answers a task that its unit has served, unless it was aborted.
    mutating func answer(_ place: RequestPlace) {
        guard !sessions.iscsi[place.slot].tasks[Int(requests[place].taskNumber)].isAborted else {
            return endAborted(place)
        }
        respond(ending(of: place), to: place)
    }

    private mutating func respond(_ ending: Ending, to place: RequestPlace) {
        requests[place].measure.error = ErrorKind(ending, requests[place].mediumFailure)
        encode(ending, place)
        queueReply(place)
    }

    private func ending(of place: RequestPlace) -> Ending {
        Ending(
            status: served.commands[place].status, sense: served.commands[place].sense,
            transferBytes: served.commands[place].transferBytes)
    }

    /// The error that a task's failure counts as; nil if it has not failed.
    func errorKind(ofTask place: RequestPlace) -> ErrorKind? {
        ErrorKind(ending(of: place), requests[place].mediumFailure)
    }

    /// Encodes a response, or as much of it as there is room for.
    private mutating func encode(_ ending: Ending, _ place: RequestPlace) {
        let slot = place.slot
        let number = Int(requests[place].taskNumber)
        let dataOffset = requests[place].facts.bufferNeeds.dataOffset
        let count = max(0, requests[place].bytes.count - dataOffset)
        let data = count > 0 ? requests[place].bytes[dataOffset..<dataOffset + count] : .empty
        let isLast = data.withBytes(into: headers.bytes(of: place)) { data, area in
            sessions.iscsi[slot].session.encode(
                ending, of: TaskNumber(number), data: data, at: dataOffset, into: &area, &requests[place].reply)
        }
        requests[place].endsWithReply = isLast
        if isLast {
            removeTask(number, slot)
            if requests[place].reply.hasNoData { releasePayload(place) }
        } else {
            sessions.iscsi[slot].tasks[number].isInQueue = true
            sessions.iscsi[slot].tasks[number].next = .respond
        }
    }
}

/// Task management (11.5, 11.6).
extension Loop {
    /// Does a task management function. The tasks' operations under way end first.
    ///
    /// - Returns: false while that is so.
    mutating func manage(_ management: TaskManagement, _ slot: ConnectionSlot) -> Bool {
        guard sessions.iscsi[slot].managed == nil else { return false }
        note(.info, "task management", slot, ["function": "\(management.function)"])
        let (unit, isPresent) = sessions.iscsi[slot].unit(management.logicalUnit)
        guard isPresent || !management.isForUnit else {
            sessions.iscsi[slot].session.managed(.logicalUnitDoesNotExist)
            say(slot)
            return true
        }
        sessions.iscsi[slot].managed = management.function
        // Those, too, that another initiator has ended, and whose data still come: their own asks for no more of them.
        abortTasks(slot) { session, number, _, _ in session.affects(management, number) }
        if management.resetsUnit {
            for other in sessions.iscsi[slot].units where !management.isForUnit || other.export == unit.export {
                reset(other.export, by: slot)
            }
        }
        switch management.function {
        case .clearTaskSet: clearTasksOfOthers(unit.export, slot)
        case .targetColdReset: endOtherSessions(slot)
        default: break
        }
        return finishManagement(slot)
    }

    /// A unit has one task set for all nexuses (TST of its Control mode page is 000b). CLEAR TASK SET ends what others
    /// have in it without a word, and the unit tells them (SAM-5, CLEAR TASK SET).
    private mutating func clearTasksOfOthers(_ unit: ExportNumber, _ slot: ConnectionSlot) {
        for other in usedSlots where other != slot && hasOpen(exports[unit].entry, other) {
            guard connections[other].frontEnd == .iscsi, connections[other].phase == .transmission,
                sessions.iscsi[other].tasks.contains(where: { isLive($0, of: unit) })
            else { continue }
            abortAllTasks(of: unit, other, as: .cleared)
            for known in sessions.iscsi[other].units where known.export == unit {
                exports[unit].server.noteCommandsCleared(of: known.nexus)
            }
        }
    }

    /// It is a unit's task, and nobody has ended it yet.
    private func isLive(_ task: TargetTask, of unit: ExportNumber) -> Bool {
        task.place.map { requests[$0].unit == unit && !task.isAborted && task.refusal == nil } ?? false
    }

    /// A cold reset ends all sessions of a target (11.5.1). Who has asked for it has its answer before that.
    private mutating func endOtherSessions(_ slot: ConnectionSlot) {
        let name = connections[slot].entry?.target?.name
        for other in usedSlots where other != slot && connections[other].frontEnd == .iscsi {
            guard connections[other].phase == .transmission, connections[other].entry?.target?.name == name
            else { continue }
            end(other, .stopped, "an initiator has reset its target")
        }
    }

    /// A reset ends the tasks of all sessions, and the unit tells them why (SAM-5 6.3.3). Those of others end without a
    /// word; the initiator that asked hears of its own when they have.
    private mutating func reset(_ unit: ExportNumber, by slot: ConnectionSlot) {
        exports[unit].server.reset()
        unlockTray(unit)
        for other in usedSlots where other != slot && hasOpen(exports[unit].entry, other) {
            guard connections[other].frontEnd == .iscsi, connections[other].phase == .transmission else { continue }
            abortAllTasks(of: unit, other, as: .reset)
        }
        noteReservations(unit)
    }

    /// Ends all tasks that a session has for a unit without its asking. Data that are on their way have to be taken all
    /// the same: tasks that they are for end like this.
    private mutating func abortAllTasks(of unit: ExportNumber, _ slot: ConnectionSlot, as ending: Ending) {
        for number in sessions.iscsi[slot].tasks.indices where sessions.iscsi[slot].tasks[number].isArriving {
            guard let place = sessions.iscsi[slot].tasks[number].place, requests[place].unit == unit else { continue }
            sessions.iscsi[slot].tasks[number].refusal = ending
        }
        abortTasks(slot) { _, _, task, itsUnit in itsUnit == unit && task.refusal == nil }
    }

    /// PREEMPT AND ABORT ends the tasks of the nexuses that it names (SPC-4 5.13.11.2.6).
    private mutating func abortPreempted(_ unit: ExportNumber) {
        for slot in usedSlots where connections[slot].frontEnd == .iscsi && hasOpen(exports[unit].entry, slot) {
            let aborted = exports[unit].server.aborted
            guard sessions.iscsi[slot].units.contains(where: { $0.export == unit && aborted.contains($0.nexus) })
            else { continue }
            abortAllTasks(of: unit, slot, as: .cleared)
        }
        exports[unit].server.aborted = []
    }

    /// Ends tasks of a session: at once, or when what is under way for them has come back.
    private mutating func abortTasks(
        _ slot: ConnectionSlot, _ isMeant: (borrowing Session, TaskNumber, TargetTask, ExportNumber) -> Bool
    ) {
        for number in sessions.iscsi[slot].tasks.indices {
            let task = sessions.iscsi[slot].tasks[number]
            guard let place = task.place, !task.isAborted,
                isMeant(sessions.iscsi[slot].session, TaskNumber(number), task, requests[place].unit)
            else { continue }
            if task.isWaiting || task.isArriving, !task.isInQueue {
                sessions.iscsi[slot].session.aborted(TaskNumber(number))
                drop(place)
            } else {
                sessions.iscsi[slot].tasks[number].isAborted = true
                sessions.iscsi[slot].abortsLeft += 1
                requests[place].isAbandoned = true
                hurryHeld(slot)
            }
        }
    }

    /// Nothing is under way any more for a task that was aborted.
    private mutating func endAborted(_ place: RequestPlace) {
        let slot = place.slot
        countAnswer(place, slot)
        sessions.iscsi[slot].session.aborted(TaskNumber(Int(requests[place].taskNumber)))
        drop(place)
        sessions.iscsi[slot].abortsLeft -= 1
        _ = finishManagement(slot)
    }

    private mutating func finishManagement(_ slot: ConnectionSlot) -> Bool {
        guard let function = sessions.iscsi[slot].managed, sessions.iscsi[slot].abortsLeft == 0 else { return false }
        sessions.iscsi[slot].managed = nil
        sessions.iscsi[slot].session.managed(.functionComplete)
        say(slot)
        if function == .targetColdReset { drain(slot, .stopped) }
        return true
    }
}

extension TaskManagement {
    /// It names a unit: LUN is not ignored (11.5.4).
    fileprivate var isForUnit: Bool {
        switch function {
        case .targetWarmReset, .targetColdReset, .abortTask: false
        default: true
        }
    }

    /// All tasks of the unit end, and what was reserved.
    fileprivate var resetsUnit: Bool {
        switch function {
        case .logicalUnitReset, .targetWarmReset, .targetColdReset: true
        default: false
        }
    }
}

extension Ending {
    /// Another initiator has ended the command while its data came (SPC-5, COMMANDS CLEARED BY ANOTHER INITIATOR).
    fileprivate static var cleared: Ending {
        Ending(
            status: .checkCondition, sense: SenseData(.unitAttention, AdditionalSenseCode(0x2F, 0x00), format: .fixed))
    }

    /// The unit was reset while the command's data came (SPC-5, BUS DEVICE RESET FUNCTION OCCURRED).
    fileprivate static var reset: Ending {
        Ending(
            status: .checkCondition, sense: SenseData(.unitAttention, AdditionalSenseCode(0x29, 0x03), format: .fixed))
    }
}
