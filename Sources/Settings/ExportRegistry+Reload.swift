// New settings for a running server.

import Backends
import Logging
import Loop
import Server

extension ExportRegistry {
    /// Makes the exports those of new settings. Clients of an export whose settings are the same notice nothing; those
    /// of an export that goes or changes are disconnected. If anything cannot be opened, nothing changes.
    ///
    /// - Parameter file: where the settings stand.
    /// - Returns: what has changed, for people; with what did not work all the same, because an image that had to be
    ///   closed before could not be opened again.
    public func reload(_ settings: ServeSettings, file: SettingsFile) throws(SettingsErrors) -> [String] {
        do {
            return try state.withLock { state in
                let wanted = Set(settings.exports.map(\.name))
                let served = control.exportNames
                let old = state.records.values.filter {
                    served.contains($0.settings.name)
                        && ($0.origin == .configuration || wanted.contains($0.settings.name))
                }
                let moved = state.records.values.filter {
                    state.settings.placed($0.settings).target != settings.placed($0.settings).target
                }
                let plan = ReloadPlan(
                    from: old.map(\.settings).sorted { $0.name < $1.name }, to: settings.exports,
                    moved: namesWithOtherImages(settings.exports, state).union(moved.map(\.settings.name)))
                var change = Change(
                    plan, settings, moved.map(\.settings.name), state, usedOrdinals(state, without: plan.removed))
                try change.open(file, room, control)
                return perform(change, &state)
            }
        } catch let errors as SettingsErrors {
            throw errors
        } catch {
            preconditionFailure("nothing else is thrown")
        }
    }

    /// Performs a change whose exports are open as far as they can be.
    private func perform(_ change: Change, _ state: inout State) -> [String] {
        var lines = [change.plan.summary]
        var replaced: [String: ExportRecord] = [:]
        for gone in state.watches where change.goneDirectories.contains(gone.settings) {
            gone.watch.end()
            for (name, record) in state.records {
                if case .directory(gone.settings, _) = record.origin { remove(name, .force, &state) }
            }
            state.leftOut = state.leftOut.filter { $0.value.directory != gone.settings.path }
        }
        state.watches.removeAll { change.goneDirectories.contains($0.settings) }
        let goingNames = change.plan.removed + change.plan.changed.map(\.name)
        removeMade(by: Set(goingNames), &state)
        for name in goingNames {
            replaced[name] = state.records[name]
            remove(name, .force, &state)
        }
        let moved = takeMoved(change, &state)
        for name in change.plan.unchanged { state.records[name]?.origin = .configuration }
        for export in change.plan.added + change.plan.changed {
            let ordinal = change.ordinals[export.name] ?? 1
            do {
                try serve(
                    try change.opened[export.name]
                        ?? change.settings.placed(export).open(
                            ordinal: ordinal, holder: control.exportName(of:)))
                enter(ExportRecord(settings: export, ordinal: ordinal, origin: .configuration), &state)
            } catch {
                lines.append("export '\(export.name)' cannot be served: \(error)")
                restore(replaced[export.name], &state)
            }
        }
        control.arrange(change.settings.exports.map(\.name))
        state.settings = change.settings
        for record in moved {
            restore(record, &state)
            lines.append("export '\(record.settings.name)' has another place among the targets")
        }
        for directory in change.settings.directories {
            if change.newDirectories.contains(directory) {
                watch(directory, &state)
            } else {
                lines += listAgain(directory, &state)
            }
        }
        return lines + change.settings.missingUnits(present: control.exportNames).map(\.description)
    }

    /// Lists a directory that was there before: its path may lead to another one by now, and files that were left out
    /// for the sake of other exports may have their turn.
    ///
    /// - Returns: what has changed, for people.
    private func listAgain(_ directory: DirectorySettings, _ state: inout State) -> [String] {
        guard let index = state.watches.firstIndex(where: { $0.settings == directory }) else { return [] }
        let before = Set(fileNames(of: directory, state))
        state.leftOut = state.leftOut.filter { $0.value.directory != directory.path }
        state.watches[index].failure = nil
        compare(directory, &state)
        state.watches[index].watch.look()
        let after = Set(fileNames(of: directory, state))
        let changes = ReloadPlan.words(
            added: after.subtracting(before).sorted(), removed: before.subtracting(after).sorted())
        var lines = changes.isEmpty ? [] : ["directory '\(directory.path)': \(changes)"]
        if let failure = state.watches[index].failure { lines.append(failure) }
        return lines
    }

    /// Removes exports that no settings name, and that get another place among the targets: they come again when all
    /// places are free.
    private func takeMoved(_ change: Change, _ state: inout State) -> [ExportRecord] {
        change.moved.sorted().compactMap { name in
            guard control.hasExport(named: name), let record = state.records[name], record.origin != .configuration
            else { return nil }
            remove(name, .force, &state)
            return record
        }
    }

    /// Brings an export back as it was, but for its target, which the settings say.
    private func restore(_ record: ExportRecord?, _ state: inout State) {
        guard let record else { return }
        do {
            try serve(
                try state.settings.placed(record.settings).open(
                    ordinal: record.ordinal, expected: record.origin.file))
            enter(record, &state)
        } catch {
            logger.error(
                "export lost", metadata: ["export": "\(record.settings.name)", "reason": "\(error)"])
        }
    }
}

/// The way to new settings, and what was opened for it.
private struct Change {
    let plan: ReloadPlan
    let settings: ServeSettings
    let goneDirectories: [DirectorySettings]
    let newDirectories: [DirectorySettings]
    /// The names of exports that may have another place among the targets.
    let moved: [String]
    /// The places of the drives that are new or have changed.
    private(set) var ordinals: [String: Int] = [:]
    private(set) var opened: [String: ServedExport] = [:]
    /// The files of exports that go: until then they are locked.
    private let freed: Set<String>

    init(
        _ plan: ReloadPlan, _ settings: ServeSettings, _ moved: [String], _ state: ExportRegistry.State,
        _ usedOrdinals: [Int]
    ) {
        self.plan = plan
        self.moved = moved
        self.settings = settings
        let present = state.watches.map(\.settings)
        let gone = present.filter { !settings.directories.contains($0) }
        goneDirectories = gone
        newDirectories = settings.directories.filter { !present.contains($0) }
        let names = Set(plan.removed + plan.changed.map(\.name))
        freed = state.records.values.filter { record in
            if case .directory(let directory, _) = record.origin, gone.contains(directory) { return true }
            return names.contains(record.settings.name)
        }.reduce(into: []) { $0.formUnion($1.settings.files) }
        var used = usedOrdinals
        for export in plan.changed { ordinals[export.name] = state.records[export.name]?.ordinal }
        for export in plan.added {
            let ordinal = SerialNumber.lowestUnused(used)
            used.append(ordinal)
            ordinals[export.name] = ordinal
        }
    }

    /// Opens what is new or has changed, but for what cannot be opened before it is closed; throws if anything else is
    /// in the way, and has nothing open then.
    mutating func open(
        _ file: SettingsFile, _ room: ExportRoom, _ control: ServerControl
    ) throws(SettingsErrors) {
        var errors: [SettingsError] = []
        // After one was in use for a whole second, the next ones are not waited for.
        var hasWaited = false
        if settings.exports.count > room.exports {
            errors.append(SettingsError("there are \(settings.exports.count) exports: \(room.reason)"))
        }
        for export in errors.isEmpty ? plan.added + plan.changed : [] {
            let isFreed = !freed.isDisjoint(with: export.files)
            do {
                let present = opened.values
                opened[export.name] = try settings.placed(export).open(
                    ordinal: ordinals[export.name] ?? 1, waits: !isFreed && !hasWaited,
                    holder: { file in
                        present.first { $0.uses(file) }?.name ?? control.exportName(of: file)
                    })
            } catch ImageError.locked where isFreed {
                continue
            } catch StateFileError.inUse where isFreed {
                continue
            } catch {
                if case ImageError.locked = error { hasWaited = true }
                errors.addOnce(file.error(ofExport: export.name, "\(error)"))
            }
        }
        for (index, directory) in settings.directories.enumerated() where newDirectories.contains(directory) {
            do {
                _ = try directory.listing()
            } catch {
                errors.append(file.error(of: directory, at: index, "\(error)"))
            }
        }
        guard errors.isEmpty else {
            for export in opened.values { export.close() }
            throw SettingsErrors(file: file.path, errors)
        }
    }
}
