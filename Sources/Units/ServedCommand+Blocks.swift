// Commands of many blocks: what the translation layer is asked for next, and what becomes of blocks that are compared.

import Blocks
import SCSI

extension ServedCommand {
    /// The work on the next blocks; nil for commands that have none.
    var work: Work? {
        switch duty {
        case .read: .read
        case .write: .write
        case .writeAndVerify: isSecondPass ? (cdb.comparesBytes ? .compare : .verify) : .write
        case .verify: cdb.comparesBytes ? .compare : .verify
        case .compareAndWrite: isSecondPass ? .write : .compare
        case .preFetch: .preFetch
        case .unmap: .trim
        case .writeSame:
            hasContent ? .copies : cdb.noDataOutBuffer || !cdb.unmap ? .zeroes : .trim
        default: nil
        }
    }

    /// Nothing of what follows depends on being done now.
    var mayPause: Bool {
        switch duty {
        case .verify, .preFetch, .unmap, .writeSame: true
        default: false
        }
    }

    /// There are blocks left, or may be.
    var hasMore: Bool { nextBlock < endBlock || duty == .unmap && descriptorsBegun < descriptorCount }

    /// The most blocks of one command: what a taskfile carries, in whole 4 KiB; what a list of ranges names; or what
    /// there is room for.
    private var commandLimit: UInt64 {
        switch work {
        case .trim: Self.maximumWriteSameBlocks
        case .compare, .copies: facts.blockSize.blocks(inBytes: UInt64(Judgement.pieceBytes))
        default: 65_528
        }
    }

    /// How many blocks the next command is for. One that others follow ends where 4 KiB do, so that these begin there:
    /// on most media they need not be alone.
    var nextBlockCount: UInt64 {
        let left = endBlock - nextBlock
        return left > commandLimit ? commandLimit - nextBlock % 8 : left
    }

    /// The next command, and the length of its data; nil after the last.
    mutating func nextBlocksCommand() -> (CommandDescriptorBlock, UInt32)? {
        if nextBlock == endBlock, !isSecondPass, duty == .writeAndVerify || duty == .compareAndWrite {
            isSecondPass = true
            nextBlock = blocks.lowerBound
        }
        let (first, count) = (nextBlock, UInt32(truncatingIfNeeded: nextBlockCount))
        guard count > 0, let work else { return nil }
        nextBlock += UInt64(count)
        let byteCount = UInt32(truncatingIfNeeded: facts.blockSize.bytes(ofBlocks: UInt64(count)))
        commandOffset = offset(of: first, work)
        switch work {
        case .read where facts.kind.isDisc:
            // Neither the address nor the length of a command for a disc is larger.
            return (
                .read10(
                    logicalBlockAddress: UInt32(truncatingIfNeeded: first),
                    transferLength: UInt16(truncatingIfNeeded: count)), byteCount
            )
        case .read, .compare: return (.read16(logicalBlockAddress: first, transferLength: count), byteCount)
        case .write, .copies:
            return (
                .write16(logicalBlockAddress: first, transferLength: count, forceUnitAccess: forcesUnitAccess),
                byteCount
            )
        case .verify: return (.verify16(logicalBlockAddress: first, verificationLength: count), 0)
        case .preFetch: return (.preFetch16(logicalBlockAddress: first, prefetchLength: count), 0)
        case .zeroes, .trim:
            let isTrim = work == .trim
            return (
                .writeSame16(
                    logicalBlockAddress: first, numberOfLogicalBlocks: count, unmap: isTrim || cdb.unmap,
                    noDataOutBuffer: !isTrim), isTrim ? UInt32(Judgement.trimListBytes) : 0
            )
        }
    }

    /// Where in the buffer the data of blocks are.
    private func offset(of first: UInt64, _ work: Work) -> Int {
        let inData = Int(facts.blockSize.bytes(ofBlocks: first - min(first, blocks.lowerBound)))
        return switch work {
        case .compare: scratchOffset
        case .read: inData
        // The data that COMPARE AND WRITE writes stand behind those that it expects.
        case .write: duty == .compareAndWrite ? inData + dataOutBytes / 2 : inData
        case .verify, .preFetch, .zeroes, .trim, .copies: 0
        }
    }

    /// Blocks have been read to be compared with the initiator's; nil if they are the same.
    func compare(_ buffer: RawSpan) -> Objection? {
        let byteCount = Int(scsi.transferLength)
        let start = Int(facts.blockSize.bytes(ofBlocks: nextBlock - blocks.lowerBound)) - byteCount
        return buffer.firstDifference(start, scratchOffset, count: byteCount).map {
            .miscompare(at: UInt64(start + $0))
        }
    }

    /// WRITE SAME: a block that is not all zeroes is written as often as there is room for.
    mutating func prepareCopies(_ buffer: inout MutableRawSpan) {
        guard !cdb.noDataOutBuffer else { return }
        let byteCount = Int(facts.blockSize.bytes)
        hasContent = buffer.bytes.firstNonZero(0..<byteCount) != nil
        guard hasContent else { return }
        // Blocks, and so their copies, are multiples of eight bytes.
        for offset in stride(from: byteCount, to: bufferNeeds.byteCount, by: 8) {
            buffer.storeBytes(of: buffer.bytes.loadWord(offset - byteCount), toByteOffset: offset, as: UInt64.self)
        }
    }
}

/// UNMAP (SBC-3).
extension ServedCommand {
    /// UNMAP block descriptors in the parameter list.
    var descriptorCount: Int { max(0, dataOutBytes - 8) / 16 }

    /// The objection to the parameter list: nothing is unmapped then.
    func judgeDescriptors(_ buffer: RawSpan) -> Objection? {
        guard dataLength != 0 else { return nil }
        guard dataLength >= 8, Int(dataLength) == dataOutBytes else {
            let isTooLong = Int(dataLength) > 8 + 16 * Self.maximumUnmapDescriptors
            return isTooLong ? .invalidField(7) : .parameterListLength
        }
        let listBytes: UInt16 = buffer.load(bufferNeeds.dataOffset + 2)
        guard Int(listBytes) <= dataOutBytes - 8 else { return .invalidParameter(2) }
        for index in 0..<descriptorCount where index < Int(listBytes) / 16 {
            let (first, count) = descriptor(index, buffer)
            guard facts.contains(first, count) else { return .outOfRange }
        }
        return nil
    }

    /// Goes on to the next descriptor that has blocks.
    mutating func nextDescriptor(_ buffer: RawSpan) {
        let listBytes: UInt16 = descriptorCount > 0 ? buffer.load(bufferNeeds.dataOffset + 2) : 0
        while nextBlock == endBlock, descriptorsBegun < descriptorCount {
            let (first, count) = descriptor(descriptorsBegun, buffer)
            descriptorsBegun += 1
            // Bytes behind the list are no part of it.
            guard descriptorsBegun <= Int(listBytes) / 16 else { continue }
            nextBlock = first
            endBlock = first + count
        }
    }

    private func descriptor(_ index: Int, _ buffer: RawSpan) -> (first: UInt64, count: UInt64) {
        let offset = bufferNeeds.dataOffset + 8 + 16 * index
        return (buffer.load(offset), UInt64(buffer.load(offset + 8, as: UInt32.self)))
    }
}
