// An export as one loop has it.

import Backends
import Blocks
import Counters
import IOUring
import Units

/// A drive as one loop has it.
struct LoopExport {
    var served: ExportedDrive
    /// The unit's memory of its initiators; of use on its home loop only.
    var server: DeviceServer
    private(set) var backend: Backend
    private let backings: [Backend]
    private let recording: Backend?
    /// The layers between the drive and the backend.
    var blocks: BlockStack
    let hasLayers: Bool
    /// Its drive wants to know what time it is.
    let isTimed: Bool
    /// The drive has no power, and its sessions hang.
    var isHanging = false
    /// Its state is the entry's again. The copy here is of no use any more.
    private(set) var isHandedBack = false
    /// The backend's; nil with layers, which no request may pass by.
    private(set) var pageCache: PageCache?
    /// Those of the files of the image's chain, which layers ask for.
    private var pageCaches: [PageCache?] = []
    /// How many connections of this loop have it open.
    var users = 0
    /// This loop's way to make the image stable.
    var flush: LoopFlush
    /// Requests whose flush is under way, and those that wait for the next one.
    var flushing = RequestList()
    var waitingForFlush = RequestList()
    /// Requests that layers let wait for others.
    var waitingForOthers = RequestList()
    /// Commands that wait until the reservations are kept.
    var keeping = ReservationKeeping()
    /// Requests that wait until the drive's state is kept.
    var stateKeeping: StateKeeping
    /// These are being resumed now.
    var isWaking = false
    var ringShare = RingShare()
    var memory = PerAwaitedMemory { _ in MemoryShare() }
    /// The same for all loops.
    let gate: WriteGate
    let entry: ExportEntry
    /// The counters of this loop for it.
    let cells: ExportCells
    /// When it was last found that the kernel says what of a file is in the page cache, in seconds since the loop
    /// began, for each file. A process that becomes another user may no longer be told, and of some files only.
    var toldAt: [Int] = []
    var stored = StoredExtent()

    init(_ entry: ExportEntry, loop: Int) {
        served = entry.drive
        let targetName = Array((entry.target?.name.text ?? "").utf8)
        server = entry.server ?? entry.definition.deviceServer(targetName: targetName)
        backend = entry.backend
        backings = entry.backings
        recording = entry.definition.recording
        blocks = entry.takeBlocks()
        hasLayers = !blocks.isEmpty
        isTimed = served.drive.kind.isWholeDisk
        stateKeeping = StateKeeping(entry.definition.state)
        flush = entry.flushes.flush(ofLoop: loop)
        gate = entry.gate
        self.entry = entry
        cells = entry.counters.cells(of: loop)
        takePageCaches()
    }

    /// Gives back to the entry what the drive has and knows.
    mutating func handBack(fromHome isHome: Bool) {
        guard !isHandedBack else { return }
        isHandedBack = true
        if hasLayers { entry.keep(blocks) }
        guard isHome else { return }
        entry.keep(server)
        entry.publish(served)
    }

    /// A file of the image's chain: its own, or a backing file; or that of its recording.
    func backend(ofFile file: UInt8) -> Backend {
        if file == BackendRequest.recordingFile, let recording { return recording }
        return file == 0 ? backend : backings[Int(file) - 1]
    }

    /// The page cache of a file of the image's chain; nil if that has none, or if it may not be sent from.
    func pageCache(ofFile file: UInt8) -> PageCache? {
        Int(file) < pageCaches.count ? pageCaches[Int(file)] : nil
    }

    private mutating func takePageCaches() {
        pageCaches = ([backend] + backings).map(\.pageCache)
        toldAt = Array(repeating: -1, count: pageCaches.count)
        pageCache = hasLayers ? nil : backend.pageCache
    }

    /// The medium is another one, and nothing of the old one is in use.
    mutating func takeMedium() {
        backend = entry.backend
        takePageCaches()
        stored = StoredExtent()
    }

    /// A step of an initiator's command on its way through the unit.
    mutating func advance(
        command place: RequestPlace, _ event: ServingEvent, in tables: inout ServedTables, buffer: inout MutableRawSpan
    ) -> UnitStep {
        tables.advance(command: place, event, on: &served, by: &server, buffer: &buffer)
    }
}
