// The log of Linux 6.1 when it finds the drive: libata's lines from the IDENTIFY DEVICE data, those of the SCSI layer
// and of sd from the pages that they ask for.

import ATA

/// The pages from which Linux takes what it logs about a disk.
struct ProbedPages {
    /// Standard INQUIRY data.
    var inquiry: [UInt8]
    /// READ CAPACITY (16) data.
    var readCapacity16: [UInt8]
    /// MODE SENSE (10) data with all pages.
    var modePages: [UInt8]
    /// The Block Limits VPD page.
    var blockLimits: [UInt8]
}

/// The lines that Linux logs about one disk, without time stamps.
struct KernelLog {
    let identify: IdentifyData
    let pages: ProbedPages
    let placement: Placement

    /// All lines. The kernel probes asynchronously, so that in a real log the line of the generic device (`sg0`) may
    /// stand anywhere among those of sd; here it comes before "Attached SCSI disk".
    var lines: [String] {
        libataLines.map { "\(placement.ataName): \($0)" }
            + ["scsi \(placement.scsiAddress): \(inquiryLine)"]
            + diskLines.map { "sd \(placement.scsiAddress): [\(placement.diskName)] \($0)" }
            + ["sd \(placement.scsiAddress): Attached scsi generic \(placement.genericName) type 0"]
            + ["sd \(placement.scsiAddress): [\(placement.diskName)] Attached SCSI disk"]
    }

    /// libata: what the drive is, how it is addressed, and on AHCI which mode was chosen. The PIIX driver chooses one
    /// as well, but says so only after a reset.
    private var libataLines: [String] {
        let sectors = identify.sectors
        // libata believes in LBA48 only if there is a capacity to go with it.
        let addressing = identify.supportsLBA48 && sectors != 0 ? "LBA48" : "LBA"
        var lines = [
            "ATA-\(majorVersion): \(identify.modelNumber), \(identify.firmwareRevision), "
                + "max \(identify.fastestTransferMode)",
            "\(sectors) sectors, multi \(multipleCount): \(addressing) \(queueing)",
        ]
        if placement.controller == .ich9AHCI {
            // A hardware reset result (word 93) is a parallel drive's: libata takes it to sit behind a bridge.
            if identify[word: 93] != 0 { lines.append("applying bridge limits") }
            lines.append("configured for \(identify.fastestTransferMode)")
        }
        return lines
    }

    /// The highest standard in word 80.
    private var majorVersion: Int {
        let versions = identify[word: 80]
        return versions == 0xFFFF ? 0 : (1...14).last { versions & 1 << UInt16($0) != 0 } ?? 0
    }

    /// The sectors a block of READ MULTIPLE, if both the limit (word 47) and the setting (word 59) are valid.
    private var multipleCount: Int {
        let limit = Int(identify[word: 47] & 0xFF)
        let count = Int(identify[word: 59] & 0xFF)
        let valid = identify[word: 47] >> 8 == 0x80 && identify[word: 59] & 0x0100 != 0
        return valid && count <= limit && count.nonzeroBitCount == 1 && limit.nonzeroBitCount == 1 ? count : 0
    }

    /// Both libata's queue for an AHCI port and the drive's are 32 deep; without NCQ the line ends in a space.
    private var queueing: String { identify.supportsNCQ ? "NCQ (depth \(identify.queueDepth))" : "" }

    /// The SCSI layer: vendor, product and revision with their padding.
    private var inquiryLine: String {
        let text = { (range: Range<Int>) in String(decoding: pages.inquiry[range], as: UTF8.self) }
        return "Direct-Access     \(text(8..<16)) \(text(16..<32)) \(text(32..<36)) PQ: \(pages.inquiry[0] >> 5) "
            + "ANSI: \(pages.inquiry[2] & 7)"
    }

    /// sd: size, protection, cache and the block limits.
    private var diskLines: [String] {
        let lastBlock = bigEndian(pages.readCapacity16[0..<8])
        let blockBytes = UInt32(bigEndian(pages.readCapacity16[8..<12]))
        let physicalBytes = blockBytes << UInt32(pages.readCapacity16[13] & 0x0F)
        // A drive without sectors says FFFFFFFFFFFFFFFFh, and the kernel's sum wraps to 0 as well.
        let blocks = lastBlock &+ 1
        let decimal = CapacityUnits.decimal.text(blocks: blocks, blockBytes: blockBytes)
        let binary = CapacityUnits.binary.text(blocks: blocks, blockBytes: blockBytes)
        var lines = ["\(blocks) \(blockBytes)-byte logical blocks: (\(decimal)/\(binary))"]
        if physicalBytes != blockBytes { lines.append("\(physicalBytes)-byte physical blocks") }
        let header = pages.modePages[0..<4]
        lines += [
            "Write Protect is \(header[3] & 0x80 != 0 ? "on" : "off")",
            "Mode Sense: \(header.map { $0.hex(2) }.joined(separator: " "))",
            cacheLine,
        ]
        let granularity = bigEndian(pages.blockLimits[6..<8])
        if granularity != 0 { lines.append("Preferred minimum I/O size \(granularity * UInt64(blockBytes)) bytes") }
        return lines
    }

    /// sd looks at WCE and RCD of the caching mode page, and at DPOFUA in the header.
    private var cacheLine: String {
        let caching = modePage(0x08)
        let write = caching[2] & 0x04 != 0 ? "enabled" : "disabled"
        let read = caching[2] & 0x01 != 0 ? "disabled" : "enabled"
        let force = pages.modePages[3] & 0x10 != 0 ? "supports DPO and FUA" : "doesn't support DPO or FUA"
        return "Write cache: \(write), read cache: \(read), \(force)"
    }

    /// A mode page out of the MODE SENSE (10) data; three zeroes if it is not there.
    private func modePage(_ code: UInt8) -> [UInt8] {
        var rest = pages.modePages.dropFirst(8 + Int(bigEndian(pages.modePages[6..<8])))
        while rest.count >= 3, let page = rest.first, let length = rest.dropFirst().first {
            if page & 0x3F == code { return Array(rest) }
            rest = rest.dropFirst(2 + Int(length))
        }
        return [0, 0, 0]
    }
}

/// A big-endian number.
func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
