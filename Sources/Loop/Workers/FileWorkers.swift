// The workers of a loop (FileWorker): some that write, and some that look extents up.

import Backends
import Blocks
import IOUring

/// Workers, each started when it is first needed.
///
/// One worker of each duty at a time does the work for one export: a second one would only wait for the same
/// file's lock, and an image with a slow file system takes one of the few, and leaves the others to the rest.
struct FileWorkers: ~Copyable {
    private static let perDuty = 4
    private static let capacity = FileWorker.Duty.allCases.count * perDuty

    let bell: LoopBell
    private(set) var workers = FixedList<FileWorker>(capacity: capacity)
    var count: Int { workers.count }
    private let clock: MonotonicClock
    private let hasThreads: Bool
    /// The system has refused one.
    private var isComplete = false

    /// Workers of a loop with this clock; those without threads do nothing by themselves.
    init(_ clock: MonotonicClock, hasThreads: Bool) throws(RingError) {
        bell = try LoopBell()
        self.clock = clock
        self.hasThreads = hasThreads
    }

    /// Jobs that somebody has or has done, but for those that the loop has taken.
    var jobCount: Int {
        var jobs = 0
        for number in 0..<count { jobs += workers[number].jobCount }
        return jobs
    }

    /// There is a job to take.
    var hasDone: Bool {
        for number in 0..<count where workers[number].hasDone { return true }
        return false
    }

    /// A worker can be given a write to this export.
    mutating func mayWrite(_ export: ExportNumber) -> Bool { worker(for: export, .writes) != nil }

    /// Gives a write to a worker, which may be given one.
    ///
    /// - Parameter mayLook: there is a processor for a worker that looks for the next one, too.
    mutating func write(_ job: consuming FileJob, mayLook: Bool) {
        guard let number = worker(for: job.export, .writes) else {
            preconditionFailure("no worker has room for a write")
        }
        workers[number].give(job, mayLook: mayLook)
    }

    /// Gives a look-up to a worker.
    ///
    /// - Returns: the job itself when there is none that could do it.
    mutating func lookUp(_ job: consuming FileJob) -> FileJob? {
        guard let number = worker(for: job.export, .lookUps) else { return job }
        job.worker = number
        workers[number].give(job)
        return nil
    }

    /// The extent that a look-up has found.
    func extent(_ number: Int, of job: borrowing FileJob) -> BackendExtent {
        workers[job.worker].queue.extent(number, of: job)
    }

    /// The worker that is busy with this export, or else one that has nothing to do, or else one that gets on.
    private mutating func worker(for export: ExportNumber, _ duty: FileWorker.Duty) -> Int? {
        var idle: Int?
        var other: Int?
        var onDuty = 0
        for number in 0..<count where workers[number].duty == duty {
            onDuty += 1
            if workers[number].jobCount == 0 {
                idle = idle ?? number
            } else if workers[number].export == export {
                return workers[number].hasRoomForSameExport() ? number : nil
            } else if workers[number].hasRoom() {
                other = other ?? number
            }
        }
        if let idle { return idle }
        return onDuty < Self.perDuty && start(duty) ? count - 1 : other
    }

    /// - Returns: false when the system refuses.
    private mutating func start(_ duty: FileWorker.Duty) -> Bool {
        guard !isComplete else { return false }
        do throws(RingError) {
            workers.append(try FileWorker(duty, bell, clock, hasThread: hasThreads))
        } catch {
            isComplete = true
        }
        return !isComplete
    }

    /// Takes a job that is done; nil when there is none.
    mutating func takeDone() -> FileJob? {
        for number in 0..<count { if let job = workers[number].takeDone() { return job } }
        return nil
    }

    /// Takes back what waits behind a call that lasts too long; nil when there is nothing of that kind.
    mutating func takeBack() -> FileJob? {
        for number in 0..<count where workers[number].isStuck {
            if let job = workers[number].withdraw() { return job }
        }
        return nil
    }

    /// Notes how far all are.
    mutating func notePositions() {
        for number in 0..<count { workers[number].notePosition() }
    }

    /// Looks whether all have got on since then.
    mutating func checkProgress() {
        for number in 0..<count { workers[number].checkProgress() }
    }
}
