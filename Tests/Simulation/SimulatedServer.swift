// A server of a simulation: its loops, by turns in one thread, and the jobs of their workers.

import ATA
import Backends
import Blocks
import Export
import Glibc
import IOUring
import ISCSI
import Logging
import SimulatedKernel

@testable import Listening
@testable import Loop
@testable import Server

/// Loops on scripted rings. The real ones would each be a thread's.
final class SimulatedServer {
    /// A job that a worker has taken.
    private struct Job {
        let worker: Int
        let position: Int
        let endsAt: UInt64
    }

    let shared: ServerState
    let kernel: SimulatedKernel
    private let loops: UnsafeMutablePointer<Loop>
    let loopCount: Int
    private(set) var isOver: [Bool]
    /// By loop: the jobs that its workers are in, and how far each worker is.
    private var jobs: [[Job]]
    private var positions: [[Int]]
    let path: String
    /// Where initiators come. TCP has behaviour of its own, so it is a Unix socket, too.
    var sessionPath: String { path + "-iscsi" }
    /// Where images are mapped.
    private let place: MappingPlace?
    private var recordingCount = 0

    /// Writes of reservations that are to be done, in the order in which they came.
    let keepings = Keepings()

    init(
        _ profile: Profile, _ images: [SimulatedImage], kernel: SimulatedKernel, path: String,
        reservations: ReservationFolder?, logger: Logger
    ) throws {
        self.kernel = kernel
        self.path = path
        loopCount = profile.loops
        var limits = Limits()
        limits.connections = 64
        limits.localSendBufferBytes = profile.sendBufferBytes
        var listeners = try Listener.open(.unix(path: path))
        if profile.initiators > 0 {
            let socket = try Listener.open(.unix(path: path + "-iscsi"))[0]
            listeners.append(Listener(descriptor: socket.descriptor, endpoint: .iscsi(host: "here", port: 1)))
        }
        let entrances = Entrances(listeners: listeners)
        let exports = try ExportTable(loopCount: loopCount, reservations: reservations, logger: logger)
        shared = ServerState(
            try SharedState(
                exports: exports, entrances: entrances, loopCount: loopCount, limits: limits, tls: nil, logger: logger,
                processorCount: profile.processors, peer: Self.peer(profile), keep: keepings.add), exports)
        place = profile.isMapped ? try MappingPlace() : nil
        loops = UnsafeMutablePointer<Loop>.allocate(capacity: loopCount)
        isOver = Array(repeating: false, count: loopCount)
        jobs = Array(repeating: [], count: loopCount)
        positions = Array(repeating: [], count: loopCount)
        for image in images { try add(image, profile) }
        for number in 0..<loopCount {
            let ring = Ring(entries: profile.entries, completions: profile.completions, kernel: kernel)
            (loops + number).initialize(to: try Loop(index: number, shared: shared.loops, ring: ring))
            loops[number].publish()
        }
        for number in (0..<loopCount).reversed() {
            loops[number].begin()
            try loops[number].wait()
        }
    }

    /// Who the clients seem to be.
    private static func peer(_ profile: Profile) -> @Sendable (Int32) -> Peer {
        guard profile.areRemote, let address = InternetAddress("192.0.2.1") else { return { Peer(of: $0) } }
        let remote = Peer(name: "192.0.2.1:1", origin: .internet(address))
        return { _ in remote }
    }

    /// Serves an image.
    ///
    /// - Parameter snapshot: what its overlay begins with; nil: the image.
    func add(_ image: SimulatedImage, _ profile: Profile, from snapshot: SimulatedSnapshot? = nil) throws {
        var properties = DriveProperties()
        properties.writeCache = profile.writesThrough ? .off : .on
        var export = ServedExport(
            name: image.name, properties: properties, controller: .piix3IDE,
            image: try image.chain(
                needsThread: profile.needsThread, mappedIn: place, above: snapshot?.levels ?? []))
        if profile.cacheBytes > 0 {
            export.blocks.writeCache = WriteCache(
                cacheBytes: profile.cacheBytes,
                memory: try LayerMemory(mapping: WriteCache.memoryBytes(cacheBytes: profile.cacheBytes)),
                blockSize: .smallest)
        }
        if profile.isRecorded { try record(image, &export) }
        export.maximumConnections = profile.maximumConnections
        if let logicalUnit = image.logicalUnit {
            export.target = TargetOptions(
                name: try TargetName(SimulatedImage.sharedTarget), logicalUnit: logicalUnit)
        }
        if !profile.faults.isEmpty {
            let size = UInt64(image.model.byteCount)
            export.blocks.faults = Faults(profile.faults, sizeBytes: size, blockSize: .smallest)
            if !profile.imageFaults.isEmpty {
                export.blocks.imageFaults = Faults(profile.imageFaults, sizeBytes: size, blockSize: .smallest)
            }
        }
        shared.loops.noteAdded(try shared.exports.add(export).0)
    }

    private func record(_ image: SimulatedImage, _ export: inout ServedExport) throws {
        recordingCount += 1
        let path = "\(self.path)-\(recordingCount).rec"
        let file = try RecordingFile(
            path: path,
            RecordingHeader(
                blockSize: .smallest, sectorsPerPhysical: 1, sectors: UInt64(image.model.byteCount / 512), began: 0,
                base: .zeroes))
        (export.recording, export.blocks.recorder) = (file.backend, file.recorder)
        image.recording = SimulatedRecording(path: path, base: image.model.content)
    }

    /// Gives all back, after all loops are over.
    func close() throws {
        for number in 0..<loopCount { (loops + number).deinitialize(count: 1) }
        loops.deallocate()
        for listener in shared.loops.listeners { listener.close() }
        closeEndedExports()
        for entry in shared.exports.directory.entries { end(entry) }
    }

    /// Exports that were removed and have lost their last client are closed.
    func closeEndedExports() {
        for entry in shared.exports.takeEnded() {
            end(entry)
            shared.exports.forget(entry)
        }
    }

    private func end(_ entry: ExportEntry) {
        // Of a process that is dead nothing comes from memory any more.
        if kernel.filesAreDead {
            var blocks = entry.takeBlocks()
            _ = blocks.writeCache?.cut(PowerCut(keeping: .none, seed: 0), sectors: entry.drive.sectorCount)
            blocks.qcow2?.endWriting()
            entry.keep(blocks)
        }
        entry.end(shared.loops.logger)
    }

    // MARK: Turns

    /// Whether a loop would go on by itself.
    func isAwake(_ loop: Int) -> Bool {
        guard !isOver[loop] else { return false }
        return kernel.isAwake(loops[loop].ring.fileDescriptor)
    }

    /// One turn of a loop: it wakes, works off what has completed, and goes to sleep.
    func turn(_ loop: Int) throws {
        loops[loop].workers.bell.ignore()
        loops[loop].clock.beginTurn()
        loops[loop].workOff()
        guard !loops[loop].isOver else {
            guard !loops[loop].hasGivenUp else { throw Violation("loop \(loop) has given up") }
            isOver[loop] = true
            return
        }
        try loops[loop].wait()
        // As it does when it sleeps (Loop.sleep).
        if loops[loop].workers.jobCount > 0, !loops[loop].workers.hasDone { loops[loop].workers.bell.expect() }
    }

    var areAllOver: Bool { isOver.allSatisfy { $0 } }

    // MARK: Workers

    /// Workers that could take a job, or are done with one: by loop and worker.
    func busyWorkers() -> [(loop: Int, worker: Int)] {
        var found: [(loop: Int, worker: Int)] = []
        for loop in 0..<loopCount where !isOver[loop] {
            for worker in 0..<loops[loop].workers.count {
                if let job = jobs[loop].first(where: { $0.worker == worker }) {
                    if job.endsAt <= kernel.now { found.append((loop, worker)) }
                } else if loops[loop].workers.workers[worker].queue.hasJob(at: position(loop, worker)) {
                    found.append((loop, worker))
                }
            }
        }
        return found
    }

    /// When the next of the workers is done with a job.
    var nextMoment: UInt64? { jobs.joined().map(\.endsAt).filter { $0 > kernel.now }.min() }

    private func position(_ loop: Int, _ worker: Int) -> Int {
        while positions[loop].count <= worker { positions[loop].append(0) }
        return positions[loop][worker]
    }

    /// A worker takes its next job, or finishes the one that it has.
    func work(_ loop: Int, _ worker: Int, lasting nanoseconds: UInt64) -> String {
        let queue = loops[loop].workers.workers[worker].queue
        let position = position(loop, worker)
        guard let index = jobs[loop].firstIndex(where: { $0.worker == worker }) else {
            if queue.jobs.take(position) {
                jobs[loop].append(Job(worker: worker, position: position, endsAt: kernel.now + nanoseconds))
                return "takes"
            }
            queue.pass(position, isDone: false)
            positions[loop][worker] += 1
            return "passes"
        }
        jobs[loop].remove(at: index)
        var isDead = false
        queue.jobs.work(at: position) { isDead = kernel.filesAreDead && $0.kind != .lookUp }
        if !isDead { queue.perform(position) }
        queue.jobs.work(at: position) { job in
            if isDead { job.progress = .failed(EIO) }
        }
        queue.pass(position, isDone: true)
        positions[loop][worker] += 1
        loops[loop].workers.bell.ring()
        return "has done"
    }

    // MARK: What is left

    var hasConnections: Bool { shared.loops.connectionCount.load(ordering: .relaxed) > 0 }

    /// Everything that was lent has come back, once all clients are gone.
    func checkIdle() throws {
        for number in 0..<loopCount {
            if let reason = Self.leak(loops[number]) { throw Violation("loop \(number): \(reason)") }
        }
    }

    private static func leak(_ loop: borrowing Loop) -> String? {
        if let violation = loop.violations().first { return violation }
        if loop.activeConnections != 0 { return "\(loop.activeConnections) connections are left" }
        if loop.requestsUnderWay != 0 { return "\(loop.requestsUnderWay) requests are under way" }
        if loop.sendsUnderWay != 0 { return "\(loop.sendsUnderWay) sends are under way" }
        if !loop.parked.isEmpty { return "a request is parked" }
        if loop.ownPagesInUse != 0 { return "\(loop.ownPagesInUse) pages of connections are in use" }
        if loop.mappedBytes != 0 { return "\(loop.mappedBytes) mapped bytes are in use" }
        if loop.freeConnections.count != loop.connectionSlots { return "slots of connections are in use" }
        for slot in loop.usedSlots where loop.connections[slot].arena.pagesInUse != 0 {
            return "pages of slot \(slot.number) are in use"
        }
        return nil
    }
}
