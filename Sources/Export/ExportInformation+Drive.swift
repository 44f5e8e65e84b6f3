// NBD's facts about an export, read from the drive's IDENTIFY DEVICE data (ACS-4 7.12) and its medium.

import ATA
import NBD

/// Facts that only the medium knows.
public struct BlockTraits: Equatable, Sendable {
    /// Nothing can be written.
    public var isReadOnly: Bool
    /// Zeroes are stored without writing them when space may be given back, and when it may not.
    public var zeroesFast: Bool
    /// Answered writes may have to be flushed later, even if they need not be now: an initiator can switch the drive's
    /// write cache off and on again.
    public var hasToBeFlushed: Bool

    /// Describes a medium.
    public init(isReadOnly: Bool, zeroesFast: Bool, hasToBeFlushed: Bool = false) {
        self.isReadOnly = isReadOnly
        self.zeroesFast = zeroesFast
        self.hasToBeFlushed = hasToBeFlushed
    }
}

extension ExportInformation {
    /// Describes the export of a drive; without a `description` by what the drive is. Throws when the protocol does not
    /// allow such a name or description.
    public init(
        name: String, description: String? = nil, drive: Drive, blocks: BlockTraits
    ) throws(ExportInformationError) {
        switch drive.kind {
        case .disk, .hardDisk, .solidState:
            try self.init(name: name, description: description, identifyData: drive.identifyData, blocks: blocks)
        case .dvdROM, .fullDVDROM:
            // Read-only, and without a command that brings blocks closer.
            try self.init(
                name: name, description: description ?? Self.describe(drive.identifyData, sectors: drive.sectors),
                sizeBytes: drive.blockSize.bytes(ofBlocks: drive.sectors),
                flags: [.hasFlags, .readOnly, .rotational, .sendDF, .canMultiConn],
                blockSizes: try BlockSizes(minimumBytes: UInt32(drive.blockSize.bytes), preferredBytes: 4096))
        }
    }

    /// Describes the export of a disk by its data.
    public init(
        name: String, description: String? = nil, identifyData: IdentifyData, blocks: BlockTraits
    ) throws(ExportInformationError) {
        var flags: TransmissionFlags = [.hasFlags, .sendDF, .sendCache, .canMultiConn]
        if identifyData.rotationRate != 1 { flags.insert(.rotational) }
        if blocks.isReadOnly {
            flags.insert(.readOnly)
        } else {
            flags.insert(.sendWriteZeroes)
            if blocks.zeroesFast { flags.insert(.sendFastZero) }
            if identifyData.supportsTrim { flags.insert(.sendTrim) }
            // Without a write cache every answered write is stable, and a client may know that.
            if identifyData.writeCacheEnabled || blocks.hasToBeFlushed { flags.insert(.sendFlush) }
            if identifyData.supportsForceUnitAccess { flags.insert(.sendFUA) }
        }
        let logical = identifyData.logicalSectorBytes
        try self.init(
            name: name, description: description ?? Self.describe(identifyData, sectors: identifyData.sectors),
            sizeBytes: identifyData.sectors * UInt64(logical), flags: flags,
            blockSizes: try BlockSizes(
                minimumBytes: logical, preferredBytes: max(identifyData.physicalSectorBytes, 4096)))
    }

    /// The drive in one line for people.
    static func describe(_ identifyData: IdentifyData, sectors: UInt64) -> String {
        let identity = "\(identifyData.modelNumber) \(identifyData.firmwareRevision)"
        let size = sectors == 0 ? "no disc" : sectors == 1 ? "1 sector" : "\(sectors) sectors"
        return "\(identity), serial \(identifyData.serialNumber), \(size)"
    }
}
