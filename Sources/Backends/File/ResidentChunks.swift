// Which parts of mapped images are known to be in the page cache, so that sending from them does not wait for a disk.

import IOUring
import Synchronization

/// The known state of chunks of mappings, by address: a table of fixed size for all images and loops of a server.
///
/// A chunk of which enough is asked for within an epoch (a second) is looked at: whether all of it is in the page
/// cache. A finding holds for the rest of the epoch. The kernel may take a page away sooner; it takes those first
/// that were not used for longest, and if it does, a send waits for one page. More than one chunk may want the same
/// place in the table; the first one has it for as long as it is in use, the others are read in the usual way.
///
/// The size of the table also bounds how much of the page cache counts as memory of this process. A fault may bring a
/// whole large folio into the page table, however little of it is asked for, but nothing beyond the 2 MiB, a region
/// here, for which one page of that table stands. So the table's rows have chunks of one region each.
public struct ResidentChunks: Sendable {
    /// As much as the kernel maps around one fault, where there are no large folios.
    public static let chunkBytes: UInt64 = 1 << 16
    /// A row of the table: 2 MiB.
    private static let chunksPerRegion = 32
    /// So many regions of all images at most: 208 MiB.
    private static let rowCount = 104
    /// Chunks of all images at most.
    public static let capacity = rowCount * chunksPerRegion
    /// So many pages of a chunk are asked for in an epoch before asking the kernel for it can pay: that costs as much
    /// as reading a few pages.
    private static let pagesBeforeAsking: UInt64 = 3
    /// The same for reading all of it.
    private static let pagesBeforeReading: UInt64 = 48

    private let memory: SharedMemory
    private static let cellBytes = 128

    /// The knowledge of a chunk.
    enum Knowledge: Equatable {
        case resident
        /// It is not, or it is asked for too seldom.
        case unknown
        /// It should be looked at now, and the table be told: by asking the kernel, and where that does not tell, by
        /// reading it if enough of it has been asked for.
        case worthLooking(byReading: Bool)
    }

    /// A place in the table: the chunk's number (address / chunkBytes) in bits 63:24, the epoch in 23:8, the state in
    /// 7:0: how many pages were asked for, or what was found.
    private struct Entry: Equatable {
        var bits: UInt64
        static let resident: UInt64 = 0xFF
        static let absent: UInt64 = 0xFE

        init(bits: UInt64) { self.bits = bits }
        init(_ chunk: UInt64, epoch: UInt64, state: UInt64) { bits = chunk << 24 | (epoch & 0xFFFF) << 8 | state }
        var chunk: UInt64 { bits >> 24 }
        var epoch: UInt64 { bits >> 8 & 0xFFFF }
        var state: UInt64 { bits & 0xFF }
    }

    /// A table that knows nothing.
    public init() throws(RingError) {
        let words = Self.capacity + Self.rowCount
        memory = try SharedMemory(byteCount: 2 * Self.cellBytes + words * MemoryLayout<UInt64>.size)
        unsafe usable.pointee.store(UInt64(Self.capacity), ordering: .relaxed)
    }

    /// Zeroed memory is atomic zeroes.
    private func cell(_ byteOffset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe (memory.base + byteOffset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Not zero: pages may have come back to the page table after they were dropped.
    private var lateUse: UnsafeMutablePointer<Atomic<UInt64>> { unsafe cell(2 * MemoryLayout<UInt64>.size) }

    private var epochNumber: UnsafeMutablePointer<Atomic<UInt64>> { unsafe cell(0) }

    /// How many places may be used.
    private var usable: UnsafeMutablePointer<Atomic<UInt64>> { unsafe cell(MemoryLayout<UInt64>.size) }

    private func place(_ index: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe cell(2 * Self.cellBytes + Int(index) * MemoryLayout<UInt64>.size)
    }

    /// The region (address / 2 MiB) whose chunks a row has; 0: none is known to be resident.
    private func owner(ofRow row: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe place(UInt64(Self.capacity + row))
    }

    /// Whether the row of a chunk is its region's from now on. Where an epoch begins just then, two regions may share a
    /// row for that epoch: a lock for 2 MiB would cost more.
    private func claimRow(of chunk: UInt64) -> Bool {
        let region = chunk / UInt64(Self.chunksPerRegion)
        let row = Int(chunk % UInt64(Self.capacity)) / Self.chunksPerRegion
        let (isClaimed, owner) = unsafe owner(ofRow: row).pointee.compareExchange(
            expected: 0, desired: region, ordering: .relaxed)
        return isClaimed || owner == region
    }

    /// The knowledge of a chunk of which so many pages are asked for; they are counted.
    func look(up chunk: UInt64, pageCount: UInt64) -> Knowledge {
        let epoch = unsafe epochNumber.pointee.load(ordering: .relaxed) & 0xFFFF
        let index = chunk % UInt64(Self.capacity)
        let entry = unsafe Entry(bits: place(index).pointee.load(ordering: .relaxed))
        guard unsafe index < usable.pointee.load(ordering: .relaxed) else { return .unknown }
        if entry == Entry(chunk, epoch: epoch, state: Entry.resident) { return .resident }
        if entry.state == Entry.resident {
            // A chunk known to be resident keeps the place until an epoch has passed without anybody asking.
            return entry.chunk == chunk ? .worthLooking(byReading: true) : .unknown
        }
        let isCounted = entry.chunk == chunk && entry.epoch == epoch
        guard !isCounted || entry.state != Entry.absent else { return .unknown }
        let before = isCounted ? entry.state : 0
        let after = min(before + pageCount, Self.pagesBeforeReading)
        if after != before { replace(entry, by: Entry(chunk, epoch: epoch, state: after)) }
        if after >= Self.pagesBeforeReading { return .worthLooking(byReading: true) }
        return before < Self.pagesBeforeAsking && after >= Self.pagesBeforeAsking
            ? .worthLooking(byReading: false) : .unknown
    }

    /// A chunk that was worth looking at has been looked at.
    ///
    /// - Returns: whether it is known to be resident now.
    func settle(_ chunk: UInt64, isResident: Bool) -> Bool {
        let epoch = unsafe epochNumber.pointee.load(ordering: .relaxed)
        let old = unsafe Entry(bits: place(chunk % UInt64(Self.capacity)).pointee.load(ordering: .relaxed))
        guard old.chunk == chunk else { return false }
        let hasPlace = isResident && claimRow(of: chunk)
        let new = Entry(chunk, epoch: epoch, state: hasPlace ? Entry.resident : Entry.absent)
        return replace(old, by: new) && hasPlace
    }

    /// Changes an entry, unless another loop has just done so: then nothing is lost but a count.
    @discardableResult
    private func replace(_ old: Entry, by new: Entry) -> Bool {
        unsafe place(new.chunk % UInt64(Self.capacity)).pointee.compareExchange(
            expected: old.bits, desired: new.bits, ordering: .relaxed
        ).exchanged
    }

    /// From now on only so many chunks are remembered at a time.
    public func limit(to count: Int) {
        unsafe usable.pointee.store(UInt64(max(0, min(count, Self.capacity))), ordering: .relaxed)
    }

    /// Like ``limit(to:)``, if that makes them fewer.
    ///
    /// - Returns: whether it has; then pages may be in the page table that no chunk in use stands for, and should be
    ///   dropped.
    public func lower(to count: Int) -> Bool {
        guard unsafe UInt64(max(0, count)) < usable.pointee.load(ordering: .relaxed) else { return false }
        limit(to: count)
        return true
    }

    /// A send from a mapping could not be done at once: by the time it is, its chunks may have been forgotten.
    public func noteLateUse() {
        unsafe lateUse.pointee.store(1, ordering: .relaxed)
    }

    /// Begins the next epoch: everything has to be looked at again, and what was not in the one that ends is forgotten.
    ///
    /// - Returns: whether there may be pages in the page table that no chunk in use stands for; they should be dropped.
    public func beginEpoch() -> Bool {
        let ending = unsafe epochNumber.pointee.load(ordering: .relaxed) & 0xFFFF
        let limit = unsafe usable.pointee.load(ordering: .relaxed)
        var forgets = unsafe lateUse.pointee.exchange(0, ordering: .relaxed) != 0
        for row in 0..<Self.rowCount {
            var isInUse = false
            for index in UInt64(row * Self.chunksPerRegion)..<UInt64((row + 1) * Self.chunksPerRegion) {
                let entry = unsafe Entry(bits: place(index).pointee.load(ordering: .relaxed))
                if entry.bits != 0, entry.epoch != ending || index >= limit {
                    unsafe place(index).pointee.store(0, ordering: .relaxed)
                    forgets = forgets || entry.state == Entry.resident
                } else {
                    isInUse = isInUse || entry.state == Entry.resident
                }
            }
            if !isInUse { unsafe owner(ofRow: row).pointee.store(0, ordering: .relaxed) }
        }
        unsafe epochNumber.pointee.store(ending + 1, ordering: .relaxed)
        return forgets
    }
}
