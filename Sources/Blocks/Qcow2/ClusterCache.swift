// Compressed clusters as they were before: a disk is read in smaller pieces than a cluster.

/// Which decompressed clusters are where in memory of a fixed size. One at a time is read and decompressed.
struct ClusterCache: Sendable {
    private static let cacheBytes: UInt64 = 1 << 21
    private static let slotRange: ClosedRange<UInt64> = 2...32

    private struct Slot {
        /// The number of the cluster on the disk.
        var cluster = UInt64.max
        var lastUse: UInt64 = 0
    }

    private var slots: [Slot]
    private var useCount: UInt64 = 0
    /// The slot of the cluster that is under way.
    private var slotUnderWay: Int?

    /// How many clusters have a place.
    static func slotCount(clusterBytes: UInt64) -> Int {
        Int(min(max(cacheBytes / clusterBytes, slotRange.lowerBound), slotRange.upperBound))
    }

    /// A cache of nothing.
    init(clusterBytes: UInt64) {
        slots = Array(repeating: Slot(), count: Self.slotCount(clusterBytes: clusterBytes))
    }

    /// Where a cluster is; nil: it is not there.
    mutating func slot(of cluster: UInt64) -> Int? {
        guard let slot = slots.firstIndex(where: { $0.cluster == cluster }) else { return nil }
        useCount += 1
        slots[slot].lastUse = useCount
        return slot
    }

    /// Begins with a cluster, whose place nobody else has from now on; nil: another one is under way.
    mutating func begin() -> Int? {
        guard slotUnderWay == nil, let slot = slots.indices.min(by: { slots[$0].lastUse < slots[$1].lastUse }) else {
            return nil
        }
        slots[slot] = Slot()
        slotUnderWay = slot
        return slot
    }

    /// The cluster is in its slot.
    mutating func end(_ cluster: UInt64) {
        guard let slot = slotUnderWay else { preconditionFailure("a cluster that ends has begun") }
        useCount += 1
        slots[slot] = Slot(cluster: cluster, lastUse: useCount)
        slotUnderWay = nil
    }

    /// It could not be read.
    mutating func giveUp() {
        slotUnderWay = nil
    }
}
