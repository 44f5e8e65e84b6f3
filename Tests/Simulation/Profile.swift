// What kind of a run a seed makes. Runs differ in what is likely, so that rare things are usual in some of them.

import Blocks
import IOUring
import Seeded
import SimulatedKernel

/// The chances of one run.
struct Profile {
    var loops = 1
    var entries: UInt32 = 1024
    var completions: UInt32 = 4096
    var processors = 2
    var imageBytes = 256 << 10
    var cellBytes = 128
    var images = 1
    var writesThrough = false
    /// Clients look as if they came over TCP, all from one host.
    var areRemote = false
    /// READs may be sent from the page cache.
    var isMapped = true
    /// What a socket holds of what is sent to it.
    var sendBufferBytes: Int32 = 1 << 20
    /// The file system is one that may wait where it is asked not to.
    var needsThread = false
    /// So many clients at a time, and requests of each.
    var clients = 3
    var depth = 8
    var maximumConnections: Int?
    /// Of a hundred requests.
    var reads = 35
    var writes = 40
    /// The largest request in cells, and the most of them.
    var largestCells = 64
    /// So many clients in a million steps stall, vanish, finish.
    var stalls = 0
    var vanishings = 200
    var finishes = 100
    /// Things that an operator does.
    var operations = 0
    /// The clock jumps.
    var jumps = 0
    /// What is likely to come next.
    var loopWeight = 4
    var kernelWeight = 4
    var clientWeight = 4
    var workerWeight = 2
    /// Steps until nothing new is begun.
    var steps = 1500
    /// How the lives of the server end, the last one well.
    var endings: [Ending] = []
    /// How long a worker takes.
    var workerDelay: ClosedRange<UInt64> = 1000...20_000
    var slowWorkers = 0
    var behaviour = Behaviour()
    /// Of a hundred clients, so many are iSCSI initiators; and of so many million of their requests each is a reset.
    var initiators = 0
    var resets = 0
    /// The numbers of the images as logical units of one target; empty: each has a target of its own.
    var logicalUnits: [UInt8] = []
    /// Of so many million requests of initiators each is about persistent reservations, which are kept.
    var reservations = 0
    /// How long it takes to keep them, and so many writes of a million fail.
    var keepingDelay: ClosedRange<UInt64> = 0...0
    var failedKeepings = 0
    /// Of so many million answers to them each is the last thing that the server does, if its life ends suddenly.
    var killsAtChanges = 0
    /// What is wrong with the medium of each image.
    var faults: [Fault] = []
    /// The same, below all layers that keep something.
    var imageFaults: [Fault] = []
    /// How much of what it has answered a drive keeps from its image; 0: nothing.
    var cacheBytes = 0
    /// Images are only read, and drives are overlays above them.
    var areOverlays = false
    /// Images are only read, and changes are kept in qcow2 images above them.
    var keepsChanges = false
    /// All that drives execute is recorded.
    var isRecorded = false
    /// An operator takes snapshots of overlays, and goes back to them.
    var takesSnapshots = false

    enum Ending {
        /// Clients finish, then the server stops.
        case quiet
        /// The server stops in the middle of everything.
        case stop
        /// The process is killed: what it had written is there.
        case kill
        /// The machine loses power: what was not flushed may be gone.
        case powerFailure
    }

    init(_ numbers: inout SeededGenerator) {
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &numbers)] }
        func often(_ millionths: Int) -> Bool { Int.random(in: 0..<1_000_000, using: &numbers) < millionths }
        loops = pick([1, 1, 2, 2, 3])
        entries = pick([8, 64, 1024, 1024])
        completions = pick([16, 64, 4096, 4096])
        processors = pick([1, 2, 4, 16])
        images = pick([1, 1, 1, 2])
        writesThrough = often(200_000)
        needsThread = often(200_000)
        areRemote = often(400_000)
        isMapped = often(700_000)
        sendBufferBytes = pick([4608, 16384, 1 << 20])
        clients = pick([1, 2, 3, 4, 6])
        depth = pick([1, 4, 16, 64])
        maximumConnections = often(100_000) ? Int.random(in: 1...2, using: &numbers) : nil
        reads = pick([10, 35, 60])
        writes = pick([15, 30, 38])
        largestCells = pick([4, 16, 64, 400, 2000])
        if often(120_000) {
            // Requests that need the loops' memory.
            (imageBytes, cellBytes, largestCells, depth) = (6 << 20, 4096, 1500, 4)
        } else {
            imageBytes = pick([16 << 10, 64 << 10, 256 << 10])
        }
        stalls = pick([0, 0, 300, 2000])
        vanishings = pick([0, 200, 3000])
        finishes = pick([0, 100, 2000])
        operations = pick([0, 0, 2000])
        jumps = pick([0, 0, 500])
        loopWeight = pick([1, 4, 10])
        kernelWeight = pick([1, 4, 10])
        clientWeight = pick([1, 4, 10])
        workerWeight = pick([1, 4])
        steps = pick([300, 1000, 2000])
        let lives = pick([1, 2, 2, 3])
        endings =
            (1..<lives).map { _ in pick([.kill, .powerFailure, .powerFailure]) } + [pick([.quiet, .quiet, .stop])]
        // After a slow one, the ring does the writes.
        slowWorkers = pick([0, 20_000, 300_000])
        behaviour = Self.behaviour(cellBytes, &numbers)
        // Where each write waits for the disk, a queue of them would outlast a server that stops.
        if writesThrough { behaviour.slowFileDelay = 1_000_000...50_000_000 }
    }

    private static func behaviour(_ cellBytes: Int, _ numbers: inout SeededGenerator) -> Behaviour {
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &numbers)] }
        var behaviour = Behaviour()
        behaviour.transferUnitBytes = cellBytes
        behaviour.shortFileTransfers = pick([0, 20_000, 200_000])
        behaviour.shortSocketTransfers = pick([0, 50_000, 300_000])
        behaviour.endedMultishots = pick([0, 20_000])
        behaviour.failedAccepts = pick([0, 0, 100_000])
        behaviour.lacksHoles = pick([false, false, true])
        behaviour.lacksZeroRanges = pick([false, true])
        behaviour.fileDelay = pick([0...0, 0...50_000, 0...1_000_000])
        behaviour.otherDelay = pick([0...0, 0...20_000])
        behaviour.slowFileOperations = pick([0, 10_000, 100_000])
        behaviour.slowFileDelay = pick([1_000_000...50_000_000, 1_000_000...400_000_000])
        if pick([false, false, true]) {
            behaviour.failedReads = 5000
            behaviour.failedWrites = 5000
            behaviour.failedAllocations = 5000
            behaviour.failedFlushes = pick([0, 0, 20_000])
        }
        behaviour.resets = pick([0, 0, 500])
        behaviour.missedEnds = pick([0, 500_000])
        return behaviour
    }

    /// Faults that a client may notice as errors, as short transfers or as time.
    ///
    /// - Parameter numbers: none of those that the rest of a run comes from.
    mutating func chooseFaults(_ numbers: inout SeededGenerator) {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
        guard number(1...4) == 1 else { return }
        faults = (0..<number(1...4)).map { _ in
            // A write that fails, or is done in pieces, ends between two cells.
            let unit = max(512, cellBytes)
            let start = UInt64(number(0...imageBytes / unit - 1) * unit)
            let range = start..<start + UInt64(number(1...imageBytes))
            return switch number(1...4) {
            case 1: Fault(.unreadable(.unrecovered), range, count: number(1...40))
            case 2: Fault(.unwritable(number(0...1) == 0 ? .unrecovered : .noSpace), range, count: number(1...40))
            // All delays together are shorter than anybody may wait.
            case 3: Fault(.delay(milliseconds: UInt32(number(1...10))), range, count: number(1...100))
            default: Fault(.short(bytes: UInt64(number(1...8) * unit)), range)
            }
        }
        // A request in a thousand pieces, each of which is slow, would take longer than a server takes to stop.
        behaviour.slowFileOperations = 0
        behaviour.fileDelay = 0...50_000
        chooseTurns(&numbers)
    }

    /// Initiators beside the clients of NBD.
    ///
    /// - Parameter numbers: none of those that the rest of a run comes from.
    mutating func chooseInitiators(_ numbers: inout SeededGenerator) {
        func pick(_ values: [Int]) -> Int { values[Int.random(in: 0..<values.count, using: &numbers)] }
        initiators = pick([0, 0, 30, 60, 100])
        resets = pick([0, 0, 5000])
        if initiators > 0 { vanishings = pick([200, 1000, 2000]) }
    }

    /// Targets with several units, which come and go, and reservations.
    ///
    /// - Parameter numbers: none of those that the rest of a run comes from.
    mutating func chooseUnits(_ numbers: inout SeededGenerator) {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
        // All images together stay small.
        guard initiators > 0, imageBytes <= 256 << 10 else { return }
        if number(1...2) == 1 {
            images = number(1...4)
            let chosen = [[0, 1, 2, 3], [0, 2, 3, 63], [1, 2, 5, 6]][number(0...2)]
            logicalUnits = chosen.prefix(images).map { UInt8($0) }
            maximumConnections = nil
            operations = [0, 2000, 5000][number(0...2)]
        }
        if number(1...2) == 1 {
            reservations = [50_000, 200_000][number(0...1)]
            keepingDelay = [0...0, 0...500_000, 0...5_000_000][number(0...2)]
            failedKeepings = [0, 0, 100_000][number(0...2)]
            if number(1...2) == 2 {
                killsAtChanges = 200_000
                keepingDelay = 0...5_000_000
                endings.insert(contentsOf: [.kill, .kill], at: 0)
            }
        }
    }

    /// Layers that keep what is written.
    ///
    /// - Parameter numbers: none of those that the rest of a run comes from.
    mutating func chooseKeepers(_ numbers: inout SeededGenerator) {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
        // Of a large image every look at all of it would take long.
        guard imageBytes <= 256 << 10, number(1...4) == 1 else { return }
        let kind = number(1...5)
        if kind != 1 { cacheBytes = [4096, 32 << 10, 1 << 20][number(0...2)] }
        areOverlays = kind <= 2
        // A FLUSH takes a cache to the image in many pieces, one after the other.
        behaviour.slowFileOperations = 0
        behaviour.fileDelay = 0...20_000
        slowWorkers = min(slowWorkers, 20_000)
    }

    /// Other layers that keep what is written, or an account of it.
    ///
    /// - Parameter numbers: none of those that the rest of a run comes from.
    mutating func chooseLayers(_ numbers: inout SeededGenerator) {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
        guard imageBytes <= 256 << 10, number(1...4) == 1 else { return }
        let kind = number(1...6)
        isRecorded = kind <= 3
        if kind >= 3 && kind <= 5 {
            (keepsChanges, areOverlays) = (true, false)
            // They are for the bytes of a raw image.
            imageFaults = []
        } else if kind == 6, logicalUnits.isEmpty, reservations == 0 {
            areOverlays = true
            takesSnapshots = true
            operations = max(operations, 3000)
        }
        // Tables, and entries, are written one after the other.
        behaviour.slowFileOperations = 0
        behaviour.fileDelay = 0...10_000
        slowWorkers = min(slowWorkers, 20_000)
    }

    /// Requests that wait for each other in layers, and layers that say what is stored.
    private mutating func chooseTurns(_ numbers: inout SeededGenerator) {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
        for _ in 0..<number(0...3) {
            let start = UInt64(number(0...imageBytes - 1))
            let range = start..<start + UInt64(number(1...imageBytes))
            let fault = Fault(number(0...2) == 0 ? .extent(isMapped: true) : .inTurn, range)
            if number(0...1) == 0 { faults.append(fault) } else { imageFaults.append(fault) }
        }
        // What is done one after the other takes as long as all of it.
        if (faults + imageFaults).contains(where: { $0.kind == .inTurn }) { behaviour.fileDelay = 0...2000 }
    }

    /// Bytes of which a layer says that they are stored.
    func isSaidToBeStored(_ range: Range<UInt64>) -> Bool {
        (faults + imageFaults).contains { $0.kind == .extent(isMapped: true) && $0.range.overlaps(range) }
    }

    /// Requests may fail for reasons of the medium.
    var mayFail: Bool {
        let isFaulty = faults.contains {
            switch $0.kind {
            case .unreadable, .unwritable: true
            default: false
            }
        }
        return isFaulty
            || behaviour.failedReads + behaviour.failedWrites + behaviour.failedAllocations + behaviour.failedFlushes
                > 0
    }
}
