// The exports of a running server: which there are, who has them open, how they come and go.

import ATA
import Export
import IOUring
import Logging
import Media
import NBD
import Synchronization

/// One export of a running server, from its coming to its end.
final class ExportEntry: Sendable {
    /// Its place in the loops' tables; another export may have it when this one has ended.
    let number: Int
    let definition: ServedExport
    /// Where its writers meet.
    let gate: WriteGate
    let counters: ExportCounters
    /// The image is closed.
    let ended: EventCounter
    private let state: Mutex<State>

    private struct State {
        var drive: ExportedDrive
        var connectionCount = 0
        /// Nobody may open it any more.
        var isWithdrawn = false
        var failure: String?
    }

    init(
        number: Int, definition: ServedExport, drive: ExportedDrive, loopCount: Int
    ) throws(RingError) {
        self.number = number
        self.definition = definition
        gate = try WriteGate(loopCount: loopCount)
        counters = try ExportCounters(loopCount: loopCount)
        ended = try EventCounter()
        state = Mutex(State(drive: drive))
    }

    deinit {
        ended.close()
    }

    var name: String { definition.name }

    /// The drive as a loop begins with it.
    var drive: ExportedDrive { state.withLock { $0.drive } }

    var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// What came of opening an export.
    enum Opening: Equatable {
        /// It is open; so many other connections have it open, too.
        case opened(others: Int)
        /// Why it cannot be opened now.
        case refused(String)
    }

    /// A connection opens the export.
    func open() -> Opening {
        state.withLock {
            guard !$0.isWithdrawn else { return .refused("the export has just been removed") }
            if let limit = definition.maximumConnections, $0.connectionCount >= limit {
                return .refused("the export has as many connections as it may have: \(limit)")
            }
            $0.connectionCount += 1
            return .opened(others: $0.connectionCount - 1)
        }
    }

    /// A connection that had the export open has ended, and everything of it.
    ///
    /// - Returns: whether nothing more will come.
    func close() -> Bool {
        state.withLock {
            $0.connectionCount -= 1
            return $0.isWithdrawn && $0.connectionCount == 0
        }
    }

    /// Nobody may open the export any more; with `onlyIfUnused` only when nobody has it open.
    ///
    /// - Returns: how many connections have it open.
    func withdraw(onlyIfUnused: Bool) -> Int {
        state.withLock {
            if !onlyIfUnused || $0.connectionCount == 0 { $0.isWithdrawn = true }
            return $0.connectionCount
        }
    }

    /// Why the image could not be made stable in the end; nil if it could.
    var failure: String? { state.withLock { $0.failure } }

    /// Makes the image stable and closes it, and tells what no client had flushed. Nobody has it open, and nobody will.
    func end(_ logger: Logger) {
        let unflushed = unflushedBytes
        let code = definition.medium.synchronize()
        if code != 0 { state.withLock { $0.failure = errorText(code) } }
        definition.medium.close()
        gate.close()
        logEnd(logger, unflushed: unflushed)
        ended.signal()
    }

    /// The drive has another size from now on.
    func grow(toSectors sectors: UInt64) -> ExportedDrive {
        state.withLock {
            $0.drive = definition.drive(sectors: sectors)
            return $0.drive
        }
    }
}

/// All exports. What changes here is seen by handshakes that begin later.
final class ExportTable: Sendable {
    /// The exports as a handshake sees them: a value that stays as it is.
    struct Directory: Sendable {
        var entries: [ExportEntry] = []
        /// By entry.
        var information: [ExportInformation] = []

        func entry(named name: String) -> ExportEntry? { entries.first { $0.name == name } }
    }

    /// As many exports as a server can have at a time.
    static let capacity = 4096

    private let loopCount: Int
    private let state = Mutex(State())

    private struct State {
        var directory = Directory()
        /// Those that are removed, but not closed: some connections have them open.
        var withdrawn: [ExportEntry] = []
        var unusedNumbers: [Int] = []
        var numberCount = 0
    }

    init(loopCount: Int) {
        self.loopCount = loopCount
    }

    var directory: Directory { state.withLock { $0.directory } }

    /// Exports that only those see who have them open.
    var withdrawn: [ExportEntry] { state.withLock { $0.withdrawn } }

    /// Adds an export, behind all others.
    func add(_ definition: ServedExport) throws(ServerError) {
        let drive = definition.drive()
        let information: ExportInformation
        do {
            information = try definition.information(drive)
        } catch {
            throw .export(name: definition.name, error)
        }
        try state.withLock { state throws(ServerError) in
            guard state.directory.entry(named: definition.name) == nil else { throw .nameTaken(definition.name) }
            let number: Int
            if let unused = state.unusedNumbers.popLast() {
                number = unused
            } else {
                guard state.numberCount < Self.capacity else { throw .tooManyExports }
                number = state.numberCount
                state.numberCount += 1
            }
            do throws(RingError) {
                let entry = try ExportEntry(
                    number: number, definition: definition, drive: drive, loopCount: loopCount)
                state.directory.entries.append(entry)
                state.directory.information.append(information)
            } catch {
                state.unusedNumbers.append(number)
                throw .ring(error)
            }
        }
    }

    /// Takes an export out of the directory. With `onlyIfUnused` it stays when somebody has it open, and that is an error.
    func withdraw(_ name: String, onlyIfUnused: Bool) throws(ServerError) -> ExportEntry {
        try state.withLock { state throws(ServerError) in
            guard let index = state.directory.entries.firstIndex(where: { $0.name == name }) else {
                throw .noSuchExport(name)
            }
            let entry = state.directory.entries[index]
            let count = entry.withdraw(onlyIfUnused: onlyIfUnused)
            if onlyIfUnused && count > 0 { throw .inUse(name, connections: count) }
            state.directory.entries.remove(at: index)
            state.directory.information.remove(at: index)
            state.withdrawn.append(entry)
            return entry
        }
    }

    /// Puts exports into an order; those that are not named come behind, in theirs.
    func arrange(_ names: [String]) {
        let positions = Dictionary(uniqueKeysWithValues: zip(names, names.indices))
        state.withLock { state in
            let present = state.directory
            let order = present.entries.indices.sorted {
                (positions[present.entries[$0].name] ?? .max, $0) < (positions[present.entries[$1].name] ?? .max, $1)
            }
            state.directory = Directory(
                entries: order.map { present.entries[$0] }, information: order.map { present.information[$0] })
        }
    }

    /// Gives an export's drive another size.
    func grow(_ name: String, toSectors sectors: UInt64) throws(ServerError) -> ExportEntry {
        try state.withLock { state throws(ServerError) in
            guard let index = state.directory.entries.firstIndex(where: { $0.name == name }) else {
                throw .noSuchExport(name)
            }
            let entry = state.directory.entries[index]
            do throws(ExportInformationError) {
                state.directory.information[index] = try entry.definition.information(entry.grow(toSectors: sectors))
            } catch {
                throw .export(name: name, error)
            }
            return entry
        }
    }

    /// Withdrawn exports that nobody has open: whoever asks closes them, and then calls ``forget(_:)``.
    func takeEnded() -> [ExportEntry] {
        state.withLock { state in
            let ended = state.withdrawn.filter { $0.connectionCount == 0 }
            state.withdrawn.removeAll { entry in ended.contains { $0 === entry } }
            return ended
        }
    }

    /// Pages of mapped images no longer count as memory of this process. What is listed here is not closed.
    func dropMappedPages() {
        state.withLock { state in
            for entry in state.directory.entries + state.withdrawn { entry.definition.medium.dropMappedPages() }
        }
    }

    /// An export is closed; its number is free.
    func forget(_ entry: ExportEntry) {
        state.withLock { $0.unusedNumbers.append(entry.number) }
    }
}
