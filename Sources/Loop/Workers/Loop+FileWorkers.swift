// What a loop leaves to its workers (FileWorkers), because the call may wait for the file.

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

    /// Time has passed: what waits behind a call that lasts too long is done in other ways.
    mutating func watched() {
        isWatching = false
        workers.checkProgress()
        while let job = workers.takeBack() { takeBack(job) }
    }

    /// Leaves a write to the worker, if it is one of those that are better done there than by the ring.
    mutating func leaveToWriter(_ place: RequestPlace, pipe: Int?) -> Bool {
        let export = requests[place].unit
        guard pipe != nil || isSmall(place, export), workers.mayWrite() else { return false }
        var job = FileJob(
            pipe == nil ? .write : .pipedWrite, exports[export].backend, export: export,
            token: Token(.backend, place), task: requests[place].task)
        if let pipe { job.pipe = pipes.lend(pipe) }
        workers.write(job, mayLook: shared.hasProcessorForWorker)
        return true
    }

    private mutating func isSmall(_ place: RequestPlace, _ export: ExportNumber) -> Bool {
        guard let count = requests[place].task.bytesToWrite, count <= WorkerWrites.largestBytes,
            exports[export].pageCache != nil
        else { return false }
        return exports[export].smallWrites.mayGoToWorker()
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
        if job.kind == .write {
            exports[export].smallWrites.learn(nanoseconds: job.nanoseconds)
        } else {
            exports[export].largeWrites.learn(nanoseconds: job.nanoseconds)
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
            let (backend, export, userData) = (job.backend, job.export, job.token.userData)
            if job.kind == .pipedWrite {
                takePipeBack(from: job, place)
                leavePipe(place)
            }
            let progress = backend.start(&requests[place].task, ring: &ring, userData: userData)
            resume(place, progress, export)
        case .lookUp:
            if let refused = workers.lookUp(job) { giveUpLookUp(refused) }
        }
    }
}
