// Tables of an image that is written: pieces of them, new ones, and clusters for whatever needs some.

/// A table that is made, or a change of the header: one at a time, by the request that needs it.
struct Qcow2Build: Sendable {
    enum Kind: Equatable {
        /// The header says nothing any more of features that are not known here.
        case clearFeatures
        /// The header says that the image is damaged.
        case markCorrupt
        /// An L2 table, empty or like one that somebody else uses, too.
        case table(copying: UInt64?)
        case refcountBlock
        /// A larger refcount table.
        case refcountTable
    }

    var kind: Kind
    /// Its first cluster.
    var cluster: UInt64 = 0
    /// What it is for.
    var diskOffset: UInt64 = 0
    /// How many of its requests are done.
    var step: UInt64 = 0
    /// Of a refcount table: its clusters, and the refcount blocks behind it.
    var tableClusters: UInt64 = 0
    var blockCount: UInt64 = 0
}

/// Pieces of tables.
extension Qcow2 {
    enum Need {
        /// Something has to be done first; nil: it is, from here on.
        case step(BlockStep?)
        case present(Int)
    }

    /// Needs the piece of a table that has a byte of the file.
    mutating func need(
        _ place: UInt64, _ table: TableCache.Table, at diskOffset: UInt64, _ task: inout Writing
    ) throws(Qcow2Damage) -> Need {
        switch images[0].tables.claim(place, of: table) {
        case .present(let slot): return .present(slot)
        case .missing(let slot): return .step(io(images[0].reading(place, into: slot), .table(slot), &task))
        case .busy: return .step(.waitForOthers)
        case .overlap: throw Qcow2Damage(kind: .overlap, diskOffset: diskOffset, fileOffset: place)
        }
    }

    enum TableFinding {
        case step(BlockStep?)
        case empty
        /// A snapshot has it, too.
        case shared(UInt64)
        /// It is the request's ``Writing/table``.
        case found
    }

    /// Finds the L2 table of a byte of the disk.
    mutating func findTable(at offset: UInt64, _ task: inout Writing) throws(Qcow2Damage) -> TableFinding {
        let header = images[0].header
        let index = offset >> (header.clusterBits + header.l2EntryBits)
        guard task.table?.index != index else { return .found }
        let place = header.l1TableOffset + index * 8
        switch try need(place, .mapping, at: offset, &task) {
        case .step(let step): return .step(step)
        case .present(let slot):
            let entry = images[0].number(at: place, slot)
            guard let table = try L2Entry.tableOffset(entry, header, at: offset) else { return .empty }
            try checkTable(table, at: offset)
            guard L2Entry.isCopied(entry) else { return .shared(table) }
            task.table = Qcow2Image.L2Table(index: index, offset: table)
            return .found
        }
    }

    private func checkTable(_ fileOffset: UInt64, at diskOffset: UInt64) throws(Qcow2Damage) {
        let header = images[0].header
        try L2Entry.check(fileOffset, header, diskOffset)
        guard !header.isOwn(fileOffset..<fileOffset + header.clusterBytes) else {
            throw Qcow2Damage(kind: .overlap, diskOffset: diskOffset, fileOffset: fileOffset)
        }
    }
}

/// Clusters.
extension Qcow2 {
    enum Taking {
        case step(BlockStep?)
        /// So many from this one on.
        case taken(UInt64, UInt64)
    }

    /// Pieces of refcount blocks that may say of all clusters behind the end of the file that they are used.
    private static let uselessPieces = 4096

    /// Takes clusters that nobody has used, one behind the other: as many as are wanted, or less.
    mutating func takeClusters(_ count: UInt64, _ task: inout Writing) throws(Qcow2Damage) -> Taking {
        for _ in 0..<Self.uselessPieces {
            guard ledger.commit == nil else { return .step(.waitForOthers) }
            let header = images[0].header
            let cluster = ledger.nextCluster
            // Entries of tables have 56 bits for an offset.
            guard cluster + count < 1 << (56 - header.clusterBits) else { return .step(fail(.noSpace, &task)) }
            let block: UInt64
            switch try findBlock(of: cluster, &task) {
            case .step(let step): return .step(step)
            case .none: return .step(beginBlock(of: cluster, &task))
            case .found(let place): block = place
            }
            switch try need(block, .refcountBlock, at: task.request.offset, &task) {
            case .step(let step): return .step(step)
            case .present(let slot):
                guard images[0].tables.mayChange(slot) else { return .step(beginCommit(&task)) }
                let taken = images[0].takeFree(from: cluster, count, slot)
                ledger.nextCluster = taken.upperBound
                images[0].header.fileBytes = max(header.fileBytes, taken.upperBound << header.clusterBits)
                if !taken.isEmpty { return .taken(taken.lowerBound, UInt64(taken.count)) }
            }
        }
        throw Qcow2Damage(
            kind: .refcount, diskOffset: task.request.offset,
            fileOffset: ledger.nextCluster << images[0].header.clusterBits)
    }

    enum BlockFinding {
        case step(BlockStep?)
        case none
        /// The refcount of the cluster is at this byte of the file.
        case found(UInt64)
    }

    /// Finds the refcount block of a cluster; none where the table ends.
    mutating func findBlock(of cluster: UInt64, _ task: inout Writing) throws(Qcow2Damage) -> BlockFinding {
        let header = images[0].header
        let place = header.refcountTableOffset + cluster / header.refcountsPerBlock * 8
        guard place < header.refcountTable.upperBound else { return .none }
        switch try need(place, .refcountTable, at: task.request.offset, &task) {
        case .step(let step): return .step(step)
        case .present(let slot):
            let block = images[0].number(at: place, slot) & ~511
            guard block != 0 else { return .none }
            try checkTable(block, at: task.request.offset)
            return .found(block + header.refcountByte(of: cluster))
        }
    }

    /// A cluster becomes the refcount block that has its own refcount; or the table becomes larger, which has no entry
    /// for it.
    private mutating func beginBlock(of cluster: UInt64, _ task: inout Writing) -> BlockStep? {
        guard !ledger.isBuilding else { return .waitForOthers }
        let header = images[0].header
        guard cluster / header.refcountsPerBlock * 8 < header.refcountTableClusters << header.clusterBits else {
            return beginRefcountTable(from: cluster, &task)
        }
        ledger.nextCluster += 1
        images[0].header.fileBytes = max(header.fileBytes, (cluster + 1) << header.clusterBits)
        return begin(Qcow2Build(kind: .refcountBlock, cluster: cluster), &task)
    }

    /// The new table has twice the size, and is in front of the refcount blocks that it needs itself.
    private mutating func beginRefcountTable(from cluster: UInt64, _ task: inout Writing) -> BlockStep? {
        guard ledger.commit == nil else { return .waitForOthers }
        // It is read from the file.
        guard !images[0].tables.hasChanges(of: .refcountTable) else { return beginCommit(&task) }
        let header = images[0].header
        let perBlock = header.refcountsPerBlock
        let entriesPerCluster = header.clusterBytes / 8
        var build = Qcow2Build(kind: .refcountTable, cluster: cluster)
        build.tableClusters = max(2 * header.refcountTableClusters, cluster / perBlock / entriesPerCluster + 1)
        while true {
            let last = cluster + build.tableClusters + build.blockCount
            if last / perBlock >= build.tableClusters * entriesPerCluster {
                build.tableClusters += 1
            } else if last / perBlock - cluster / perBlock >= build.blockCount {
                build.blockCount += 1
            } else {
                break
            }
        }
        guard build.tableClusters << header.clusterBits <= Qcow2Header.maximumRefcountTableBytes else {
            return fail(.noSpace, &task)
        }
        ledger.nextCluster += build.tableClusters + build.blockCount
        images[0].header.fileBytes = max(header.fileBytes, ledger.nextCluster << header.clusterBits)
        return begin(build, &task)
    }
}

/// Building.
extension Qcow2 {
    /// Begins to build something, if nobody else does.
    mutating func begin(_ build: Qcow2Build, _ task: inout Writing) -> BlockStep? {
        guard !ledger.isBuilding else { return .waitForOthers }
        ledger.isBuilding = true
        task.build = build
        return nil
    }

    /// Begins with an L2 table for a byte of the disk.
    mutating func beginTable(
        copying old: UInt64?, at diskOffset: UInt64, _ task: inout Writing
    ) throws(Qcow2Damage) -> BlockStep? {
        guard !ledger.isBuilding else { return .waitForOthers }
        switch try takeClusters(1, &task) {
        case .step(let step): return step
        case .taken(let cluster, _):
            return begin(Qcow2Build(kind: .table(copying: old), cluster: cluster, diskOffset: diskOffset), &task)
        }
    }

    mutating func advanceBuild(_ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        guard let build = task.build else { preconditionFailure("something is being built") }
        switch (build.kind, build.step) {
        case (.clearFeatures, _), (.markCorrupt, _): return advanceHeader(&task)
        case (.table(copying: nil), 0), (.refcountBlock, 0): return writeEnd(of: build.cluster, &task)
        case (.table(copying: let old?), 0): return readTable(old, &task)
        case (.table(copying: .some), 1): return writeBuffer(to: build.cluster, &task)
        case (.table(let old), _): return try linkTable(build, copying: old, &task)
        case (.refcountBlock, _): return try linkBlock(build, &task)
        case (.refcountTable, _): return advanceRefcountTable(build, &task)
        }
    }

    /// The file is there to the end of a new table, which is all zeroes.
    private func writeEnd(of cluster: UInt64, _ task: inout Writing) -> BlockStep {
        let header = images[0].header
        let count = min(header.clusterBytes, UInt64(Qcow2Ledger.zeroBytes))
        return io(
            BackendRequest(
                .write, offset: (cluster + 1) << header.clusterBits - count, length: count, dataPlace: .tables,
                dataOffset: UInt64(ledger.zeroes)), .build, &task)
    }

    private mutating func readTable(_ fileOffset: UInt64, _ task: inout Writing) -> BlockStep {
        guard let buffer = task.buffer ?? ledger.takeBuffer() else { return .waitForOthers }
        task.buffer = buffer
        return io(
            BackendRequest(
                .read, offset: fileOffset, length: images[0].header.clusterBytes, dataPlace: .tables,
                dataOffset: UInt64(ledger.start(ofBuffer: buffer))), .build, &task)
    }

    private func writeBuffer(to cluster: UInt64, _ task: inout Writing) -> BlockStep {
        guard let buffer = task.buffer else { preconditionFailure("the table was read into a buffer") }
        let header = images[0].header
        return io(
            BackendRequest(
                .write, offset: cluster << header.clusterBits, length: header.clusterBytes, dataPlace: .tables,
                dataOffset: UInt64(ledger.start(ofBuffer: buffer))), .build, &task)
    }

    private mutating func endBuilding(_ task: inout Writing) {
        if let buffer = task.buffer { ledger.giveBack(buffer: buffer) }
        task.buffer = nil
        task.build = nil
        ledger.isBuilding = false
        hasWoken = true
    }

    /// Tells the L1 table of a new L2 table.
    private mutating func linkTable(
        _ build: Qcow2Build, copying old: UInt64?, _ task: inout Writing
    ) throws(Qcow2Damage) -> BlockStep? {
        guard ledger.commit == nil else { return .waitForOthers }
        let header = images[0].header
        let place = header.l1TableOffset + (build.diskOffset >> (header.clusterBits + header.l2EntryBits)) * 8
        switch try need(place, .mapping, at: build.diskOffset, &task) {
        case .step(let step): return step
        case .present(let slot):
            guard images[0].tables.mayChange(slot), ledger.canRelease else { return beginCommit(&task) }
            images[0].set(L2Entry.own(build.cluster << header.clusterBits), at: place, slot)
            if let old { ledger.release(old >> header.clusterBits..<old >> header.clusterBits + 1) }
            endBuilding(&task)
            return nil
        }
    }

    /// Tells the refcount table of a new refcount block, which says of itself that it is used.
    private mutating func linkBlock(_ build: Qcow2Build, _ task: inout Writing) throws(Qcow2Damage) -> BlockStep? {
        guard ledger.commit == nil else { return .waitForOthers }
        let header = images[0].header
        let block = build.cluster << header.clusterBits
        let number = block + header.refcountByte(of: build.cluster)
        let slot: Int
        switch images[0].tables.claim(number, of: .refcountBlock) {
        case .present(let present): slot = present
        case .missing(let missing):
            images[0].clear(missing)
            images[0].endReading(missing, isRead: true)
            slot = missing
        case .busy: return .waitForOthers
        case .overlap: throw Qcow2Damage(kind: .overlap, diskOffset: task.request.offset, fileOffset: number)
        }
        guard images[0].tables.mayChange(slot) else { return beginCommit(&task) }
        images[0].setRefcount(1, of: build.cluster, slot)
        let place = header.refcountTableOffset + build.cluster / header.refcountsPerBlock * 8
        switch try need(place, .refcountTable, at: task.request.offset, &task) {
        case .step(let step): return step
        case .present(let slot):
            guard images[0].tables.mayChange(slot) else { return beginCommit(&task) }
            images[0].set(block, at: place, slot)
            endBuilding(&task)
            return nil
        }
    }
}

/// A larger refcount table, and the header.
extension Qcow2 {
    /// The blocks are written first, then the table, cluster by cluster. When all is stable, the header is told.
    private mutating func advanceRefcountTable(_ build: Qcow2Build, _ task: inout Writing) -> BlockStep? {
        let header = images[0].header
        guard let buffer = task.buffer ?? ledger.takeBuffer() else { return .waitForOthers }
        task.buffer = buffer
        let start = ledger.start(ofBuffer: buffer)
        let bytes = start..<start + Int(header.clusterBytes)
        let perBlock = header.refcountsPerBlock
        var step = build.step
        if step < build.blockCount {
            memory.clear(bytes)
            let first = (build.cluster / perBlock + step) * perBlock
            let end = build.cluster + build.tableClusters + build.blockCount
            for cluster in max(first, build.cluster)..<max(max(first, build.cluster), min(first + perBlock, end)) {
                images[0].refcounts(from: bytes.lowerBound)[cluster - first] = 1
            }
            return writeBuffer(to: build.cluster + build.tableClusters + step, &task)
        }
        step -= build.blockCount
        if step < 2 * build.tableClusters {
            let number = step / 2
            let isOld = number < header.refcountTableClusters
            if step % 2 == 0, isOld {
                return readTable(header.refcountTableOffset + number << header.clusterBits, &task)
            }
            if step % 2 == 0 {
                task.build?.step += 1
                memory.clear(bytes)
            }
            let first = number * header.clusterBytes / 8
            for block in 0..<build.blockCount {
                let entry = build.cluster / perBlock + block
                guard entry >= first, entry < first + header.clusterBytes / 8 else { continue }
                let place = (build.cluster + build.tableClusters + block) << header.clusterBits
                memory.setBigEndian(place, at: bytes.lowerBound + Int(entry - first) * 8)
            }
            return writeBuffer(to: build.cluster + number, &task)
        }
        guard step > 2 * build.tableClusters else { return io(BackendRequest(.flush), .build, &task) }
        return advanceHeader(&task, from: build.blockCount + 2 * build.tableClusters + 1)
    }

    /// Reads the sector of the header that has its numbers, changes it, and makes that stable.
    mutating func advanceHeader(_ task: inout Writing, from first: UInt64 = 0) -> BlockStep? {
        guard let build = task.build else { preconditionFailure("the header is changed") }
        let count = UInt64(Qcow2Ledger.headerBytes)
        let place = ledger.header
        let sector = BackendRequest(.read, length: count, dataPlace: .tables, dataOffset: UInt64(place))
        switch build.step - first {
        case 0: return io(sector, .build, &task)
        case 1:
            switch build.kind {
            case .clearFeatures: memory.setBigEndian(0, at: place + 88)
            case .markCorrupt: memory.setByte(memory.byte(at: place + 79) | 2, at: place + 79)
            case .refcountTable:
                memory.setBigEndian(build.cluster << images[0].header.clusterBits, at: place + 48)
                let low = memory.bigEndian(at: place + 56) & 0xFFFF_FFFF
                memory.setBigEndian(build.tableClusters << 32 | low, at: place + 56)
            case .table, .refcountBlock: preconditionFailure("the header does not have the places of these")
            }
            var request = sector
            request.operation = .write
            return io(request, .build, &task)
        case 2: return io(BackendRequest(.flush), .build, &task)
        default:
            endHeader(build)
            endBuilding(&task)
            guard build.kind != .markCorrupt else { return fail(.unrecovered, &task) }
            return nil
        }
    }

    private mutating func endHeader(_ build: Qcow2Build) {
        switch build.kind {
        case .clearFeatures: ledger.hasToClear = false
        case .refcountTable:
            let header = images[0].header
            let old = header.refcountTableOffset >> header.clusterBits
            ledger.release(old..<old + header.refcountTableClusters)
            images[0].header.refcountTableOffset = build.cluster << header.clusterBits
            images[0].header.refcountTableClusters = build.tableClusters
        case .markCorrupt, .table, .refcountBlock: break
        }
    }
}
