// DATA SET MANAGEMENT with TRIM (ACS-4 clause 7, by this name): a list of ranges whose content is no longer needed.

extension Drive {
    /// DATA SET MANAGEMENT. The feature register has to be 01h, TRIM alone. The count is that of 512-byte blocks of
    /// ranges. A QEMU drive looks at its low 8 bits only, and takes 0 for none.
    mutating func dataSetManagement(_ command: inout CommandInProgress, _ data: RawSpan) -> Step {
        guard command.taskfile.feature & 0x00FF == 0x01 else { return aborted(command) }
        command.layout = .lba48
        command.first = chsTranslation.firstSector(of: command.taskfile, .lba48)
        command.count = UInt32(command.taskfile.count & 0x00FF)
        return trim(&command, data)
    }

    /// The next ranges that follow each other, as one operation; at the end of the list the command is done. A range
    /// that is not wholly on the medium aborts it, when everything before that range is done.
    mutating func trim(_ command: inout CommandInProgress, _ data: RawSpan) -> Step {
        switch nextTrimRange(&command, data) {
        case .none: return trimmed(command)
        case .outside: return aborted(command)
        case .range(let range):
            command.phase = .trimming
            return .blocks(.discard(lba: range.first, count: range.count))
        }
    }

    /// What a list of ranges has next.
    enum NextTrimRange {
        /// Nothing.
        case none
        /// A range that is not wholly on the medium.
        case outside
        /// This range, or these, which follow each other.
        case range(TrimRange)
    }

    /// Takes the next ranges that follow each other from a command's list.
    mutating func nextTrimRange(_ command: inout CommandInProgress, _ data: RawSpan) -> NextTrimRange {
        let entries = min(Int(command.count) * 64, data.byteCount / 8)
        var pending: TrimRange?
        while command.entry < entries {
            let range = TrimRange(data.quadWord(at: 8 * command.entry))
            if range.count == 0 || pending?.extend(by: range, within: sectors) == true {
                command.entry += 1
                continue
            }
            if pending != nil { break }
            guard range.end <= sectors else { return .outside }
            pending = range
            command.entry += 1
        }
        return pending.map { .range($0) } ?? .none
    }

    /// The address registers move on by the blocks of ranges, as if they had been sectors.
    private mutating func trimmed(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        if command.count != 0 {
            chsTranslation.store(command.first &+ UInt64(command.count), .lba48, in: &result)
            result.count &= 0xFF00
        }
        return .finished(result)
    }
}

/// LBA range entries (ACS-4 clause 7, DATA SET MANAGEMENT, "LBA Range Entry"): one, or several that follow each other.
struct TrimRange {
    var first: UInt64
    var count: UInt32

    var end: UInt64 { first + UInt64(count) }

    /// LBA in bits 47:0, number of sectors in bits 63:48.
    init(_ entry: UInt64) {
        first = entry & 0xFFFF_FFFF_FFFF
        count = UInt32(entry >> 48)
    }

    /// Takes in a range that begins where this one ends, if that is on the medium. A list has at most 255 x 64 ranges
    /// of 65,535 sectors, so the sum fits.
    mutating func extend(by next: TrimRange, within sectors: UInt64) -> Bool {
        guard next.first == end, next.end <= sectors else { return false }
        count += next.count
        return true
    }
}
