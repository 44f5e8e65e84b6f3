// What an operator does to an overlay while nobody has it open: its layers are here.

import Backends
import Blocks
import Glibc
import IOUring
import Synchronization
import Threads

/// What an overlay in memory had at a moment that has a name.
struct OverlaySnapshot {
    let name: String
    /// The newest first.
    let levels: [FrozenLevel]
}

/// Snapshots.
extension ExportEntry {
    /// The names of its snapshots: those in memory in the order in which they were taken, those in files by the times
    /// when these were written last.
    public var snapshotNames: [String] {
        state.withLock { $0.changes?.snapshots ?? $0.snapshots.map(\.name) }
    }

    /// Finds out, while clients use the disk, whether it can be made like its image, or as it was at a snapshot.
    public func checkRevert(to snapshot: String?) throws(ImageError) {
        try changes?.checkRevert(backend, to: snapshot)
    }

    /// Forgets all that was written to an overlay: its disk is like its image again, or as it was at a snapshot.
    ///
    /// - Parameter snapshot: one that it has.
    /// - Returns: how many bytes were written since then, or since a later snapshot; of one in a file, how much room
    ///   that gives back. With it the blocks that were different then; nil: nobody knows, since tables are damaged.
    public func revert(to snapshot: String?) throws(ImageError) -> (bytes: UInt64, changed: BlockRanges?) {
        let outcome: (bytes: UInt64, changed: BlockRanges?)
        if changes == nil {
            let changed = try changedBlocks(since: snapshot)
            outcome = (try revertInMemory(to: snapshot.flatMap(levels(ofSnapshot:)) ?? []), changed)
        } else {
            outcome = try exchangeFiles { image throws(ImageError) in
                let changed = try? image.changedBlocks(since: snapshot, drive.blockSize)
                return (try image.revert(to: snapshot), changed)
            }
        }
        var blocks = takeBlocks()
        _ = blocks.writeCache?.cut(PowerCut(keeping: .none, seed: 0), sectors: drive.mediumSectors)
        keep(blocks)
        state.withLock { $0.server?.losePower() }
        counters.forgetUnflushed()
        return outcome
    }

    private func revertInMemory(to levels: [FrozenLevel]) throws(ImageError) -> UInt64 {
        var blocks = takeBlocks()
        defer { keep(blocks) }
        guard let overlay = blocks.overlay else { preconditionFailure("the export is no overlay") }
        let empty: Overlay
        do throws(RingError) {
            empty = try Overlay(sizeBytes: overlay.sizeBytes, blockSize: drive.blockSize, above: levels.map(\.map))
        } catch {
            throw .cannotRevert(errorText(ENOMEM))
        }
        let code = backend.zeroNow(0..<overlay.sizeBytes, mayDeallocate: true)
        guard code == 0 else { throw .cannotRevert(errorText(code)) }
        blocks.overlay = empty
        state.withLock { ($0.levels, $0.ownMap) = (levels, empty.ownMap) }
        return overlay.ownBytes
    }

    /// Keeps what an overlay has, with all that its drive has answered, by a name that no other snapshot has.
    public func takeSnapshot(_ name: String) throws(ImageError) {
        guard changes != nil else {
            let levels = try freeze()
            return state.withLock { $0.snapshots.append(OverlaySnapshot(name: name, levels: levels)) }
        }
        try bringToImage()
        try exchangeFiles { image throws(ImageError) in try image.freeze(as: name) }
    }

    /// Freezes what an overlay in memory has, with all that its drive has answered. Its layers are here.
    ///
    /// - Returns: what it has, the newest first.
    public func freeze() throws(ImageError) -> [FrozenLevel] {
        try bringToImage()
        var blocks = takeBlocks()
        defer { keep(blocks) }
        guard let overlay = blocks.overlay else { preconditionFailure("the export is no overlay in memory") }
        let (old, levels) = state.withLock { ($0.backend, $0.levels) }
        // Nothing was written since the last time.
        guard overlay.ownBytes > 0 else { return levels }
        guard levels.count < Overlay.maximumFrozen else {
            throw .cannotFreeze(
                "it is above \(Overlay.maximumFrozen) snapshots already, and there can be no more in a row; "
                    + "'spindle ctl revert' goes back to an older one, or to the image")
        }
        let fresh: Backend
        let frozen: [FrozenLevel]
        do {
            let empty = try Overlay(
                sizeBytes: overlay.sizeBytes, blockSize: drive.blockSize, above: [overlay.ownMap] + levels.map(\.map))
            fresh = try Backend(memoryOfSize: overlay.sizeBytes, readOnly: false)
            frozen = [FrozenLevel(old, overlay.ownMap)] + levels
            blocks.overlay = empty
        } catch {
            throw .cannotFreeze("\(error)")
        }
        state.withLock { ($0.backend, $0.levels, $0.ownMap) = (fresh, frozen, blocks.overlay?.ownMap) }
        return frozen
    }

    /// What a snapshot in memory has; nil: there is none of that name.
    public func levels(ofSnapshot name: String) -> [FrozenLevel]? {
        state.withLock { $0.snapshots.first { $0.name == name }?.levels }
    }

    /// Forgets a snapshot that there is. What the disk, other snapshots or other exports have of one in memory stays; a
    /// file is removed.
    public func discard(snapshot name: String) throws(ImageError) {
        if var changes {
            try changes.discard(name)
            return state.withLock { $0.changes = changes }
        }
        // Memory is given back when nobody waits for this.
        let gone = state.withLock { state in
            let gone = state.snapshots.filter { $0.name == name }
            state.snapshots.removeAll { $0.name == name }
            return gone
        }
        precondition(!gone.isEmpty, "whoever discards a snapshot has seen it")
    }

    /// The blocks of an overlay that are not its image's, or a snapshot's. What is in the drive's write cache is not
    /// among them; nor, of one in a file, what no flush has brought there.
    ///
    /// - Parameter snapshot: one that it has; nil: its image.
    public func changedBlocks(since snapshot: String?) throws(ImageError) -> BlockRanges {
        let (changes, backend, backings) = state.withLock { ($0.changes, $0.backend, $0.backings) }
        if let changes {
            var image = try ImageChain(tablesOf: changes, backend, backings, drive.blockSize)
            return try image.changedBlocks(since: snapshot, drive.blockSize)
        }
        let (own, levels) = state.withLock { ($0.ownMap, $0.levels) }
        guard let own else { preconditionFailure("the export is no overlay") }
        let others = snapshot.flatMap(self.levels(ofSnapshot:)) ?? []
        // What both are above is the same for both.
        let common = zip(levels.reversed(), others.reversed()).prefix { $0 === $1 }.count
        let maps = [own] + (levels.dropLast(common) + others.dropLast(common)).map(\.map)
        return maps.dropFirst().reduce(maps[0].ranges) { $0.union($1.ranges) }
    }

    /// Finds out, while clients use the disk, whether its changes can be brought to its image.
    public func checkCommit() throws(ImageError) {
        guard snapshotNames.isEmpty else {
            let way =
                changes == nil
                ? "'spindle ctl discard' them first"
                : "when it is not served, 'qemu-img commit -b' its image brings all there, and its files can go"
            throw .cannotCommit("it has snapshots, which are above its image as it is; " + way)
        }
        let (base, reader) = try committedBase()
        try changes?.checkRevert(backend, to: nil)
        try WritableBase(base, reader: reader, drive.blockSize).close()
    }

    /// The file that an overlay's changes would be brought to; nil: none.
    public var baseNumber: FileNumber? { (try? committedBase())?.1.fileNumber }

    /// The image of an overlay, and its file as the overlay has it.
    private func committedBase() throws(ImageError) -> (OverlayBase, Backend) {
        let backings = state.withLock { $0.backings }
        guard let base = definition.base, changes == nil || base.files(of: backings).count == backings.count,
            let reader = base.files(of: backings).first
        else {
            throw .cannotCommit("it begins with a snapshot, which is above its image as it is, and stays so")
        }
        return (base, reader)
    }

    /// Brings an overlay's changes to its image, and makes the overlay empty. If that fails, its disk is as before.
    ///
    /// - Parameter goesOn: whether somebody still wants it.
    /// - Returns: how many bytes were written to the image.
    public func commit(_ goesOn: () -> Bool) throws(ImageError) -> UInt64 {
        let (base, reader) = try committedBase()
        try bringToImage()
        let (levels, maps) = state.withLock { ($0.levels, [$0.ownMap].compactMap(\.self) + $0.levels.map(\.map)) }
        var writable = try WritableBase(base, reader: reader, drive.blockSize)
        let bytes = try exchangeFiles { image throws(ImageError) in
            // It is empty, and without power while nobody has the drive.
            let cache = image.blocks.writeCache
            image.blocks.writeCache = nil
            defer {
                image.blocks.writeCache = cache
                writable.close()
            }
            image.levels = levels
            try image.unsayStamp()
            return try image.store(in: &writable, drive.blockSize, maps: maps, goesOn: goesOn)
        }
        let fresh: ImageChain
        do throws(ImageError) {
            fresh = try base.open(drive.blockSize)
        } catch {
            throw .cannotCommit("its image has them now, but cannot be opened to be read again: \(error)")
        }
        guard changes == nil else {
            try exchangeFiles { image throws(ImageError) in try image.begin(above: fresh, base, drive.blockSize) }
            return bytes
        }
        _ = try revertInMemory(to: [])
        var blocks = takeBlocks()
        blocks.qcow2 = fresh.blocks.qcow2
        keep(blocks)
        let old = state.withLock { state in
            let old = state.backings
            state.backings = [fresh.backend] + fresh.backings
            return old
        }
        for file in old { file.close() }
        return bytes
    }

    /// Lets the files of an overlay become others.
    private func exchangeFiles<Result>(
        _ body: (inout ImageChain) throws(ImageError) -> Result
    ) throws(ImageError) -> Result {
        let (changes, backend, backings, flushes) = state.withLock { ($0.changes, $0.backend, $0.backings, $0.flushes) }
        var image = ImageChain(changes, backend, backings, takeBlocks())
        // Also if it has failed when others were there already.
        defer {
            keep(image.blocks)
            let isOther = image.backend.fileNumber != backend.fileNumber
            let next = isOther ? flushes.moved(to: image.backend) : flushes
            state.withLock {
                ($0.backend, $0.backings, $0.changes, $0.flushes) = (image.backend, image.backings, image.changes, next)
            }
            for file in image.retired { file.close() }
            // On a busy ext4 that was 1 to 70 ms, for which nobody should wait.
            if let file = image.replaced, !startDetachedThread({ file.close() }) { file.close() }
        }
        return try body(&image)
    }
}

/// The write cache of a drive that nobody has open.
extension ExportEntry {
    /// Takes to the image what is in the drive's write cache, and makes the image stable.
    private func bringToImage() throws(ImageError) {
        let code = emptyWriteCache()
        guard code == 0 else { throw .cannotFreeze(errorText(code)) }
    }

    /// Takes to the image what is in the drive's write cache, and makes the image stable. Nobody has the export open.
    ///
    /// - Returns: 0, or the errno of the failure.
    func emptyWriteCache() -> Int32 {
        var blocks = takeBlocks()
        var overlay = blocks.overlay
        defer {
            blocks.overlay = overlay
            keep(blocks)
        }
        guard overlay != nil || blocks.qcow2?.isWritable != true else { return emptyAboveTables(&blocks) }
        let backend = self.backend
        let memory = blocks.writeCache?.memory
        do throws(StoringFailure) {
            try blocks.writeCache?.empty { left throws(StoringFailure) in
                let code =
                    switch left {
                    case .write(let offset, let range):
                        backend.storeNow(memory?.range(range) ?? .empty, at: offset)
                    case .zeroes(let range, let mayDeallocate):
                        backend.zeroNow(range, mayDeallocate: mayDeallocate)
                    }
                guard code == 0 else { throw StoringFailure(code: code) }
                overlay?.claim(left)
            }
        } catch {
            return error.code
        }
        return flushes.synchronize()
    }

    /// The same where an image's tables say where things are.
    private func emptyAboveTables(_ blocks: inout BlockStack) -> Int32 {
        var (below, code): (BlockStack, Int32) = (blocks, 0)
        below.writeCache = nil
        below.recorder = nil
        func perform(_ request: BackendRequest, _ bytes: UnsafeMutableRawBufferPointer) -> Bool {
            unsafe below.performNow(request, bytes) { [backend, backings, flushes] request, bytes in
                let file = request.file == 0 ? backend : backings[Int(request.file) - 1]
                code =
                    request.operation == .flush ? flushes.synchronize() : unsafe file.performNow(request, bytes)
                return code == 0
            }
        }
        let memory = blocks.writeCache?.memory
        defer { blocks.qcow2 = below.qcow2 }
        do throws(StoringFailure) {
            try blocks.writeCache?.empty { left throws(StoringFailure) in
                let isStored =
                    switch left {
                    case .write(let offset, let range):
                        memory.map {
                            unsafe perform(
                                BackendRequest(.write, offset: offset, length: UInt64(range.count)), $0[range])
                        }
                    case .zeroes(let range, let mayDeallocate):
                        unsafe perform(
                            BackendRequest(
                                .writeZeroes(mayDeallocate: mayDeallocate), offset: range.lowerBound,
                                length: UInt64(range.count)), UnsafeMutableRawBufferPointer(start: nil, count: 0))
                    }
                guard isStored == true else { throw StoringFailure(code: code == 0 ? EIO : code) }
            }
        } catch {
            return error.code
        }
        let isStable = unsafe perform(BackendRequest(.flush), UnsafeMutableRawBufferPointer(start: nil, count: 0))
        return isStable ? 0 : code == 0 ? EIO : code
    }

    private struct StoringFailure: Error { let code: Int32 }
}
