// A thread beside a loop, for calls that wait for a file as long as its file system likes: pwrite(2), splice(2) into a
// file, lseek(2).

import Backends
import Blocks
import Glibc
import IOUring
import Synchronization
import Threads

/// Something that a loop leaves to a ``FileWorker``, and how it went.
struct FileJob: ~Copyable {
    enum Kind {
        /// Write the task's buffer.
        case write
        /// Write what is in the pipe.
        case pipedWrite
        /// Find out what is stored from the task's offset on.
        case lookUp
    }

    let kind: Kind
    let backend: Backend
    /// The export's number.
    let export: ExportNumber
    /// The owner's token: the request's, or, if no request waits, the connection's (``Operation/lookUp``).
    let token: Token
    var task: BackendTask
    /// Lent by the request that is written from it.
    var pipe: PagePipe?
    /// The limits of a look-up: so many bytes, and at most so many extents.
    var limitBytes: UInt64 = 0
    /// In whole logical blocks of the unit.
    var blockSize = BlockSize.smallest
    var maximumExtents = 0
    /// The count of the export's deallocations when the job began (`ExportEntry.deallocations`).
    var deallocations = 0
    /// How a write has ended.
    var progress = BackendProgress.pending
    /// How long that has taken.
    var nanoseconds: UInt64 = 0
    /// How many extents were found (``FileJobQueue/extent(_:of:)``).
    var extentCount = 0
    /// Its worker's number, and its number among all that this has had.
    var worker = 0
    var position = 0

    init(_ kind: Kind, _ backend: Backend, export: ExportNumber, token: Token, task: BackendTask) {
        self.kind = kind
        self.backend = backend
        self.export = export
        self.token = token
        self.task = task
    }
}

/// Jobs on their way from a loop to a worker and back (``JobRing``), and how each wakes the other. A place is the
/// worker's from the moment in which the worker takes it until the job is done; before that the loop can take it back.
struct FileJobQueue: Sendable {
    /// The most extents that one job finds.
    static let maximumExtents = 16
    /// So many jobs may be done before a loop that sleeps is woken for them, if more are waiting.
    private static let jobsPerRing = 8
    /// When they took longer than this together, it is woken in any case.
    private static let longNanoseconds: UInt64 = 30_000

    let jobs: JobRing
    /// The findings of jobs: an extent's length, and whether it is stored. The owner of a job owns its findings.
    private let extents: SharedCells<UInt64>
    private let counts: SharedCells<Int>
    private let flags: SharedCells<Bool>
    private let wakeUps: SharedSemaphore
    private let bell: LoopBell
    private let clock: MonotonicClock

    init(_ bell: LoopBell, _ clock: MonotonicClock) throws(RingError) {
        jobs = try JobRing()
        extents = try SharedCells(
            repeating: 0, count: JobRing.capacity * Self.maximumExtents, areApart: false)
        counts = try SharedCells(repeating: 0, count: 2, areApart: true)
        flags = try SharedCells(repeating: false, count: 3, areApart: true)
        wakeUps = try SharedSemaphore()
        self.bell = bell
        self.clock = clock
    }

    /// The worker has ended.
    func unmap() {
        jobs.unmap()
        extents.unmap()
        counts.unmap()
        flags.unmap()
        wakeUps.unmap()
    }

    /// How many jobs the loop has given.
    private var given: Int { counts[0].load(ordering: .acquiring) }
    /// The worker sleeps, or is about to; it is to end; there is a processor that nobody else needs.
    private static let sleeps = 0
    private static let isEnding = 1
    private static let mayLook = 2

    /// For the loop: how many jobs the worker is done with, or has found withdrawn.
    var passedCount: Int { counts[1].load(ordering: .acquiring) }

    /// For the loop: so many jobs are there now. `mayLook`: there is a processor to look for more of them.
    func publish(_ count: Int, mayLook looks: Bool) {
        if flags[Self.mayLook].load(ordering: .relaxed) != looks {
            flags[Self.mayLook].store(looks, ordering: .relaxed)
        }
        counts[0].store(count, ordering: .sequentiallyConsistent)
        wake()
    }

    /// For the loop: the worker ends as soon as nothing keeps it.
    func end() {
        flags[Self.isEnding].store(true, ordering: .sequentiallyConsistent)
        wake()
    }

    private func wake() {
        guard flags[Self.sleeps].load(ordering: .sequentiallyConsistent),
            flags[Self.sleeps].exchange(false, ordering: .sequentiallyConsistent)
        else { return }
        wakeUps.post()
    }

    /// For the loop: what a job that is done has found, until another job has its place.
    func extent(_ number: Int, of job: borrowing FileJob) -> BackendExtent {
        precondition(number >= 0 && number < job.extentCount, "the job has found less")
        let word = extents[Self.extentsStart(job.position) + number].load(ordering: .relaxed)
        return BackendExtent(isMapped: word & 1 != 0, lengthBytes: word >> 1)
    }

    private static func extentsStart(_ position: Int) -> Int { position % JobRing.capacity * maximumExtents }

    /// The worker's work until it is told to end.
    func work() {
        var position = 0
        var (unannounced, nanoseconds) = (0, UInt64(0))
        var polling = BusyPolling()
        while true {
            if !hasJob(at: position) {
                if unannounced > 0 { bell.ring() }
                (unannounced, nanoseconds) = (0, 0)
                let start = clock.now()
                if polling.expectsSoon { lookForJob(position, since: start) }
                guard awaitJob(position) else { return }
                polling.learn(nanoseconds: clock.now() &- start)
            }
            let isTaken = jobs.take(position)
            if isTaken {
                nanoseconds += perform(position)
                unannounced += 1
            }
            pass(position, isDone: isTaken)
            position += 1
            if nanoseconds > Self.longNanoseconds || unannounced >= Self.jobsPerRing {
                bell.ring()
                (unannounced, nanoseconds) = (0, 0)
            }
        }
    }

    /// Whether the loop has given so many jobs.
    func hasJob(at position: Int) -> Bool { position != given }

    /// For the worker: leaves a job behind it. One that is done is the loop's from here on.
    func pass(_ position: Int, isDone: Bool) {
        if isDone { jobs.finish(position) }
        counts[1].store(position + 1, ordering: .releasing)
    }

    /// Looks for a job for a while, as the loop does (``BusyPolling``), as long as there is a processor for that.
    private func lookForJob(_ position: Int, since start: UInt64) {
        // sched_yield(2) in between would give the processor away for milliseconds where others work.
        while !hasJob(at: position) && flags[Self.mayLook].load(ordering: .relaxed)
            && clock.now() &- start < BusyPolling.limitNanoseconds
        {}
    }

    /// - Returns: false when there will be none.
    private func awaitJob(_ position: Int) -> Bool {
        let hasNone = { position == counts[0].load(ordering: .sequentiallyConsistent) }
        let mayGoOn = { !flags[Self.isEnding].load(ordering: .sequentiallyConsistent) }
        while hasNone() {
            guard mayGoOn() else { return false }
            flags[Self.sleeps].store(true, ordering: .sequentiallyConsistent)
            // A loop that gives a job in between finds the worker asleep, and the semaphore remembers it.
            if hasNone() && mayGoOn() { wakeUps.wait() }
            flags[Self.sleeps].store(false, ordering: .sequentiallyConsistent)
        }
        return true
    }

    /// For the worker: does what a job is about.
    ///
    /// - Returns: how long that has taken, in nanoseconds.
    @discardableResult
    func perform(_ position: Int) -> UInt64 {
        let start = clock.now()
        jobs.work(at: position) { job in
            switch job.kind {
            case .write, .pipedWrite: write(&job)
            case .lookUp: lookUp(&job, position, since: start)
            }
        }
        return clock.now() &- start
    }

    private func write(_ job: inout FileJob) {
        guard let cache = job.backend.pageCache else {
            preconditionFailure("only writes to a page cache are left to workers")
        }
        guard job.kind == .pipedWrite else {
            job.progress = cache.writeNow(&job.task)
            return
        }
        guard job.pipe != nil else { preconditionFailure("a write from a pipe has one") }
        job.progress = cache.writeNow(&job.task, from: &job.pipe!)
    }

    /// A long look-up comes back in parts: the extents found in this time are good for a beginning.
    private static let lookUpNanoseconds: UInt64 = 2_000_000

    private func lookUp(_ job: inout FileJob, _ position: Int, since start: UInt64) {
        precondition(job.maximumExtents <= Self.maximumExtents, "a job finds no more than there is room for")
        var found: UInt64 = 0
        repeat {
            let extent = job.backend.extent(
                at: job.task.offset + found, limit: FileWorker.unlimitedBytes, blockSize: job.blockSize)
            extents[Self.extentsStart(position) + job.extentCount].store(
                extent.lengthBytes << 1 | (extent.isMapped ? 1 : 0), ordering: .relaxed)
            found += extent.lengthBytes
            job.extentCount += 1
        } while job.extentCount < job.maximumExtents && found < job.limitBytes
            && clock.now() &- start < Self.lookUpNanoseconds
    }
}

/// A worker as its loop has it. The loop gives it jobs, and takes back what it has done, in the same order.
struct FileWorker: ~Copyable {
    /// The duties of workers.
    enum Duty: CaseIterable {
        case writes, lookUps
    }

    /// An extent is looked for this far: farther than any image reaches.
    static let unlimitedBytes: UInt64 = 1 << 60

    let duty: Duty
    let queue: FileJobQueue
    /// Nil: a test does its jobs.
    private let thread: pthread_t?
    /// The exports of the jobs that were given: the worker has the jobs themselves.
    private var subjects = FixedList<ExportNumber>(repeating: ExportNumber(0), count: JobRing.capacity)
    private var givenCount = 0
    private var takenCount = 0
    private var passedCount = 0
    /// The call that the worker was in when the loop last looked; -1: none.
    private var watchedCount = 0
    /// How often in a row the loop has found it in the same call.
    private var timesStuck = 0
    /// The export of its last job; while it is stuck, of the one that it is in.
    private(set) var export: ExportNumber?
    /// While a look-up takes its time, so many of the same export wait for it, itself among them: a true answer is
    /// worth more than a quick one.
    private static let lookUpsInLine = 4
    /// They wait for so many looks, a second at least.
    private static let lookUpPatience = 50

    /// Starts a worker.
    init(_ duty: Duty, _ bell: LoopBell, _ clock: MonotonicClock, hasThread: Bool) throws(RingError) {
        self.duty = duty
        let queue = try FileJobQueue(bell, clock)
        guard hasThread else {
            self.queue = queue
            thread = nil
            return
        }
        guard let thread = startThreadIfPossible({ queue.work() }) else {
            queue.unmap()
            throw .descriptor(errno: EAGAIN)
        }
        self.queue = queue
        self.thread = thread
    }

    /// Ends the worker, which has nothing to do, unless it is stuck all the same: then it, and what it uses, stay until
    /// the process ends.
    deinit {
        queue.end()
        // A worker that comes back from a call that was stuck does nothing more: there is no loop any more.
        for position in takenCount..<givenCount { _ = queue.jobs.withdraw(position) }
        guard jobCount == 0 else {
            if let thread { pthread_detach(thread) }
            return
        }
        if let thread { pthread_join(thread, nil) }
        queue.unmap()
    }

    /// Jobs that were given and not taken.
    var jobCount: Int { givenCount - takenCount }

    /// It has been in one call for so long that it is given nothing that could be done elsewhere.
    var isStuck: Bool { timesStuck > 0 }

    /// It has been in one call for longer than anybody waits for it.
    private var isLost: Bool { timesStuck >= Self.lookUpPatience }

    /// Whether it can be given one more.
    mutating func hasRoom() -> Bool { !isStuck && hasPlace() }

    /// Whether it can be given one more job of the export that it is busy with. A write would wait for the same file
    /// anywhere else.
    mutating func hasRoomForSameExport() -> Bool {
        switch duty {
        case .writes: hasPlace()
        case .lookUps: (!isStuck || !isLost && jobCount < Self.lookUpsInLine) && hasPlace()
        }
    }

    private mutating func hasPlace() -> Bool {
        guard jobCount < JobRing.capacity else { return false }
        if givenCount - passedCount >= JobRing.capacity { passedCount = queue.passedCount }
        return givenCount - passedCount < JobRing.capacity
    }

    /// Gives it a job, for which it has room.
    mutating func give(_ job: consuming FileJob, mayLook: Bool = false) {
        precondition(jobCount < JobRing.capacity, "there is no room for a job")
        export = job.export
        job.position = givenCount
        subjects[givenCount % JobRing.capacity] = job.export
        queue.jobs.give(job, at: givenCount)
        givenCount += 1
        queue.publish(givenCount, mayLook: mayLook)
    }

    /// The next one can be taken.
    var hasDone: Bool {
        guard jobCount > 0 else { return false }
        switch queue.jobs.state(takenCount) {
        case .done, .withdrawn: return true
        case .queued, .taken: return false
        case .empty: preconditionFailure("a job that was given is somewhere")
        }
    }

    /// Takes the next job that is done; nil when there is none.
    mutating func takeDone() -> FileJob? {
        while hasDone {
            let position = takenCount
            takenCount += 1
            guard queue.jobs.state(position) == .done else { continue }
            timesStuck = 0
            return queue.jobs.takeAway(position)
        }
        return nil
    }

    /// Notes which call the worker is in.
    mutating func notePosition() {
        watchedCount = callUnderWay ?? -1
    }

    /// The worker is stuck if it is still in the call that was noted.
    mutating func checkProgress() {
        guard let call = callUnderWay, call == watchedCount else { return }
        timesStuck += 1
        export = subjects[call % JobRing.capacity]
    }

    /// The job that the worker has taken; nil when it is in none, also where it waits for a processor to begin the
    /// next.
    private var callUnderWay: Int? {
        // A job that the loop has taken is over, even where the worker has not come to say so.
        let position = max(queue.passedCount, takenCount)
        return position < givenCount && queue.jobs.state(position) == .taken ? position : nil
    }

    /// Takes back a job that the worker has not taken and that should not wait for it; nil when there is none.
    mutating func withdraw() -> FileJob? {
        var inLine = 1
        for position in takenCount..<givenCount {
            guard queue.jobs.state(position) == .queued else { continue }
            if subjects[position % JobRing.capacity] == export {
                if duty == .writes { continue }
                if !isLost, inLine < Self.lookUpsInLine {
                    inLine += 1
                    continue
                }
            }
            if let job = queue.jobs.withdraw(position) { return job }
        }
        return nil
    }
}
