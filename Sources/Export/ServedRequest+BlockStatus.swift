// BLOCK_STATUS: one GET LBA STATUS (16) after another (SBC-4), whose answers become the descriptors of a status chunk
// (NBD protocol, NBD_CMD_BLOCK_STATUS).

import NBD
import SCSI
import Units

extension ServedRequest {
    /// The most SCSI commands, and so descriptors, for one BLOCK_STATUS. A client asks again behind a shorter answer,
    /// and nobody else waits long while the medium is asked; with extended descriptors it fills a page.
    static let statusCommandLimit = 256

    /// The room for descriptors.
    static func descriptorAreaBytes(isExtended: Bool) -> Int {
        statusCommandLimit * BlockStatusDescriptor.byteCount(isExtended: isExtended)
    }

    /// Where the descriptors that are in the buffer end.
    public var descriptorBytes: Int {
        Int(descriptorCount) * BlockStatusDescriptor.byteCount(isExtended: isExtended)
    }

    /// There is an answer, and there will be no more of it.
    var statusIsComplete: Bool {
        statusCommands > 0 && (flags.contains(.reqOne) || statusCommands >= Self.statusCommandLimit)
    }

    /// Goes on after the medium was asked as ``UnitStep/lbaStatus(lba:limit:)`` says.
    public mutating func resumeLBAStatus(
        isMapped: Bool, count: UInt32, on export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> UnitStep {
        precondition(count > 0, "the medium has to say something of the sector that it is asked about")
        var data = InlineArray<24, UInt8>(repeating: 0)
        var elements = data.mutableSpan
        // Every pattern of bits is a byte.
        var bytes = unsafe elements.mutableBytes
        let step = export.translation.resumeLBAStatus(&scsi, mapped: isMapped, count: count, data: &bytes)
        if case .finished(.good, _) = step, let status = LBAStatusData(parsing: bytes.bytes) {
            append(status, to: &buffer)
        }
        return follow(step, export: &export, buffer: &buffer)
    }

    /// Appends the status as a descriptor, cut to the range of the request, or lengthens the last one.
    private mutating func append(_ status: LBAStatusData, to buffer: inout MutableRawSpan) {
        let start = max(blockSize.bytes(ofBlocks: nextSector), offsetBytes)
        nextSector += UInt64(status.numberOfLogicalBlocks)
        let end = min(blockSize.bytes(ofBlocks: nextSector), offsetBytes + lengthBytes)
        guard start < end else { return }
        // Unstored sectors on a medium of Spindle read as zeroes, whatever the drive promises of a TRIM.
        var descriptor = BlockStatusDescriptor(
            lengthBytes: end - start, state: status.provisioningStatus == .deallocated ? [.hole, .zero] : [])
        let last = descriptorBytes - BlockStatusDescriptor.byteCount(isExtended: isExtended)
        if last >= 0 {
            let before = BlockStatusDescriptor(isExtended: isExtended, from: buffer.bytes, at: last)
            if before.state == descriptor.state {
                descriptor.lengthBytes += before.lengthBytes
                descriptorCount -= 1
            }
        }
        descriptor.encode(isExtended: isExtended, into: &buffer, at: descriptorBytes)
        descriptorCount += 1
    }
}
