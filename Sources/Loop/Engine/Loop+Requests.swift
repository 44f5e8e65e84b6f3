// Requests: from their arrival through the drive and its medium to a reply.

import Backends
import Blocks
import Counters
import IOUring
import Units

extension Loop {
    /// Finds a place for the data of a request that has arrived, and begins it. A payload that is still to come takes
    /// its place when it comes: what a client never sends takes no memory that others could have.
    ///
    /// - Returns: false when there is no place for them now; nothing has happened then.
    mutating func prepare(_ place: RequestPlace, payloadBytes: Int) -> Bool {
        let slot = place.slot
        let need = need(of: place)
        let offer = offer(of: requests[place].unit)
        guard payloadBytes > 0 || placeData(of: place, need, offer) else {
            forget(place)
            return false
        }
        if connections[slot].receiving == .exactly || payloadBytes > 0 {
            let expectsPipe = PayloadTable.expectsPipe(
                need, connections[slot].crossing, offer, forced: forcedPayload)
            chooseReceiving(expectsPipe: expectsPipe, slot)
        }
        if payloadBytes > 0 {
            connections[slot].payloadRequest = place
        } else {
            start(place)
        }
        return true
    }

    /// Whether zeroes can be stored faster than they can be written, and be allocated or not.
    func zeroesFast(_ export: ExportNumber, allocated: Bool) -> Bool {
        guard !exports[export].hasLayers else { return false }
        let backend = exports[export].backend
        return allocated ? backend.zeroesFastAllocated : backend.zeroesFastByDeallocating
    }
}

/// The way through the drive.
extension Loop {
    /// Begins a request whose data are complete.
    mutating func start(_ place: RequestPlace) {
        let slot = place.slot
        arrive(place, slot)
        if requests[place].facts.writes {
            noteDeallocation(place, slot)
            guard enterGate(place, slot) else {
                leavePipe(place)
                park(place)
                hasNewlyParked = true
                return
            }
        }
        begin(place)
    }

    /// A request counts as begun from now on, whether or not it has to wait.
    mutating func arrive(_ place: RequestPlace, _ slot: ConnectionSlot) {
        connections[slot].busyRequests += 1
        requestsUnderWay += 1
        requests[place].mark = connections[slot].currentMark
        countArrival(place, slot)
    }

    /// A request that writes enters its drive's gate; others pass by it.
    ///
    /// - Returns: false when the request has to be parked.
    mutating func enterGate(_ place: RequestPlace, _ slot: ConnectionSlot) -> Bool {
        guard requests[place].facts.writes else { return true }
        precondition(requests[place].gate == .outside || requests[place].gate == .claiming, "it is in the gate already")
        let export = requests[place].unit
        let granularity = UInt64(exports[export].backend.granularityBytes)
        guard served.needsToBeAlone(place, requests[place].facts.machine, granularityBytes: granularity) else {
            guard mayEnter(exports[export].gate.enterShared(loop: index)) else { return false }
            requests[place].gate = .shared
            return true
        }
        var hasClaim = requests[place].gate == .claiming
        let isAlone = mayEnter(exports[export].gate.enterAlone(loop: index, hasClaim: &hasClaim))
        if hasClaim { requests[place].gate = isAlone ? .alone : .claiming }
        return isAlone
    }

    private mutating func mayEnter(_ entry: WriteGate.Entry) -> Bool {
        switch entry {
        case .entered(let wake):
            self.wake(wake)
            return true
        case .refused(let wake):
            self.wake(wake)
            return false
        }
    }

    mutating func begin(_ place: RequestPlace) {
        let export = requests[place].unit
        requests[place].hasBegun = true
        if exports[export].isTimed { exports[export].served.drive.noteTime(clock.turnStart) }
        let first = step(.begin, place, export)
        guard !exports[export].isTimed || !holds(first, place, export) else { return }
        follow(first, place)
    }

    /// A step of a request has come so far.
    mutating func resume(_ place: RequestPlace, _ progress: BackendProgress, _ export: ExportNumber) {
        goOn(place, with: step(after: progress, place, export))
    }

    /// Does what a request wants next, if it is not waiting for the medium.
    mutating func goOn(_ place: RequestPlace, with step: UnitStep?) {
        if let step { follow(step, place) }
        finishIfIdle(place.slot)
    }

    /// Does what the export wants until the medium has to be waited for, or the request is served.
    mutating func follow(_ first: UnitStep, _ place: RequestPlace) {
        let export = requests[place].unit
        let blockSize = exports[export].served.blockSize
        var next: UnitStep? = first
        var commands = 0
        while let step = next {
            let asked: BackendRequest
            switch step {
            case .finished:
                finish(place)
                return
            case .perform(let request, let bufferOffset):
                asked = BackendRequest(request, blockSize: blockSize, dataOffset: UInt64(bufferOffset))
            case .performZeroes(let lba, let count, let mayDeallocate):
                asked = BackendRequest(
                    .writeZeroes(mayDeallocate: mayDeallocate), offset: blockSize.bytes(ofBlocks: lba),
                    length: blockSize.bytes(ofBlocks: UInt64(count)))
            case .lbaStatus(let lba, let limit):
                next = answerLBAStatus(lba, limit, place)
                continue
            case .commandEnded:
                commands += 1
                next = nextCommand(of: place, after: commands)
                continue
            }
            if exports[export].hasLayers {
                next = beginInLayers(asked, place, export)
                continue
            }
            requests[place].ask(asked)
            next = self.step(after: carryOut(place), place, export)
        }
    }

    /// The export's next step after the backend's last one; nil while that is still to come.
    private mutating func step(
        after progress: BackendProgress, _ place: RequestPlace, _ export: ExportNumber
    ) -> UnitStep? {
        guard let outcome = outcome(of: progress, place) else { return nil }
        guard !exports[export].hasLayers else { return resumeInLayers(outcome, place, export) }
        return step(.resume(outcome), place, export)
    }

    /// How the backend's last step has ended; nil while that is still to come.
    mutating func outcome(of progress: BackendProgress, _ place: RequestPlace) -> BlockOutcome? {
        switch progress {
        case .pending: return nil
        case .finished: return .done
        case .failed(let code):
            if !requests[place].task.wasTooSlow { noteBlockFailure(code, place) }
            let failure = BlockFailure(errno: code, of: requests[place].task.operation)
            requests[place].mediumFailure = failure
            return .failed(failure, afterBytes: requests[place].task.doneBytes)
        }
    }

    /// A step of a request's way through its drive.
    mutating func step(_ event: ServingEvent, _ place: RequestPlace, _ export: ExportNumber) -> UnitStep {
        let bytes = requests[place].bytes
        return bytes.withMutableBytes { buffer in
            switch requests[place].facts.machine {
            case .request:
                served.advance(request: place, event, on: &exports[export].served, buffer: &buffer)
            case .command: exports[export].advance(command: place, event, in: &served, buffer: &buffer)
            }
        }
    }

    /// The request has been served, or has failed: its reply goes to the queue.
    mutating func finish(_ place: RequestPlace) {
        let slot = place.slot
        if requests[place].facts.writes {
            leaveGate(place, slot)
            noteDeallocation(place, slot)
        }
        guard !exports[requests[place].unit].isTimed || !keepState(for: place) else { return }
        endService(place)
    }

    /// All that a request has changed is where it lasts.
    mutating func endService(_ place: RequestPlace) {
        let slot = place.slot
        connections[slot].busyRequests -= 1
        requestsUnderWay -= 1
        if requests[place].mark != connections[slot].currentMark { finishMarked(slot) }
        if requests[place].isInterrupted { return resumeReply(place) }
        reply(to: place)
    }

    /// A request that was in the gate, in whatever way, is done.
    mutating func leaveGate(_ place: RequestPlace, _ slot: ConnectionSlot) {
        let gate = exports[requests[place].unit].gate
        switch requests[place].gate {
        case .outside: return
        case .shared: wake(gate.leaveShared(loop: index))
        case .claiming, .alone: wake(gate.leaveAlone(loop: index))
        }
        requests[place].gate = .outside
    }
}

/// Counts and messages of requests.
extension Loop {
    /// A request has arrived completely and begins.
    private mutating func countArrival(_ place: RequestPlace, _ slot: ConnectionSlot) {
        let export = requests[place].unit
        requests[place].measure.arrival = clock.turnStart
        if requests[place].measure.kind == .flush {
            requests[place].measure.writtenBefore = exports[export].entry.counters.writtenBytes
        }
        let cells = exports[export].cells
        cells.inFlight.add()
        if cells.inFlight.value > cells.highestInFlight.value { cells.highestInFlight.set(cells.inFlight.value) }
    }

    /// A request has its answer. One that never began, because it is refused, was never in flight either.
    mutating func countAnswer(_ place: RequestPlace, _ slot: ConnectionSlot) {
        let measure = requests[place].measure
        let bytes = requests[place].facts.lengthBytes
        let cells = exports[requests[place].unit].cells
        if measure.arrival != 0 { cells.inFlight.subtract(1) }
        if measure.error == nil {
            switch measure.kind {
            case .write, .writeZeroes:
                if !requests[place].facts.forcesUnitAccess { cells.written.add(bytes) }
            case .flush:
                // One that began later may have ended earlier.
                if measure.writtenBefore > cells.stable.value { cells.stable.set(measure.writtenBefore) }
            default:
                break
            }
        } else if exports[requests[place].unit].isTimed {
            noteFault(place, slot)
        }
        // Of a connection that is lost what was left to do is given up, which is no error, and nobody reads the answer.
        guard connections[slot].phase != .closing else { return }
        guard !measure.isCounted else {
            if let error = measure.error { cells.errors(measure.kind, error).add() }
            return
        }
        requests[place].measure.isCounted = true
        clock.answer(measure, bytes: bytes, cells)
    }

    /// A request that may deallocate begins, or ends: extents that were known to be stored may not be any more.
    private func noteDeallocation(_ place: RequestPlace, _ slot: ConnectionSlot) {
        switch requests[place].measure.kind {
        case .trim, .writeZeroes:
            _ = exports[requests[place].unit].entry.deallocations.add(1, ordering: .acquiringAndReleasing)
        default: break
        }
    }

    /// A request has failed, perhaps by a fault that somebody has given the drive.
    private mutating func noteFault(_ place: RequestPlace, _ slot: ConnectionSlot) {
        guard let failure = exports[requests[place].unit].served.takeFailure() else { return }
        note(
            .warning, "the drive failed a command", slot,
            Dictionary(uniqueKeysWithValues: failure.map { ($0.name, "\($0.value)") }))
    }

    /// The medium has failed for a request.
    private func noteBlockFailure(_ code: Int32, _ place: RequestPlace) {
        let operation = requests[place].task.operation
        // A flush has no place of its own: it may be that of a write.
        let offset = operation == .flush ? requests[place].facts.offsetBytes : requests[place].task.offset
        let isRecording = requests[place].file == BackendRequest.recordingFile
        note(
            .error, isRecording ? "the recording's file failed" : "the medium failed", place.slot,
            [
                "command": "\(requests[place].measure.kind.label)", "operation": "\(operation.inWords)",
                "offset": .stringConvertible(offset), "reason": "\(errorText(code))",
            ])
    }
}

extension BackendOperation {
    /// One word for it.
    fileprivate var inWords: StaticString {
        switch self {
        case .read: "read"
        case .write: "write"
        case .writeZeroes: "zeroes"
        case .flush: "flush"
        case .discard: "discard"
        case .prefetch: "prefetch"
        case .lookUp: "look-up"
        }
    }
}
