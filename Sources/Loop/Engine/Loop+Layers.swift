// Requests of exports with layers (BlockStack): what stands between the drive and its backend decides what is done.

import Backends
import Blocks
import Export
import IOUring

/// What a loop keeps of a request on its way through layers.
struct LayeredRequest: ~Copyable {
    var task = BlockTask()
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
    /// - Returns: what the request wants next; nil when something has to be waited for.
    mutating func beginInLayers(_ asked: BackendRequest, _ place: RequestPlace, _ export: ExportNumber) -> ServedRequest
        .Step?
    {
        // A place keeps its memory for the next request.
        if !layered.contains(place) { layered.insert(LayeredRequest(), at: place) }
        return follow(exports[export].blocks.begin(asked, &layered[place].task), place, export)
    }

    /// What a layer has asked of the backend has ended.
    mutating func resumeInLayers(_ outcome: BlockOutcome, _ place: RequestPlace, _ export: ExportNumber)
        -> ServedRequest.Step?
    {
        follow(exports[export].blocks.resume(outcome, &layered[place].task), place, export)
    }

    /// The time that a layer lets pass is over.
    mutating func delayEnded(_ place: RequestPlace) {
        goOn(place, with: resumeInLayers(.done, place, requests[place].unit))
    }

    /// Does what the layers want until something has to be waited for, or the drive gets its answer.
    private mutating func follow(_ first: BlockStep, _ place: RequestPlace, _ export: ExportNumber) -> ServedRequest
        .Step?
    {
        var next = first
        while true {
            switch next {
            case .io(let request):
                requests[place].ask(request)
                guard let outcome = outcome(of: startAtBackend(place, export), place) else { return nil }
                next = exports[export].blocks.resume(outcome, &layered[place].task)
            case .wait(let milliseconds):
                layered[place].wait(Int64(milliseconds), ring: &ring, userData: Token(.delay, place).userData)
                return nil
            case .finished:
                return step(place, export) { $0.resume(.done, on: &$1, buffer: &$2) }
            case .failed(let failure, let bytes):
                return step(place, export) { $0.resume(.failed(failure, afterBytes: bytes), on: &$1, buffer: &$2) }
            }
        }
    }
}
