// All that loops share of an export, from its coming to its end.

import Backends
import Blocks
import Counters
import Glibc
import IOUring
import Logging
import Synchronization
import Units

/// One export of a running server, from its coming to its end.
public final class ExportEntry: Sendable {
    /// Its place in the loops' tables; another export may have it when this one has ended.
    public let number: ExportNumber
    /// The loop that changes its drive.
    let homeLoop: Int
    /// The only loop that may serve it; nil: any. Layers remember things, and whole disks, and that in one place.
    let onlyLoop: Int?
    /// Answered writes are in the drive until a flush.
    public let hasWriteCache: Bool
    /// Where initiators find it; nil: nowhere.
    public let target: TargetPlace?
    /// The export that is served.
    public let definition: ServedExport
    /// Where its writers meet.
    let gate: WriteGate
    /// The counters of its clients.
    public let counters: ExportCounters
    /// The image is closed.
    public let ended: EventCounter
    let state: Mutex<State>
    private let operation = Mutex<Void>(())
    /// How many requests that may deallocate have begun, and how many have ended.
    let deallocations = Atomic<Int>(0)

    struct State {
        var drive: ExportedDrive
        var backend: Backend
        var flushes: ImageFlushes
        var image: String
        /// Those that requests used for longer than anybody has waited.
        var oldBackends: [Backend] = []
        var blocks: BlockStack
        /// The files that its image begins with, for which ``BackendRequest/file`` stands from 1 on.
        var backings: [Backend]
        /// Its own file has the changes of an overlay.
        var changes: ChangesFile?
        /// What an overlay in memory has above its image, below what is written: the newest first.
        var levels: [FrozenLevel]
        /// Which blocks it has written since, wherever the layers are.
        var ownMap: OverlayMap?
        var snapshots: [OverlaySnapshot] = []
        var server: DeviceServer?
        var connectionCount = 0
        /// Clients that are about to open it.
        var holdCount = 0
        /// How many times it was opened.
        var openings = 0
        /// Nobody may open it any more.
        var isWithdrawn = false
        /// Nobody may open it now; nil: everybody may.
        var absence: DriveAbsence?
        /// The power cut that is to come.
        var armed: ArmedCut?
        /// The last one, or why it could not be finished.
        var lastCut: Result<PowerCutOutcome, CutFailure>?
        var failure: String?
    }

    /// An export that nobody has opened.
    /// - Parameters:
    ///   - target: where initiators find it; nil: nowhere.
    ///   - neighbour: another export of the same target. All have one home loop, as a session has one.
    public init(
        number: ExportNumber, definition: ServedExport, drive: ExportedDrive, flushes: ImageFlushes,
        target: TargetPlace?, neighbour: ExportEntry?, loopCount: Int
    ) throws(RingError) {
        self.number = number
        self.target = target
        homeLoop = neighbour?.homeLoop ?? number.number % loopCount
        hasWriteCache = definition.blocks.writeCache != nil
        onlyLoop = definition.blocks.isEmpty && !drive.drive.kind.isWholeDisk ? nil : homeLoop
        // A second copy of what the layers have would be one too many.
        var others = definition
        others.blocks = BlockStack()
        // They are given back when no overlay has them any more.
        others.levels = []
        self.definition = others
        gate = try WriteGate(loopCount: loopCount)
        counters = try ExportCounters(loopCount: loopCount)
        ended = try EventCounter()
        // A reservation from before the server began keeps clients of NBD out before an initiator comes.
        var drive = drive
        drive.strangers = definition.deviceServer(targetName: []).strangers
        drive.drive.powerOn(at: MonotonicClock().now())
        state = Mutex(
            State(
                drive: drive, backend: definition.backend, flushes: flushes, image: definition.image,
                blocks: definition.blocks, backings: definition.backings, changes: definition.changes,
                levels: definition.levels, ownMap: definition.blocks.overlay?.ownMap))
    }

    deinit {
        ended.close()
    }

    /// The name that clients ask for.
    public var name: String { definition.name }

    /// The drive as its home loop has published it last: every loop begins with it.
    public var drive: ExportedDrive { state.withLock { $0.drive } }

    /// Where its sectors are now. Only a disc drive ever has others than at the beginning.
    public var backend: Backend { state.withLock { $0.backend } }

    /// The files behind it, for which ``BackendRequest/file`` stands from 1 on.
    var backings: [Backend] { state.withLock { $0.levels.map(\.backend) + $0.backings } }

    /// Pages of its mapped files no longer count as memory of this process. A file that is here is not closed: whoever
    /// closes one has taken it out before.
    public func dropMappedPages() {
        state.withLock { state in
            state.backend.pageCache?.dropMappedPages()
            for file in state.backings { file.pageCache?.dropMappedPages() }
        }
    }

    /// How its image is made stable.
    public var flushes: ImageFlushes { state.withLock { $0.flushes } }

    /// The file with the changes of an overlay; nil: there is none.
    public var changes: ChangesFile? { state.withLock { $0.changes } }

    /// The name of that image.
    public var image: String { state.withLock { $0.image } }

    /// The medium is another one. The loops hear of it from ``SharedState/takeMedium(of:)``.
    ///
    /// - Returns: the old one.
    public func exchange(_ backend: Backend, image: String) -> Backend {
        state.withLock {
            let old = $0.backend
            ($0.backend, $0.image) = (backend, image)
            return old
        }
    }

    /// Requests still use an old medium: it is closed with the export.
    public func closeLater(_ old: Backend) {
        state.withLock { $0.oldBackends.append(old) }
    }

    /// How many connections have it open.
    public var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// How many have it open or are about to open it, and how many times it was opened.
    public var use: (clients: Int, openings: Int) {
        state.withLock { ($0.connectionCount + $0.holdCount, $0.openings) }
    }

    /// Nobody may open it any more.
    public var isWithdrawn: Bool { state.withLock { $0.isWithdrawn } }

    /// Clients find it.
    var isVisible: Bool {
        switch definition.lifetime {
        case .unlimited: true
        case .kept, .used: !isWithdrawn
        case .ofOneConnection: false
        }
    }

    /// Nobody has it open or will, and it has not been closed.
    public var hasEnded: Bool {
        state.withLock { $0.isWithdrawn && $0.connectionCount == 0 }
    }

    /// A client is about to open it.
    ///
    /// - Returns: false when nobody may.
    func hold() -> Bool {
        state.withLock {
            guard !$0.isWithdrawn else { return false }
            $0.holdCount += 1
            return true
        }
    }

    /// A client that was about to open it has done so, or will not. What was made for it and never opened goes.
    ///
    /// - Returns: whether nothing more will come.
    func letGo() -> Bool {
        state.withLock {
            precondition($0.holdCount > 0, "who lets go has held")
            $0.holdCount -= 1
            guard !$0.isWithdrawn, $0.holdCount == 0, $0.connectionCount == 0 else { return false }
            $0.isWithdrawn =
                switch definition.lifetime {
                case .unlimited: false
                case .kept: $0.openings == 0
                case .used, .ofOneConnection: true
                }
            return $0.isWithdrawn
        }
    }

    /// The outcomes of opening an export.
    enum Opening: Equatable {
        /// It is open; so many other connections have it open, too.
        case opened(others: Int)
        /// As many connections as may be have it open.
        case full(String)
        /// Why it cannot be opened now.
        case refused(String)
        /// It has gone since it was found.
        case gone
    }

    /// A connection opens the export.
    func open() -> Opening {
        state.withLock {
            guard !$0.isWithdrawn else { return .gone }
            if let absence = $0.absence { return .refused(absence.refusal) }
            if let limit = definition.maximumConnections, $0.connectionCount >= limit {
                return .full("the export has as many connections as it may have: \(limit)")
            }
            $0.connectionCount += 1
            $0.openings += 1
            return .opened(others: $0.connectionCount - 1)
        }
    }

    /// A connection that had the export open has ended, and everything of it.
    ///
    /// - Returns: whether nothing more will come.
    func close() -> Bool {
        state.withLock {
            precondition($0.connectionCount > 0, "who closes an export has opened it")
            $0.connectionCount -= 1
            guard $0.connectionCount == 0 else { return false }
            if definition.lifetime == .used || definition.lifetime == .ofOneConnection, $0.holdCount == 0 {
                $0.isWithdrawn = true
            }
            return $0.isWithdrawn
        }
    }

    /// Nobody may open the export any more; with `onlyIfUnused` only when nobody has it open, or is about to.
    ///
    /// - Returns: how many connections have it open, or are about to.
    public func withdraw(onlyIfUnused: Bool) -> Int {
        state.withLock {
            guard onlyIfUnused else {
                $0.isWithdrawn = true
                return $0.connectionCount
            }
            let count = $0.connectionCount + $0.holdCount
            if count == 0 { $0.isWithdrawn = true }
            return count
        }
    }

    /// Why clients may not open it now.
    var absence: DriveAbsence? { state.withLock { $0.absence } }

    /// Takes the drive's power away from those that come from now on.
    public func switchOff(_ why: DriveAbsence = .powerCut) { state.withLock { $0.absence = why } }

    /// Gives the drive its power back. It comes back as it was at power-on, but as large as it has become.
    public func switchOn() {
        state.withLock {
            $0.absence = nil
            $0.blocks.restorePower()
            let old = $0.drive
            $0.drive = definition.drive
            $0.drive.remember(old)
            $0.drive.strangers = ($0.server ?? definition.deviceServer(targetName: [])).strangers
        }
    }

    /// The power cut that is to come; nil: none.
    public var armedCut: ArmedCut? { state.withLock { $0.armed } }

    /// The outcome of the last power cut; nil: there was none.
    public var lastCut: Result<PowerCutOutcome, CutFailure>? { state.withLock { $0.lastCut } }

    /// A power cut is to come.
    public func arm(_ cut: ArmedCut) { state.withLock { $0.armed = cut } }

    /// It does not come any more.
    public func disarm() { state.withLock { $0.armed = nil } }

    /// A power cut has ended.
    public func note(_ cut: Result<PowerCutOutcome, CutFailure>) {
        state.withLock { ($0.armed, $0.lastCut) = (nil, cut) }
    }

    /// Orders the power to go at a moment while nobody has the export open; nil takes an order back.
    ///
    /// - Returns: whether the drive has power.
    func order(_ moment: CutMoment?) -> Bool {
        state.withLock {
            $0.blocks.order(moment)
            return $0.blocks.hasPower
        }
    }

    /// The moment that was ordered has come, while these connections had the export open. A thread that waits for
    /// it does the rest.
    func powerHasGone(_ connections: [ConnectionStatus]) {
        let armed = state.withLock {
            $0.absence = .powerCut
            return $0.armed
        }
        armed?.come(connections)
    }

    /// The layers are here: no loop uses them.
    public var hasBlocks: Bool { state.withLock { !$0.blocks.isEmpty } }

    /// Cuts the power of a drive whose layers are here, and takes to the image what the cut keeps.
    ///
    /// - Returns: what was kept and lost, and 0, or the errno of a failure to store it.
    public func cutPower(_ cut: PowerCut) -> (PowerCutReport?, code: Int32) {
        var blocks = takeBlocks()
        let report = blocks.writeCache?.cut(cut, sectors: drive.mediumSectors)
        keep(blocks)
        state.withLock { $0.server?.losePower() }
        let code = emptyWriteCache()
        if code == 0 { counters.forgetUnflushed() }
        return (report, code)
    }

    /// A file is its image now, or one of those below it.
    public func uses(_ file: FileNumber) -> Bool {
        state.withLock { state in ([state.backend] + state.backings).contains { $0.fileNumber == file } }
    }

    /// Why the image could not be made stable in the end; nil if it could.
    public var failure: String? { state.withLock { $0.failure } }

    /// Does something with the image for the server's operator: one thing at a time, and nothing after its end.
    ///
    /// - Returns: nil after its end.
    public func operate<Result: Sendable, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        try operation.withLock { _ throws(Failure) in
            guard !state.withLock({ $0.isWithdrawn }) else { return nil }
            return try body()
        }
    }

    /// Makes the image stable and closes it, and tells what no client had flushed. Nobody has it open, and nobody will.
    public func end(_ logger: Logger) {
        let unflushed = unflushedBytes
        armedCut?.takeBack()
        disarm()
        // An operator's work with the image ends before it is closed.
        let code = operation.withLock { _ in
            // Nor does one begin afterwards.
            state.withLock { $0.isWithdrawn = true }
            let flushing = emptyWriteCache()
            let (last, old) = state.withLock { state in
                (state.levels, state.snapshots) = ([], [])
                return (state.backend, state.oldBackends + state.backings)
            }
            for backend in old { backend.close() }
            definition.recording?.close()
            let closing = flushes.close(last)
            return flushing != 0 ? flushing : closing
        }
        definition.reservations?.close()
        // The image is closed: a file system that holds the state up takes nothing from it.
        keepLastState(logger)
        definition.state?.close()
        if code != 0 { state.withLock { $0.failure = errorText(code) } }
        gate.close()
        logEnd(logger, unflushed: unflushed)
        ended.signal()
    }

    /// The layers, as they were when the last connection left them: a thread that takes them has them alone, and
    /// keeps them here afterwards.
    func takeBlocks() -> BlockStack {
        state.withLock {
            let blocks = $0.blocks
            $0.blocks = BlockStack()
            return blocks
        }
    }

    /// Keeps the layers while nobody has the export open.
    func keep(_ blocks: BlockStack) {
        state.withLock { $0.blocks = blocks }
    }

    /// Its home loop's memory of initiators; nil: none has come.
    var server: DeviceServer? { state.withLock { $0.server } }

    /// Keeps what is remembered of initiators while nobody has the export open on the home loop.
    func keep(_ server: DeviceServer) {
        state.withLock { $0.server = server }
    }

    /// Publishes the drive as its home loop has changed it (``Loop/change(_:_:_:)``).
    func publish(_ drive: ExportedDrive) {
        state.withLock {
            precondition(drive.hasTray || drive.mediumSectors >= $0.drive.mediumSectors, "a medium never shrinks")
            $0.drive = drive
        }
    }
}

extension ExportEntry {
    /// Written and answered, but not made stable by a FLUSH since. Without a write cache every write is stable.
    public var unflushedBytes: UInt64 {
        drive.hasWriteCache ? counters.unflushedBytes : 0
    }

    /// Tells how an export has ended, and what has become of what no client had flushed.
    private func logEnd(_ logger: Logger, unflushed: UInt64) {
        if let failure {
            logger.error(
                "export closed, but its image could not be flushed: what clients have not flushed may be lost",
                metadata: ["export": "\(name)", "unflushed": .stringConvertible(unflushed), "reason": "\(failure)"])
        } else if state.withLock({ $0.ownMap != nil }) {
            logger.info("export closed; the changes of its overlay in memory are gone", metadata: ["export": "\(name)"])
        } else if unflushed > 0 {
            logger.notice(
                "export closed; what clients have not flushed is stable now",
                metadata: ["export": "\(name)", "unflushed": .stringConvertible(unflushed)])
        } else {
            logger.info("export closed; clients have flushed everything", metadata: ["export": "\(name)"])
        }
    }

    /// Tells that the first flush has failed.
    func logFlushFailure(_ code: Int32, _ logger: Logger) {
        logger.error(
            "a flush has failed: what was written and not flushed before may be lost, and flushes fail from now on",
            metadata: ["export": "\(name)", "reason": "\(errorText(code))"])
    }

    /// Tells, if so, that there are writes which no client has flushed, at an end that leaves no time for it.
    public func logUnflushed(_ logger: Logger) {
        guard unflushedBytes > 0 else { return }
        logger.warning(
            "export left as it is: what clients have not flushed may be lost",
            metadata: ["export": "\(name)", "unflushed": .stringConvertible(unflushedBytes)])
    }
}
