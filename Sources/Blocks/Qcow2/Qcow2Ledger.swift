// What the writers of an image share, beyond its tables.

/// The clusters that somebody is writing, those that come next, and what is still to be done for others.
struct Qcow2Ledger: Sendable {
    private static let claimLimit = 64
    private static let releaseLimit = 256
    private static let bufferBytes: UInt64 = 1 << 21
    private static let bufferRange: ClosedRange<UInt64> = 2...32
    /// A header has its features in the first sector.
    static let headerBytes = 512
    /// Zeroes that are written.
    static let zeroBytes = 4096

    /// The image is written at all.
    let isWritable: Bool
    private let clusterBytes: Int
    private let start: Int
    /// The cluster of the file that is allocated next, if its refcount says that it is free. None before it is.
    var nextCluster: UInt64
    /// The clusters of the disk that get a place in the file now: nobody else changes their entries.
    private var claims: [Range<UInt64>]
    private var isBufferTaken: [Bool]
    /// Clusters of the file that have a user less, once the tables that say so are stable.
    private(set) var releases: [Range<UInt64>] = []
    /// A table or the header is being made or changed by somebody, one at a time.
    var isBuilding = false
    /// The commit that is under way.
    var commit: Commit?
    /// How many have begun, and which was the last one that succeeded.
    var begunCommits: UInt64 = 0
    var lastCommit: UInt64 = 0
    /// Nothing is written any more: writes and flushes fail so.
    var failure: BlockFailure?
    /// The header is still to be told that somebody writes who does not know all features.
    var hasToClear: Bool

    /// The way of changed tables to the file.
    struct Commit: Sendable {
        enum Stage {
            case write(TableCache.Table)
            /// What has been written before becomes stable first.
            case synchronize(before: TableCache.Table)
            case synchronizeAll
            case release
            case writeReleased
        }

        var stage = Stage.write(.refcountBlock)
        /// The slots in front of this one have been looked at.
        var slot = 0
    }

    private static func bufferCount(_ header: Qcow2Header) -> Int {
        Int(min(max(bufferBytes / header.clusterBytes, bufferRange.lowerBound), bufferRange.upperBound))
    }

    static func memoryBytes(_ header: Qcow2Header) -> Int {
        bufferCount(header) * Int(header.clusterBytes) + zeroBytes + headerBytes
    }

    init(_ header: Qcow2Header, memoryFrom start: Int, isWritable: Bool) {
        self.isWritable = isWritable
        self.start = start
        clusterBytes = Int(header.clusterBytes)
        // Whatever refcounts say, nothing that is in the file is written over.
        nextCluster = (header.fileBytes + header.clusterBytes - 1) >> header.clusterBits
        claims = Array(repeating: 0..<0, count: isWritable ? Self.claimLimit : 0)
        isBufferTaken = Array(repeating: false, count: isWritable ? Self.bufferCount(header) : 0)
        hasToClear = header.autoclearFeatures != 0
        if isWritable { releases.reserveCapacity(Self.releaseLimit) }
    }

    /// Where memory is that is all zeroes.
    var zeroes: Int { start + isBufferTaken.count * clusterBytes }

    /// Where the header is.
    var header: Int { zeroes + Self.zeroBytes }

    /// Where a buffer of a cluster begins.
    func start(ofBuffer number: Int) -> Int { start + number * clusterBytes }

    mutating func takeBuffer() -> Int? {
        guard let number = isBufferTaken.firstIndex(of: false) else { return nil }
        isBufferTaken[number] = true
        return number
    }

    mutating func giveBack(buffer number: Int) { isBufferTaken[number] = false }

    func isClaimed(_ clusters: Range<UInt64>) -> Bool { claims.contains { $0.overlaps(clusters) } }

    /// Claims clusters of the disk; nil: there are too many claims.
    mutating func claim(_ clusters: Range<UInt64>) -> Int? {
        guard let number = claims.firstIndex(where: \.isEmpty) else { return nil }
        claims[number] = clusters
        return number
    }

    mutating func giveBack(claim number: Int) { claims[number] = 0..<0 }

    /// There is room for two more.
    var canRelease: Bool { releases.count < Self.releaseLimit - 1 }

    /// Clusters of the file have a user less. What there is no room for stays as it is: it is lost, and does no harm.
    mutating func release(_ clusters: Range<UInt64>) {
        guard let last = releases.last, last.upperBound == clusters.lowerBound else {
            if releases.count < Self.releaseLimit { releases.append(clusters) }
            return
        }
        releases[releases.count - 1] = last.lowerBound..<clusters.upperBound
    }

    /// The next cluster that is to be released.
    var nextReleased: UInt64? { releases.last?.lowerBound }

    /// It has been.
    mutating func endRelease() {
        let rest = releases[releases.count - 1].dropFirst()
        releases[releases.count - 1] = rest
        if rest.isEmpty { releases.removeLast() }
    }
}
