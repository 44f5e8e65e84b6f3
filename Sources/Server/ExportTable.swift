// The exports of a running server: which there are, how they come and go.

import Backends
import Export
import IOUring
import ISCSI
import Logging
import Loop
import NBD
import Synchronization
import Units

/// All exports. Handshakes that begin later see changes here.
final class ExportTable: ExportSource {
    /// A withdrawn export has lost its last connection.
    let ended: EventCounter
    private let loopCount: Int
    /// The text before an export's name in that of its target; nil: there is no endpoint for initiators.
    private let targetPrefix: TargetName?
    /// Where persistent reservations are kept; nil: nowhere.
    private let reservations: ReservationFolder?
    private let logger: Logger
    private let images = OpenImages()
    /// Exports that clients wait for.
    let makings = Makings()
    private let state = Mutex(State())

    private struct State {
        var directory = ExportDirectory()
        /// Those that are removed, but not closed: some connections have them open.
        var withdrawn: [ExportEntry] = []
        var unusedNumbers: [Int] = []
        var numberCount = 0
        var removalCount = 0

        /// Takes out of the directory what has gone with its last client.
        mutating func setAsideEnded() {
            // Whoever removes one that is there without a limit takes it out at once.
            let ended = directory.entries.indices.filter { index in
                directory.entries[index].definition.lifetime != .unlimited && directory.entries[index].hasEnded
            }
            guard !ended.isEmpty else { return }
            for index in ended.reversed() {
                withdrawn.append(directory.entries.remove(at: index))
                directory.information.remove(at: index)
            }
            directory.version += 1
            removalCount += ended.count
        }
    }

    init(
        loopCount: Int, targetPrefix: TargetName? = .standardPrefix, reservations: ReservationFolder?, logger: Logger
    ) throws(RingError) {
        self.loopCount = loopCount
        self.targetPrefix = targetPrefix
        self.reservations = reservations
        self.logger = logger
        ended = try EventCounter()
    }

    func noteEnd() { ended.signal() }

    func make(_ making: ExportMaking) -> Bool { makings.add(making) }

    var directory: ExportDirectory { state.withLock { $0.directory } }

    /// How many exports were taken out of the directory so far.
    var removalCount: Int { state.withLock { $0.removalCount } }

    /// Exports that only those see who have them open.
    var withdrawn: [ExportEntry] { state.withLock { $0.withdrawn } }

    /// Adds an export, behind all others. If that fails, its medium is as it was.
    @discardableResult
    func add(_ definition: ServedExport) throws(ServerError) -> (ExportEntry, ExportInformation) {
        let drive = definition.drive
        let information: ExportInformation
        do {
            information = try definition.information(drive)
        } catch {
            throw .export(name: definition.name, error)
        }
        // Not under the lock, which handshakes take: files are opened.
        let flushes: ImageFlushes
        do {
            // With layers, only one loop serves it.
            flushes = try ImageFlushes(
                definition.backend, loopCount: definition.hasLayers ? 1 : loopCount, in: images)
        } catch {
            throw .image(name: definition.name, error)
        }
        var definition = definition
        // The next disk of the name is a fresh one, which nobody has reserved.
        if definition.lifetime == .unlimited, definition.copies == nil {
            definition.reservations = keptReservations(of: definition.name)
        }
        do throws(ServerError) {
            let added = try add(definition, drive, information, flushes)
            if definition.isRepaired { noteRepair(definition.name) }
            return added
        } catch {
            definition.reservations?.close()
            flushes.abandon()
            throw error
        }
    }

    /// Whoever had an image before did not end in order.
    private func noteRepair(_ name: String) {
        logger.notice(
            "image repaired",
            metadata: [
                "export": "\(name)",
                "reason": "it was marked as dirty: whoever wrote it last has not closed it. It has new refcounts",
            ])
    }

    /// Opens the file that has an export's reservations. Without it the export is served, and keeps none: the file may
    /// be of use to somebody.
    private func keptReservations(of name: String) -> KeptReservations? {
        guard let reservations else { return nil }
        var reason = ReservationFileError.torn
        do throws(ReservationFileError) {
            let file = try reservations.file(of: name)
            if let kept = KeptReservations(file) {
                if file.hasTornPlace { noteTornPlace(name, reservations) }
                return kept
            }
            file.close()
        } catch {
            reason = error
        }
        logger.error(
            "the export is served without the reservations that were kept of it, and keeps none",
            metadata: [
                "export": "\(name)", "file": "\(reservations.filePath(of: name))", "reason": "\(reason)",
            ])
        return nil
    }

    /// The last change of reservations was not finished, or is lost; the file cannot tell.
    private func noteTornPlace(_ name: String, _ reservations: ReservationFolder) {
        logger.warning(
            "the last change of an export's reservations is lost; those before it hold",
            metadata: [
                "export": "\(name)", "file": "\(reservations.filePath(of: name))",
                "reason": """
                one of the file's two places is torn: if the power failed during a change, no initiator was told \
                that it is done; if not, the file is damaged, and initiators should look at their reservations
                """,
            ])
    }

    private func add(
        _ definition: ServedExport, _ drive: ExportedDrive, _ information: ExportInformation, _ flushes: ImageFlushes
    ) throws(ServerError) -> (ExportEntry, ExportInformation) {
        return try state.withLock { state throws(ServerError) in
            state.setAsideEnded()
            guard state.directory.entry(named: definition.name) == nil else { throw .nameTaken(definition.name) }
            let number: Int
            if let unused = state.unusedNumbers.popLast() {
                number = unused
            } else {
                guard state.numberCount < Limits.exports else { throw .tooManyExports }
                number = state.numberCount
                state.numberCount += 1
            }
            do throws(RingError) {
                let (target, neighbour) = place(of: definition, state)
                let entry = try ExportEntry(
                    number: ExportNumber(number), definition: definition, drive: drive, flushes: flushes,
                    target: target, neighbour: neighbour, loopCount: loopCount)
                state.directory.entries.append(entry)
                state.directory.information.append(information)
                state.directory.version += 1
                return (entry, information)
            } catch {
                state.unusedNumbers.append(number)
                throw .ring(error)
            }
        }
    }

    /// Where initiators find an export, and another one of that target. If somebody else is there already, they do not
    /// find it: it may be for clients of NBD.
    private func place(of definition: ServedExport, _ state: State) -> (TargetPlace?, ExportEntry?) {
        guard let targetPrefix, definition.lifetime != .ofOneConnection else { return (nil, nil) }
        if let copies = definition.copies {
            guard copies.areOwn else { return (nil, nil) }
            logger.warning(
                "the export has no iSCSI target: only clients of NBD can have disks of their own",
                metadata: ["export": "\(definition.name)"])
            return (nil, nil)
        }
        guard let target = TargetPlace(export: definition.name, definition.target, prefix: targetPrefix) else {
            logger.warning(
                "the export has no iSCSI target: its name is empty, or too long for one",
                metadata: ["export": "\(definition.name)"])
            return (nil, nil)
        }
        if let other = state.directory.occupant(of: target) {
            logger.warning(
                "the export has no iSCSI target: another one has its name",
                metadata: ["export": "\(definition.name)", "target": "\(target.name.text)", "other": "\(other.name)"])
            return (nil, nil)
        }
        // Sessions may still have one that was removed.
        let neighbour = (state.directory.entries + state.withdrawn).first { $0.target?.name == target.name }
        return (target, neighbour)
    }

    /// The place that an export asks for, if initiators find another one there.
    func occupied(_ export: String, _ options: TargetOptions) -> (TargetPlace, by: ExportEntry)? {
        guard let targetPrefix, let place = TargetPlace(export: export, options, prefix: targetPrefix) else {
            return nil
        }
        return directory.occupant(of: place).map { (place, $0) }
    }

    /// Takes an export out of the directory. With `onlyIfUnused` it stays when somebody has it open, and that is an
    /// error.
    ///
    /// - Returns: how many connections have it open.
    @discardableResult
    func withdraw(_ entry: ExportEntry, onlyIfUnused: Bool) throws(ServerError) -> Int {
        try state.withLock { state throws(ServerError) in
            state.setAsideEnded()
            guard let index = state.directory.entries.firstIndex(where: { $0 === entry }) else {
                throw .noSuchExport(entry.name)
            }
            let count = entry.withdraw(onlyIfUnused: onlyIfUnused)
            if onlyIfUnused && count > 0 { throw .inUse(entry.name, connections: count) }
            state.directory.entries.remove(at: index)
            state.directory.information.remove(at: index)
            state.directory.version += 1
            state.withdrawn.append(entry)
            state.removalCount += 1
            return count
        }
    }

    /// The export that clients open by a name.
    func entry(named name: String) throws(ServerError) -> ExportEntry {
        guard let entry = directory.entry(named: name) else { throw .noSuchExport(name) }
        return entry
    }

    /// Puts exports into an order; those that are not named come behind, in theirs.
    func arrange(_ names: [String]) {
        let positions = Dictionary(uniqueKeysWithValues: zip(names, names.indices))
        state.withLock { state in
            let present = state.directory
            let order = present.entries.indices.sorted {
                (positions[present.entries[$0].name] ?? .max, $0) < (positions[present.entries[$1].name] ?? .max, $1)
            }
            state.directory = ExportDirectory(
                entries: order.map { present.entries[$0] }, information: order.map { present.information[$0] })
        }
    }

    /// Handshakes that begin later are told what an export's drive has become.
    func refresh(_ entry: ExportEntry) throws(ServerError) {
        try state.withLock { state throws(ServerError) in
            guard let index = state.directory.entries.firstIndex(where: { $0 === entry }) else {
                throw .noSuchExport(entry.name)
            }
            do throws(ExportInformationError) {
                state.directory.information[index] = try entry.definition.information(entry.drive)
            } catch {
                throw .export(name: entry.name, error)
            }
        }
    }

    /// An export that has gone has no size.
    func noteSize(of entry: ExportEntry) { try? refresh(entry) }

    /// Withdrawn exports that nobody has open: the caller closes them, and then calls ``forget(_:)``.
    func takeEnded() -> [ExportEntry] {
        state.withLock { state in
            state.setAsideEnded()
            let ended = state.withdrawn.filter { $0.connectionCount == 0 }
            state.withdrawn.removeAll { entry in ended.contains { $0 === entry } }
            return ended
        }
    }

    /// Pages of mapped images no longer count as memory of this process. Exports that are listed here are not closed.
    func dropMappedPages() {
        state.withLock { state in
            for entry in state.directory.entries + state.withdrawn {
                entry.dropMappedPages()
            }
        }
    }

    /// An export is closed; its number is free.
    func forget(_ entry: ExportEntry) {
        state.withLock { $0.unusedNumbers.append(entry.number.number) }
    }
}
