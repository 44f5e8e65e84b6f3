// WRITE SAME (16): unmapping, and writing zeroes (SBC-4, SAT-5 clause 9; ACS-4 7.5 for DATA SET MANAGEMENT).

import ATA
import SCSI

extension TranslationLayer {
    /// Ranges in a block of DATA SET MANAGEMENT.
    static let trimRanges = UInt64(IdentifyData.byteCount) / 8

    /// The most sectors that one WRITE SAME (16) unmaps, which the Block Limits page says: 64 ranges of 65,535.
    static let maximumTrimSectors = trimRanges * SectorRange.maximumCount

    /// WRITE SAME (16) is for the kernel: the list of ranges is written over the data buffer, which is none of a
    /// program's.
    ///
    /// - UNMAP with a data-out buffer is what Linux sends for a discard: TRIM. It promises nothing about what is read
    ///   afterwards (LBPRZ is 0).
    /// - NDOB, no data-out buffer, makes zeroes the block to write. Linux does not use it; for exports, it becomes
    ///   writes of zeroes. Without UNMAP the blocks are mapped afterwards, NBD's NO_HOLE. With UNMAP they may be
    ///   unmapped instead, which SBC allows only as long as they then read as zeroes, so the medium decides.
    /// - Neither: Linux refuses it, and so does this layer.
    mutating func translateWriteSame(_ command: inout SCSICommandInProgress, _ data: inout MutableRawSpan)
        -> Translation
    {
        guard command.origin == .kernel else { return unknownCommand() }
        let range = SectorRange.in16(command.cdb)
        if command.cdb.noDataOutBuffer {
            return translateWriteZeroes(&command, range)
        }
        guard command.cdb.unmap, identifyData.supportsTrim else { return invalidField(1, bit: 3) }
        guard range.count <= Self.maximumTrimSectors else { return invalidField(2) }
        guard range.first < 1 << 48, range.first + range.count <= 1 << 48 else { return outOfRange() }
        guard command.transferLength >= IdentifyData.byteCount, data.byteCount >= IdentifyData.byteCount else {
            return refused(.illegalRequest, .parameterListLengthError)
        }
        storeTrimRanges(range, in: &data)
        // TRIM alone, and one block of ranges.
        return .taskfile(
            Taskfile(command: Command.dataSetManagement.rawValue, feature: 0x01, count: 1), isExtended: true)
    }

    /// Zeroes, in as many WRITE DMA commands as it takes; a length of 0 is everything up to the end.
    private mutating func translateWriteZeroes(_ command: inout SCSICommandInProgress, _ range: SectorRange)
        -> Translation
    {
        // ANCHOR asks for space that is reserved and holds nothing, which no medium here has.
        guard command.cdb[1] & 0x10 == 0 else { return invalidField(1, bit: 4) }
        guard let range = range.upToEnd(of: sectors) else { return outOfRange() }
        command.continuation = .zeroes(mayDeallocate: command.cdb.unmap)
        command.rest = range
        guard let first = command.rest.next() else { return .finished(dataLength: 0) }
        let (taskfile, isExtended) = transferTaskfile(first, writes: true)
        return .taskfile(taskfile, isExtended: isExtended)
    }

    /// The LBA range entries of TRIM (ACS-4 table 40): 48 bits of address, 16 bits of length, little-endian, unused
    /// ones 0.
    private func storeTrimRanges(_ range: SectorRange, in data: inout MutableRawSpan) {
        var rest = range
        for index in 0..<Int(Self.trimRanges) {
            let entry = rest.next().map { $0.first | $0.count << 48 } ?? 0
            data.storeBytes(of: entry.littleEndian, toByteOffset: 8 * index, as: UInt64.self)
        }
    }
}
