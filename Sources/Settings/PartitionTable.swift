// The DOS partition table of a disc that boots as a disk, too, such as those that install Debian.

/// What lshw 02.19 tells of the table in the first 512 bytes of a medium.
public struct PartitionTable: Equatable, Sendable {
    /// The disk signature (bytes 440 to 443); nil: it has none.
    public let signature: UInt32?
    /// It has partitions. An entry that begins with block 0, as the one of a whole disc, is none.
    public let hasPartitions: Bool

    /// Reads a table.
    ///
    /// - Returns: nil where there is none, and for that of a GUID partition table, which tells nothing itself.
    public init?(bootSector: [UInt8]) {
        guard bootSector.count >= 512, bootSector[510] == 0x55, bootSector[511] == 0xAA else { return nil }
        func number(at offset: Int) -> UInt32 {
            bootSector[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        let entries = (0..<4).map { 446 + 16 * $0 }
        guard !entries.contains(where: { bootSector[$0 + 4] == 0xEE }) else { return nil }
        let signature = number(at: 440)
        self.signature = signature == 0 || signature == .max ? nil : signature
        // lshw looks into extended partitions (05h, 0Fh, 85h), which is not done here.
        hasPartitions =
            entries.allSatisfy { bootSector[$0] & 0x7F == 0 }
            && entries.contains {
                ![0x05, 0x0F, 0x85].contains(bootSector[$0 + 4]) && number(at: $0 + 8) > 0 && number(at: $0 + 12) > 0
            }
    }
}
