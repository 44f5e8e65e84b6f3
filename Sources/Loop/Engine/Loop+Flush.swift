// Flushes: of each drive one at a time is under way on a loop, for all requests that had come when it began.

import Backends
import IOUring

extension Loop {
    /// A request wants what was written to be stable: a FLUSH, or a WRITE whose drive has no write cache.
    mutating func flush(_ place: RequestPlace, _ export: ExportNumber) -> BackendProgress {
        guard exports[export].flushing.isEmpty else {
            exports[export].waitingForFlush.append(place, &requests)
            return .pending
        }
        let progress = beginFlush(export)
        if progress == .pending { exports[export].flushing.append(place, &requests) }
        return progress
    }

    private mutating func beginFlush(_ export: ExportNumber) -> BackendProgress {
        exports[export].flush.begin(
            ring: &ring, userData: Token(.flush, export).userData)
    }

    /// The flush under way has ended.
    mutating func flushed(_ result: Int32, export: ExportNumber) {
        precondition(!exports[export].flushing.isEmpty, "nobody waits for this flush")
        let end = exports[export].flush.end(result)
        if end.isNews, let failure = end.failure { exports[export].entry.logFlushFailure(failure, logger) }
        let done = exports[export].flushing
        let next = exports[export].waitingForFlush
        exports[export].flushing = RequestList()
        exports[export].waitingForFlush = RequestList()
        // The next one begins first: with its last answer, the loop may have no use for the export any more.
        let progress = next.isEmpty ? .pending : beginFlush(export)
        if progress == .pending { exports[export].flushing = next }
        answer(done, end.failure.map(BackendProgress.failed) ?? .finished, export)
        if progress != .pending { answer(next, progress, export) }
    }

    private mutating func answer(_ list: RequestList, _ progress: BackendProgress, _ export: ExportNumber) {
        var waiting = list
        while let place = waiting.popFirst(&requests) { resume(place, progress, export) }
    }
}
