// Requests of exports with layers (BlockStack): the layers between the drive and its backend decide what is done.

import Backends
import Blocks
import Export
import IOUring
import Units

/// A loop's state of a request on its way through layers.
struct LayeredRequest: ~Copyable {
    /// Where it is.
    enum Stage {
        /// In no layer.
        case outside
        /// In one, with something under way, or time passing.
        case inside
        /// In one, until another request of its unit has come further.
        case waitingForOthers
        /// Above all of them: its drive takes its time before it asks for anything.
        case held(UnitStep)
    }

    var task = BlockTask()
    var stage = Stage.outside
    var isHeld: Bool { if case .held = stage { true } else { false } }
    var isOutside: Bool { if case .outside = stage { true } else { false } }
    var isWaitingForOthers: Bool { if case .waitingForOthers = stage { true } else { false } }
    /// How many bytes it is looking up; 0: it does something else.
    var lookUpBytes: UInt64 = 0
    /// How long a layer waits.
    private let delay = Duration(milliseconds: 0)

    /// Lets time pass, in the ring.
    mutating func wait(_ milliseconds: Int64, ring: inout Ring, userData: UInt64) {
        delay.set(milliseconds: milliseconds)
        ring.timeout(delay, userData: userData)
    }
}

extension Loop {
    /// Begins a request of the drive in the layers of its export.
    ///
    /// - Returns: what the request wants next; nil when something has to be waited for, or when it was answered.
    mutating func beginInLayers(_ asked: BackendRequest, _ place: RequestPlace, _ export: ExportNumber) -> UnitStep? {
        // A place keeps its memory for the next request.
        if !layered.contains(place) { layered.insert(LayeredRequest(), at: place) }
        layered[place].lookUpBytes = asked.operation == .lookUp ? asked.length : 0
        layered[place].task.writer = BlockWriter(
            client: connections[place.slot].number, nanoseconds: clock.turnStart)
        let step = requests[place].bytes.withMutableBytes {
            exports[export].blocks.begin(asked, &layered[place].task, &$0)
        }
        return take(step, place, export)
    }

    /// A layer's request to the backend has ended.
    mutating func resumeInLayers(_ outcome: BlockOutcome, _ place: RequestPlace, _ export: ExportNumber)
        -> UnitStep?
    {
        take(resume(outcome, place, export), place, export)
    }

    /// The backend has said what a layer has asked about.
    mutating func resumeInLayers(_ extent: BackendExtent, _ place: RequestPlace, _ export: ExportNumber)
        -> UnitStep?
    {
        take(resume(extent, place, export), place, export)
    }

    private mutating func resume(_ outcome: BlockOutcome, _ place: RequestPlace, _ export: ExportNumber) -> BlockStep {
        requests[place].bytes.withMutableBytes {
            exports[export].blocks.resume(outcome, &layered[place].task, &$0)
        }
    }

    private mutating func resume(_ extent: BackendExtent, _ place: RequestPlace, _ export: ExportNumber) -> BlockStep {
        requests[place].bytes.withMutableBytes {
            exports[export].blocks.resume(extent, &layered[place].task, &$0)
        }
    }

    /// Holds a request back that a slow drive takes its time for, before it asks for the medium.
    ///
    /// - Returns: whether it does.
    mutating func holds(_ step: UnitStep, _ place: RequestPlace, _ export: ExportNumber) -> Bool {
        let milliseconds = exports[export].served.drive.delayMilliseconds
        guard milliseconds != 0 else { return false }
        if !layered.contains(place) { layered.insert(LayeredRequest(), at: place) }
        layered[place].stage = .held(step)
        layered[place].wait(Int64(milliseconds), ring: &ring, userData: Token(.delay, place).userData)
        return true
    }

    /// A slow drive does at once what others would have to wait behind.
    mutating func hurryHeld(of export: ExportNumber) {
        guard exports[export].isTimed else { return }
        for slot in usedSlots where connections[slot].busyRequests > 0 && hasOpen(exports[export].entry, slot) {
            hurryHeld(slot)
        }
    }

    /// The same of a connection: what nobody waits for any more.
    mutating func hurryHeld(_ slot: ConnectionSlot) {
        guard connections[slot].busyRequests > 0 else { return }
        for place in slot.places where layered.contains(place) && layered[place].isHeld {
            ring.cancel(Token(.delay, place).userData, userData: Token(.cancelled).userData)
        }
    }

    /// The time that a drive or a layer lets pass is over.
    mutating func delayEnded(_ place: RequestPlace) {
        if case .held(let step) = layered[place].stage {
            layered[place].stage = .outside
            return goOn(place, with: step)
        }
        goOn(place, with: resumeInLayers(.done, place, requests[place].unit))
    }

    /// Does what the layers want, and lets those go on that have waited for it: behind this request's answer, but
    /// before its next command and before any other request begins, so that nobody overtakes them.
    ///
    /// - Returns: what the request wants next; nil when it has to wait, or was answered.
    private mutating func take(_ step: BlockStep, _ place: RequestPlace, _ export: ExportNumber) -> UnitStep? {
        layered[place].stage = .inside
        var next = follow(step, place, export)
        if !exports[export].blocks.hasPower { noteWithoutPower(export) }
        if next == .finished {
            // Its connection is now to be sent to, and stays until then; so does the export.
            finish(place)
            next = nil
        }
        wakeOthers(export)
        return next
    }

    /// Does what the layers want until something has to be waited for, or the drive gets its answer.
    private mutating func follow(_ first: BlockStep, _ place: RequestPlace, _ export: ExportNumber) -> UnitStep? {
        var next = first
        while true {
            switch next {
            case .io(let request) where request.operation == .lookUp:
                let found = lookUpAtBackend(request, place, export, maximumExtents: 1)
                guard let found else { return nil }
                next = resume(found, place, export)
            case .io(let request):
                requests[place].ask(request, layers: exports[export].blocks.memory(of: request.dataPlace))
                let progress =
                    isInPageCache(request, place)
                    ? .finished : leaveToWriter(place, pipe: nil) ? .pending : startAtBackend(place, export)
                guard let outcome = outcome(of: progress, place) else { return nil }
                next = resume(outcome, place, export)
            case .wait(let milliseconds):
                layered[place].wait(Int64(milliseconds), ring: &ring, userData: Token(.delay, place).userData)
                return nil
            case .waitForOthers where connections[place.slot].phase == .closing && waitsForPower(place, export):
                // It would wait for ever, and nobody hears of its end.
                next = .failed(.unrecovered, afterBytes: 0)
            case .waitForOthers:
                layered[place].stage = .waitingForOthers
                exports[export].waitingForOthers.append(place, &requests)
                return nil
            case .finished, .failed, .found:
                layered[place].stage = .outside
                if let damage = exports[export].blocks.takeDamage() {
                    note(.error, "image is damaged", place.slot, ["reason": "\(damage)"])
                }
                return answer(next, place, export)
            }
        }
    }

    /// A request waits for a drive without power. One that waits in a layer of the image comes back to the cache first,
    /// with what it has claimed there given back.
    func waitsForPower(_ place: RequestPlace, _ export: ExportNumber) -> Bool {
        !exports[export].blocks.hasPower && exports[export].blocks.waitsAboveImage(layered[place].task)
    }

    /// Tells the drive how its request has ended in the layers.
    private mutating func answer(_ last: BlockStep, _ place: RequestPlace, _ export: ExportNumber) -> UnitStep {
        let limitBytes = layered[place].lookUpBytes
        switch last {
        case .found(let extent):
            return resumeLBAStatus(extent, limitBytes, place, export)
        case .failed where limitBytes > 0:
            // Without knowing better, all of it is stored; a READ meets the failure.
            return resumeLBAStatus(
                BackendExtent(isMapped: true, lengthBytes: limitBytes), limitBytes, place, export)
        case .failed(let failure, let bytes):
            requests[place].mediumFailure = failure
            return step(.resume(.failed(failure, afterBytes: bytes)), place, export)
        case .finished:
            return step(.resume(.done), place, export)
        case .io, .wait, .waitForOthers:
            preconditionFailure("the request is still in its layers")
        }
    }

    /// Resumes the requests that wait for others in layers, in the order of their coming, if a layer has said that some
    /// may go on; and again, if what they did lets others go on.
    mutating func wakeOthers(_ export: ExportNumber) {
        guard !exports[export].isWaking else { return }
        exports[export].isWaking = true
        while exports[export].blocks.takeWake() {
            var woken = exports[export].waitingForOthers
            exports[export].waitingForOthers = RequestList()
            while let place = woken.popFirst(&requests) {
                goOn(place, with: resumeInLayers(.done, place, export))
            }
        }
        exports[export].isWaking = false
    }
}
