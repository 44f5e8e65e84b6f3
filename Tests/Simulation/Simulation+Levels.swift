// What an operator does with overlays in memory: keeps what they have, goes back, and begins others with it.

import Blocks
import SimulatedKernel

@testable import Backends
@testable import Loop
@testable import Server

/// What an overlay had at some time.
struct SimulatedSnapshot {
    let name: String
    let levels: [FrozenLevel]
    let content: [UInt8]
}

/// What is to be done with an overlay, when its clients are gone.
enum LevelWork {
    case snapshot
    /// nil: to the image.
    case revert(SimulatedSnapshot?)
}

extension Simulation {
    /// What `ServerControl.takeSnapshot` and `revert` begin with.
    func keepOrRevert(_ image: SimulatedImage, _ server: SimulatedServer) throws {
        guard image.isOverlaid, !image.isEnding else { return }
        let entry = try server.shared.exports.entry(named: image.name)
        let work: OverlayWork
        if Bool.random(using: &layers) {
            (image.levelWork, work) = (.snapshot, .snapshot)
        } else {
            work = .revert
            let kept = image.snapshots.map(Optional.some) + [nil]
            image.levelWork = .revert(kept[Int.random(in: 0..<kept.count, using: &layers)])
        }
        note("\(image.name): \(image.snapshots.count) snapshots, clients are cut off")
        (image.isEnding, hasDropped) = (true, true)
        entry.switchOff(.overlayWork(work))
        server.shared.loops.cutOff(entry)
    }

    /// Goes on where clients have gone.
    func noteLevels(_ server: SimulatedServer) throws {
        for image in images {
            guard let work = image.levelWork else { continue }
            let entry = try server.shared.exports.entry(named: image.name)
            guard entry.connectionCount == 0 else { continue }
            for client in clients where client.image === image { client.close() }
            let content =
                switch work {
                case .snapshot: try takeSnapshot(of: image, entry)
                case .revert(let snapshot): try revert(image, to: snapshot, entry)
                }
            try image.beginAgain(with: content)
            (image.levelWork, image.servedSince) = (nil, now)
            entry.switchOn()
            try server.shared.exports.refresh(entry)
        }
    }

    /// Nothing is left of what was written since, and what was different is told.
    private func revert(
        _ image: SimulatedImage, to snapshot: SimulatedSnapshot?, _ entry: ExportEntry
    ) throws -> [UInt8] {
        let name = snapshot?.name ?? "the beginning"
        let before = try disk(of: entry, image.levels)
        let changed = try entry.revert(to: snapshot?.name).changed
        image.levels = snapshot?.levels ?? []
        let content = try disk(of: entry, image.levels)
        guard content == snapshot?.content ?? SimulatedDisk.content(of: image.descriptor) else {
            throw Violation("\(image.name) is reverted, and not what it was at \(name)")
        }
        for sector in 0..<content.count / 512 {
            let bytes = sector * 512..<(sector + 1) * 512
            guard content[bytes] != before[bytes] else { continue }
            guard changed?.ranges.contains(where: { $0.contains(UInt64(sector)) }) == true else {
                throw Violation("\(image.name) is reverted to \(name), and sector \(sector) is said to be as it was")
            }
        }
        note("\(image.name) is reverted to \(name)")
        return content
    }

    /// A snapshot has all that was answered, and so has the disk.
    private func takeSnapshot(of image: SimulatedImage, _ entry: ExportEntry) throws -> [UInt8] {
        let time = event()
        let name = "at \(time)"
        try entry.takeSnapshot(name)
        image.levels = entry.levels(ofSnapshot: name) ?? []
        let content = try disk(of: entry, image.levels)
        let reason = content.withUnsafeBytes { image.model.check($0, from: 0, .read(began: time, ended: time)) }
        if let reason { throw Violation("a snapshot of \(image.name): \(reason)") }
        if image.snapshots.count == 4 {
            let gone = image.snapshots.remove(at: Int.random(in: 0..<4, using: &layers))
            try entry.discard(snapshot: gone.name)
        }
        image.snapshots.append(SimulatedSnapshot(name: name, levels: image.levels, content: content))
        note("\(image.name) has a snapshot \(name), of \(image.levels.count) levels")
        return content
    }

    /// What an overlay has that nobody has open.
    private func disk(of entry: ExportEntry, _ levels: [FrozenLevel]) throws -> [UInt8] {
        let kept = entry.takeBlocks()
        defer { entry.keep(kept) }
        var blocks = kept
        // The cache is empty, and has no power.
        (blocks.faults, blocks.writeCache, blocks.imageFaults) = (nil, nil, nil)
        let files = [entry.backend] + levels.map(\.backend) + entry.definition.backings
        var bytes = [UInt8](repeating: 0, count: Int(entry.drive.sizeBytes))
        let isRead = bytes.withUnsafeMutableBytes {
            blocks.performNow(BackendRequest(.read, length: UInt64($0.count)), $0) { request, bytes in
                files[Int(request.file)].readNow(into: bytes, at: request.offset)
            }
        }
        guard isRead else { throw Violation("\(entry.name) cannot be read") }
        return bytes
    }
}
