// A recording as a log of the kernel's dm-log-writes (drivers/md/dm-log-writes.c), for xfstests' replay-log.

import Blocks

extension Recording {
    private static let magic: UInt64 = 0x6A73_6677_7368_72
    private static let version: UInt64 = 1
    private static let flush: UInt64 = 1 << 0
    private static let discard: UInt64 = 1 << 2

    /// Writes the log. A flush comes behind what it covers, and before what ended while it was under way, as the kernel
    /// has it; zeroes are writes.
    public func exportLogWrites(to path: String) throws(RecordingsError) {
        let log = try File(making: path)
        let blockSize = history.header.blockSize
        let entries = entriesInKernelsOrder
        try log.write(
            words([Self.magic, Self.version, UInt64(entries.count), blockSize.bytes], blockSize), at: 0)
        var place = blockSize.bytes
        for number in entries {
            let entry = history.entries[number]
            let flags = entry.kind == .flush ? Self.flush : entry.kind == .trim ? Self.discard : 0
            try log.write(
                words([entry.sectors.lowerBound, UInt64(entry.sectors.count), flags, 0], blockSize), at: place)
            place += blockSize.bytes
            let count = blockSize.bytes(ofBlocks: UInt64(entry.sectors.count))
            switch entry.kind {
            case .write:
                try log.copy(dataOffsets[number]..<dataOffsets[number] + count, of: file, to: place)
                place += count
            case .zeroes: place += count
            case .trim, .flush: break
            }
        }
        try log.resize(toBytes: place)
        log.finish()
    }

    private var entriesInKernelsOrder: [Int] {
        history.entries.indices.sorted { first, second in
            let (one, other) = (order(first), order(second))
            return one == other ? first < second : one < other
        }
    }

    /// Behind how many entries it comes, and whether it is a flush.
    private func order(_ number: Int) -> UInt64 {
        let entry = history.entries[number]
        return entry.kind == .flush ? entry.covered * 2 + 1 : entry.number * 2
    }

    /// A sector that begins with numbers.
    private func words(_ numbers: [UInt64], _ blockSize: BlockSize) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in numbers {
            for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift * 8))) }
        }
        return bytes + [UInt8](repeating: 0, count: Int(blockSize.bytes) - bytes.count)
    }
}
