// Work that a loop leaves to its workers (FileWorkers), because the call may wait for the file.

import Backends
import Export
import IOUring

extension Loop {
    /// A worker that has been in one call for longer than this, and at most twice as long, is stuck.
    static let patienceMilliseconds: Int64 = 20

    /// Keeps a read of the workers' bell in the ring.
    mutating func awaitBell() {
        bellCount.await(workers.bell.arrivals, ring: &ring, userData: Token(.bell).userData)
    }

    /// While workers have something to do, they are looked after.
    mutating func watchWorkers() {
        guard !isWatching, workers.jobCount > 0 else { return }
        isWatching = true
        workers.notePositions()
        ring.timeout(patience, userData: Token(.watch).userData)
    }

    /// Time has passed: jobs behind a call that lasts too long are done in other ways.
    mutating func watched() {
        isWatching = false
        workers.checkProgress()
        while let job = workers.takeBack() { takeBack(job) }
    }

    /// Leaves a write to the page cache to a worker. The ring would have a thread do it, too, and its threads do the
    /// writes of one file one after the other: but also those of different files whose numbers happen to look alike, so
    /// that one file system that does not answer would stop some of the others (docs/loop-system-calls.md).
    mutating func leaveToWriter(_ place: RequestPlace, pipe: Int?) -> Bool {
        let export = requests[place].unit
        let backend = exports[export].backend(ofFile: requests[place].file)
        guard requests[place].task.bytesToWrite != nil, backend.pageCache != nil, workers.mayWrite(export)
        else { return false }
        var job = FileJob(
            pipe == nil ? .write : .pipedWrite, backend, export: export, token: Token(.backend, place),
            task: requests[place].task)
        if let pipe { job.pipe = pipes.lend(pipe) }
        workers.write(job, mayLook: shared.hasProcessorForWorker)
        return true
    }

    /// Goes on with all that the workers have done.
    mutating func takeDoneJobs() {
        while let job = workers.takeDone() {
            if job.kind == .lookUp { found(job) } else { wrote(job) }
        }
        watchWorkers()
    }

    private mutating func wrote(_ job: consuming FileJob) {
        let place = job.token.place
        let (export, progress) = (job.export, job.progress)
        requests[place].task = job.task
        if job.kind == .pipedWrite {
            takePipeBack(from: job, place)
            releasePipe(place)
        }
        resume(place, progress, export)
    }

    private mutating func takePipeBack(from job: consuming FileJob, _ place: RequestPlace) {
        guard case .piped(let number, _) = requests[place].payload, let pipe = job.pipe.take() else {
            preconditionFailure("a write from a pipe has one")
        }
        pipes.takeBack(pipe, number)
    }

    private mutating func takeBack(_ job: consuming FileJob) {
        let place = job.token.place
        switch job.kind {
        case .write, .pipedWrite:
            let export = job.export
            if job.kind == .pipedWrite { takePipeBack(from: job, place) }
            resume(place, carryOut(place), export)
        case .lookUp:
            if let refused = workers.lookUp(job) { giveUpLookUp(refused) }
        }
    }
}
