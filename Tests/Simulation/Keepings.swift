// Reservations on their way to their files. In the server each write is a thread's; here it is a step.

import Glibc
import Synchronization

/// The writes that loops have asked for and that are not done.
final class Keepings: Sendable {
    struct Job: Sendable {
        let write: @Sendable () -> Int32
        let done: @Sendable (Int32) -> Void
        /// It is not done before.
        var readyAt: UInt64?
    }

    private let jobs = Mutex<[Job]>([])

    func add(_ write: @escaping @Sendable () -> Int32, _ done: @escaping @Sendable (Int32) -> Void) {
        jobs.withLock { $0.append(Job(write: write, done: done)) }
    }

    /// Those that can be done now.
    ///
    /// - Parameter delay: how long another one takes.
    func performable(_ now: UInt64, _ delay: () -> UInt64) -> [Int] {
        jobs.withLock { jobs in
            for place in jobs.indices where jobs[place].readyAt == nil { jobs[place].readyAt = now + delay() }
            return jobs.indices.filter { jobs[$0].readyAt.map { $0 <= now } == true }
        }
    }

    /// When the next one can be done.
    var nextMoment: UInt64? { jobs.withLock { $0.compactMap(\.readyAt).min() } }

    func take(_ place: Int) -> Job { jobs.withLock { $0.remove(at: place) } }

    /// The process ends in the middle of all writes: of each there is nothing, all, or a part.
    ///
    /// - Parameter random: a number below another one.
    func cutOff(_ paths: [String], _ random: (Int) -> Int) throws {
        let left = jobs.withLock { jobs in
            let left = jobs
            jobs = []
            return left
        }
        for job in left {
            defer { job.done(EIO) }
            guard random(4) > 0 else { continue }
            let before = try paths.map { try FileOfSimulation.content($0) }
            _ = job.write()
            guard random(3) > 0 else { continue }
            for (number, path) in paths.enumerated() {
                let after = try FileOfSimulation.content(path)
                let changed = after.indices.filter { after[$0] != before[number][$0] }
                guard let first = changed.first, let last = changed.last else { continue }
                let cut = first + random(last - first + 1)
                try FileOfSimulation.write(after[..<cut] + before[number][cut...], path)
            }
        }
    }
}

/// Whole files.
enum FileOfSimulation {
    static func content(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { throw Violation("there is no \(path)") }
        defer { close(descriptor) }
        var status = stat()
        fstat(descriptor, &status)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count else { throw Violation("\(path) is not read") }
        return bytes
    }

    static func write(_ bytes: some Collection<UInt8>, _ path: String) throws {
        let descriptor = open(path, O_WRONLY)
        defer { close(descriptor) }
        guard pwrite(descriptor, Array(bytes), bytes.count, 0) == bytes.count else {
            throw Violation("\(path) is not written")
        }
    }
}
