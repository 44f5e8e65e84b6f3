// Internal snapshots of an image (qcow2.txt, "Snapshots"): which there are, and the disk as it was at one.

/// What an image says of one of its internal snapshots.
public struct Qcow2Snapshot: Equatable, Sendable {
    /// Its number, as text: no other one has it.
    public let id: String
    /// The name that somebody has given it.
    public let name: String
    /// When it was taken, in seconds since 1970.
    public let seconds: UInt32
    /// The size of its disk in bytes.
    public let sizeBytes: UInt64
    /// The size of the state of a machine that it has beside the disk.
    public let stateBytes: UInt64
    /// Where its L1 table is.
    let l1TableOffset: UInt64
    let l1EntryCount: UInt64

    /// Where its L1 table is, in bytes of the file.
    var l1Table: Range<UInt64> { l1TableOffset..<l1TableOffset + l1EntryCount * 8 }

    /// As `qemu-img snapshot` finds it, for messages.
    fileprivate var words: String { "'\(name)' (\(id))" }
}

extension Qcow2Header {
    /// The most that a table of snapshots has, as in QEMU: 65536 entries, and 1024 bytes for each.
    private static let maximumSnapshots: UInt32 = 1 << 16
    private static let maximumSnapshotBytes: UInt64 = 1 << 26
    private static let maximumExtraBytes: UInt64 = 1024
    private static let entryBytes: UInt64 = 40

    /// Reads the table of snapshots.
    ///
    /// - Parameter read: gives bytes of the file, all of which are in it; nil if they cannot be read.
    /// - Returns: its entries, and where it is.
    public func snapshots(
        _ read: (Range<UInt64>) -> [UInt8]?
    ) throws(Qcow2Error) -> (entries: [Qcow2Snapshot], table: Range<UInt64>) {
        guard snapshotCount > 0 else { return ([], 0..<0) }
        guard snapshotCount <= Self.maximumSnapshots, snapshotsOffset & (clusterBytes - 1) == 0, snapshotsOffset > 0
        else { throw .snapshotTable(snapshotsOffset, count: snapshotCount) }
        var entries: [Qcow2Snapshot] = []
        var place = snapshotsOffset
        func bytes(_ count: UInt64) throws(Qcow2Error) -> [UInt8] {
            guard place - snapshotsOffset + count <= Self.maximumSnapshotBytes, place < fileBytes,
                count <= fileBytes - place, let bytes = read(place..<place + count)
            else { throw .snapshotEntry(entries.count + 1, at: place) }
            return bytes
        }
        for _ in 0..<snapshotCount {
            let fixed = try bytes(Self.entryBytes)
            let extraBytes = UInt64(fixed.number32(at: 36))
            let textBytes = UInt64(fixed.number16(at: 12)) + UInt64(fixed.number16(at: 14))
            guard extraBytes <= Self.maximumExtraBytes else { throw .snapshotEntry(entries.count + 1, at: place) }
            let all = try bytes(Self.entryBytes + extraBytes + textBytes)
            entries.append(try snapshot(all, extraBytes: Int(extraBytes), number: entries.count + 1, at: place))
            // An entry is filled up to 8 bytes; nothing needs to be behind the last one.
            place += (UInt64(all.count) + 7) & ~7
        }
        return (entries, snapshotsOffset..<place)
    }

    private func snapshot(
        _ bytes: [UInt8], extraBytes: Int, number: Int, at place: UInt64
    ) throws(Qcow2Error) -> Qcow2Snapshot {
        let (offset, count) = (bytes.number64(at: 0), UInt64(bytes.number32(at: 8)))
        guard count * 8 <= Self.maximumL1Bytes, offset & (clusterBytes - 1) == 0, offset < fileBytes,
            count * 8 <= fileBytes - offset
        else { throw .snapshotEntry(number, at: place) }
        let extra = Int(Self.entryBytes)
        let texts = bytes[(extra + extraBytes)...]
        let idBytes = Int(bytes.number16(at: 12))
        // A field that the extra data end before is not there.
        return Qcow2Snapshot(
            id: String(decoding: texts.prefix(idBytes), as: UTF8.self),
            name: String(decoding: texts.dropFirst(idBytes), as: UTF8.self), seconds: bytes.number32(at: 16),
            sizeBytes: extraBytes >= 16 ? bytes.number64(at: extra + 8) : sizeBytes,
            stateBytes: extraBytes >= 8 ? bytes.number64(at: extra) : UInt64(bytes.number32(at: 32)),
            l1TableOffset: offset, l1EntryCount: count)
    }

    /// The header of the disk as it was at a snapshot, which is only read.
    ///
    /// - Parameters:
    ///   - wanted: the snapshot's name; or its number, if none has that name.
    ///   - entries: all snapshots of the image.
    public func header(atSnapshot wanted: String, of entries: [Qcow2Snapshot]) throws(Qcow2Error) -> Qcow2Header {
        let named = entries.filter { $0.name == wanted }
        guard named.count < 2 else { throw .severalSnapshots(wanted, named.map(\.words)) }
        guard let snapshot = named.first ?? entries.first(where: { $0.id == wanted }) else {
            throw .noSnapshot(wanted, entries.map(\.words))
        }
        return try header(
            sizeBytes: snapshot.sizeBytes, l1TableOffset: snapshot.l1TableOffset, l1EntryCount: snapshot.l1EntryCount)
    }
}
