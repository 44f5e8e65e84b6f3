// Exports that are made for clients: of a name that they ask for, or for each of them.

import Backends
import Glibc
import Logging
import Loop
import Server
import Threads

/// An export that goes when nobody has used it for a while.
struct KeptExport {
    let seconds: Int
    /// How many times it had been opened when that was looked at.
    var openings = 0
    /// Since when nobody has had it open; nil: somebody has.
    var unusedSince: ContinuousClock.Instant?
}

extension ExportRegistry {
    /// Makes what a client asks for, on a thread that waits for images. The client is told what it can do about it.
    /// What else is wrong, and the names of files, are for the log.
    func make(_ making: ExportMaking) -> ExportMaking.Outcome {
        do {
            return .made(try state.withLock { try make(making, &$0) })
        } catch let refusal as MakingRefusal {
            return .refused("\(refusal)")
        } catch {
            logger.error(
                "export not made",
                metadata: [
                    "export": "\(making.name)", "template": "\(making.source.name)", "reason": "\(explained(error))",
                ])
            return .refused("the export cannot be made now; the server's log says why")
        }
    }

    private func make(_ making: ExportMaking, _ state: inout State) throws -> ExportHold {
        let source = making.source.name
        guard !making.source.isWithdrawn, let record = state.records[source], record.settings.copies != nil,
            let image = control.imageIdentity(ofTemplate: source)
        else { throw MakingRefusal.gone }
        let template = record.settings.template
        let isOwn = record.settings.isPerClient
        if !isOwn, let present = state.records[making.name], let hold = control.hold(making.name) {
            // Its own rules may keep the client out.
            guard present.origin == .template(source) else { throw MakingRefusal.gone }
            return hold
        }
        // One that has gone just now, too.
        forgetEnded(&state)
        let limits = [template?.most, isOwn ? record.settings.drive.maximumConnections : nil].compactMap(\.self)
        if let limit = limits.min(), state.records.values.count(where: { $0.origin == .template(source) }) >= limit {
            throw MakingRefusal.tooMany(source, limit)
        }
        try room.check(control.exportCount)
        let lifetime: Lifetime = isOwn ? .ofOneConnection : template?.keepSeconds == 0 ? .used : .kept
        let export = record.settings.made(
            named: isOwn ? "\(making.name)#\(making.connection)" : making.name, lifetime)
        // All clients' own disks are the same drive.
        let ordinal = isOwn ? record.ordinal : lowestUnusedOrdinal(&state)
        let opened = try state.settings.placed(export).open(
            ordinal: ordinal, waits: false, holder: control.exportName(of:))
        let hold: ExportHold
        do {
            guard opened.imageIdentity == image else { throw ImageChanged(image: record.settings.image) }
            hold = try control.addHeld(opened)
        } catch {
            opened.close()
            throw error
        }
        enter(made: ExportRecord(settings: export, ordinal: ordinal, origin: .template(source)), &state)
        if lifetime == .kept, let seconds = template?.keepSeconds {
            state.kept[export.name] = KeptExport(seconds: seconds)
            watchKept(&state)
        }
        return hold
    }

    /// Those of some exports that stand for others, and whose image is another one than when they came.
    func namesWithOtherImages(_ exports: [ExportSettings], _ state: State) -> Set<String> {
        Set(
            exports.filter { export in
                // One that cannot be opened now stays as it is: whoever asks for its exports is told so.
                guard export.copies != nil, let known = control.imageIdentity(ofTemplate: export.name),
                    let opened = try? state.settings.placed(export).open(
                        ordinal: 1, waits: false, holder: control.exportName(of:))
                else { return false }
                defer { opened.close() }
                return opened.imageIdentity != known
            }.map(\.name))
    }

    private func enter(made record: ExportRecord, _ state: inout State) {
        let name = record.settings.name
        state.records[name] = record
        logger.info("export made", metadata: ["export": "\(name)"])
        guard record.settings.lifetime != .ofOneConnection else { return }
        state.ordinals.take(record.ordinal)
        state.identities.add(record.settings, ordinal: record.ordinal)
        logger.warn(state.identities.warnings(about: name) { control.hasExport(named: $0) })
    }

    /// Those of which nobody will hear again, because they have gone with their last client, or an operator has
    /// removed them.
    private func forgetEnded(_ state: inout State) {
        let present = control.exportNames
        for (name, record) in state.records where !present.contains(name) {
            guard case .template = record.origin else { continue }
            state.records[name] = nil
            state.kept[name] = nil
            state.identities.remove(name)
        }
    }

    /// Removes the exports of templates that go.
    func removeMade(by templates: Set<String>, _ state: inout State) {
        for (name, record) in state.records {
            guard case .template(let source) = record.origin, templates.contains(source) else { continue }
            state.kept[name] = nil
            remove(name, .force, &state)
        }
    }

    /// A thread looks once a second at exports that are kept for a while, as long as there are some.
    private func watchKept(_ state: inout State) {
        guard !state.watchesKept else { return }
        state.watchesKept = startDetachedThread {
            repeat { poll(nil, 0, 1000) } while self.state.withLock { self.removeUnused(&$0) }
        }
    }

    /// - Returns: whether there are others.
    private func removeUnused(_ state: inout State) -> Bool {
        let now = ContinuousClock.now
        for (name, var kept) in state.kept {
            guard let use = control.use(of: name) else {
                state.kept[name] = nil
                continue
            }
            if use.clients > 0 {
                kept.unusedSince = nil
            } else if kept.unusedSince == nil || kept.openings != use.openings {
                kept.unusedSince = now
            }
            kept.openings = use.openings
            state.kept[name] = kept
            guard let since = kept.unusedSince, now - since >= .seconds(kept.seconds),
                (try? control.remove(name, .safe)) != nil
            else { continue }
            state.kept[name] = nil
            state.records[name] = nil
            state.identities.remove(name)
        }
        state.watchesKept = !state.kept.isEmpty
        return state.watchesKept
    }
}

/// Why an export is not made any more, in words for the log: all disks of one name begin alike.
struct ImageChanged: Error, CustomStringConvertible {
    let image: String

    var description: String {
        "the base has changed: '\(image)' is another file now, or has another size; 'spindle ctl reload', or adding the export again,"
            + " takes it, and removes the disks above the old one"
    }
}

/// Why an export is not made for a client, in words for it.
enum MakingRefusal: Error, CustomStringConvertible {
    case gone
    case tooMany(String, Int)

    var description: String {
        switch self {
        case .gone: "the export has just been removed, or has changed; connect again"
        case .tooMany(let name, let limit): "there are as many exports of '\(name)' as there may be: \(limit)"
        }
    }
}
