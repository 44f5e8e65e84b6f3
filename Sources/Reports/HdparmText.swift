// The output of `hdparm -I` 9.65 for the drive, from the words of its IDENTIFY DEVICE data: the sections that a QEMU
// HARDDISK and a whole disk can fill, with any properties.

import ATA

/// The text of `hdparm -I`.
struct HdparmText {
    let identify: IdentifyData
    let placement: Placement

    /// The whole text.
    var text: String {
        let sections = [
            header, standards, configuration, medium, capabilities, transfers, features, security, worldWideName,
            resetResult, integrity,
        ]
        return "\n/dev/\(placement.diskName):\n\n" + sections.joined().map { $0 + "\n" }.joined()
    }

    /// hdparm's report of any DVD-ROM. The capture is its report of zeroes, as if a disk had sent
    /// them, and not of IDENTIFY PACKET DEVICE data. Why is not known.
    static func ofDVD(_ placement: Placement) -> String {
        """

        /dev/\(placement.discName):

        ATA device, with non-removable media
        Standards:
        \tLikely used: 1
        Configuration:
        \tLogical\t\tmax\tcurrent
        \tcylinders\t0\t0
        \theads\t\t0\t0
        \tsectors/track\t0\t0
        \t--
        \tLogical/Physical Sector size:           512 bytes
        \tdevice size with M = 1024*1024:           0 MBytes
        \tdevice size with M = 1000*1000:           0 MBytes\u{20}
        \tcache/buffer size  = unknown
        Capabilities:
        \tIORDY not likely
        \tCannot perform double-word IO
        \tR/W multiple sector transfer: not supported
        \tDMA: not supported
        \tPIO: pio0\u{20}

        """
    }

    private func word(_ number: Int) -> UInt16 { identify[word: number] }

    private var header: [String] {
        [
            "ATA device, with \(word(0) & 0x0080 == 0 ? "non-" : "")removable media",
            "\tModel Number:       \(printable(identify.modelNumberField))",
            "\tSerial Number:      \(printable(identify.serialNumberField))",
            "\tFirmware Revision:  \(printable(identify.firmwareRevisionField))",
        ] + transport
    }

    /// Word 222, of which hdparm 9.65 knows six names.
    private var transport: [String] {
        guard isWhole else { return [] }
        let names = ["ATA8-AST", "SATA 1.0a", "SATA II Extensions", "SATA Rev 2.5", "SATA Rev 2.6", "SATA Rev 3.0"]
        let known = names.indices.filter { word(222) & 1 << UInt16($0) != 0 }.map { names[$0] }
        return ["\tTransport:          " + (["Serial"] + known).joined(separator: ", ")]
    }

    /// The words that a QEMU HARDDISK leaves out are there.
    private var isWhole: Bool { word(222) != 0 }

    /// hdparm leaves out spaces before the text and every NUL.
    private func printable(_ field: String) -> String {
        String(field.drop { $0 == " " }.filter { $0 != "\0" })
    }

    /// The standards in words 80 and 81. hdparm stops at ATA-4, the oldest that a drive of ATA-7 may still name, and
    /// finds ATA-6 in use where the drive names ATA-5 yet fills the upper half of word 83.
    private var standards: [String] {
        guard !isWhole else {
            let supported = (5...14).reversed().filter { word(80) & 1 << UInt16($0) != 0 }
            return [
                "Standards:", "\tUsed: unknown (minor revision code 0x\(word(81).hex(4))) ",
                "\tSupported: " + supported.map { "\($0) " }.joined(), "\tLikely used: \(supported[0])",
            ]
        }
        let supported = (4...14).reversed().filter { word(80) & 1 << UInt16($0) != 0 }
        let names = supported.map { "\($0) " }.joined()
        return [
            "Standards:", "\tUsed: ATA/ATAPI-5 published, ANSI INCITS 340-2000 ", "\tSupported: \(names)& some of 6",
        ]
    }

    /// Geometry and capacities: words 1 to 6, 54 to 61, 100 to 103, 106.
    private var configuration: [String] {
        let current = UInt32(word(58)) << 16 | UInt32(word(57))
        let sectors28 = UInt32(word(61)) << 16 | UInt32(word(60))
        let sectors48 = (100...103).reversed().reduce(UInt64(0)) { $0 << 16 | UInt64(word($1)) }
        // hdparm's idea of the size: the 48-bit capacity, and if that is 0 the larger of the other two.
        let sectors = sectors48 != 0 ? sectors48 : UInt64(max(sectors28, current))
        let bytes = sectors &* UInt64(identify.logicalSectorBytes)
        let thousands = bytes / 1000
        return [
            "Configuration:", "\tLogical\t\tmax\tcurrent",
            "\tcylinders\t\(word(1))\t\(word(54))", "\theads\t\t\(word(3))\t\(word(55))",
            "\tsectors/track\t\(word(6))\t\(word(56))", "\t--",
            "\tCHS current addressable sectors:\(aligned(current))",
            "\tLBA    user addressable sectors:\(aligned(sectors28))",
            "\tLBA48  user addressable sectors:\(aligned(sectors48))",
            "\tLogical  Sector size:           \(narrow(identify.logicalSectorBytes)) bytes",
            "\tPhysical Sector size:           \(narrow(identify.physicalSectorBytes)) bytes",
        ] + (word(209) != 0 ? ["\tLogical Sector-0 offset:        \(narrow(0)) bytes"] : []) + [
            "\tdevice size with M = 1024*1024: \(narrow(bytes >> 20)) MBytes",
            "\tdevice size with M = 1000*1000: \(narrow(thousands / 1000)) MBytes "
                + (thousands > 1000 ? "(\(thousands / 1_000_000) GB)" : ""),
        ]
    }

    /// hdparm's two columns end alike, but a number that is too wide for the second keeps its space.
    private func aligned(_ number: some FixedWidthInteger) -> String { number.rightAligned(12) }
    private func narrow(_ number: some FixedWidthInteger) -> String { number.rightAligned(11) }

    /// Buffer and rotation: words 21 (word 20 is 3 always) and 217. hdparm prints no rate up to 401h, which the
    /// standard reserves.
    private var medium: [String] {
        let rate = word(217)
        let size = word(21) == 0 ? "unknown" : "\(word(21) / 2) KBytes (type=DualPortCache)"
        return ["\tcache/buffer size  = \(size)"] + formFactor
            + (rate == 1 ? ["\tNominal Media Rotation Rate: Solid State Device"] : [])
            + (rate > 0x0401 ? ["\tNominal Media Rotation Rate: \(rate)"] : [])
    }

    /// Word 168.
    private var formFactor: [String] {
        switch word(168) & 0x000F {
        case 2: ["\tForm Factor: 3.5 inch"]
        case 3: ["\tForm Factor: 2.5 inch"]
        default: []
        }
    }

    /// Words 47, 49, 59 and, with NCQ, 75; 91 with Advanced Power Management.
    private var capabilities: [String] {
        let multiple = word(59) & 0x0100 != 0 ? "\(word(59) & 0xFF)" : "?"
        return ["Capabilities:", "\tLBA, IORDY(\(word(49) & 0x0400 != 0 ? "can" : "cannot") be disabled)"]
            + (identify.supportsNCQ ? ["\tQueue depth: \(identify.queueDepth)"] : [])
            + [
                "\tStandby timer values: spec'd by \(word(49) & 0x2000 != 0 ? "Standard" : "Vendor")"
                    + (word(50) & 0xC001 == 0x4000 ? ", no device specific minimum" : ""),
                "\tR/W multiple sector transfer: Max = \(word(47) & 0xFF)\tCurrent = \(multiple)",
            ] + powerManagement
    }

    private var powerManagement: [String] {
        guard word(83) & 0x0008 != 0 else { return [] }
        let isEnabled = word(86) & 0x0008 != 0
        return ["\tAdvanced power management level: \(isEnabled ? "\(word(91) & 0xFF)" : "disabled")"]
    }

    /// Transfer modes, the selected one marked, and cycle times: words 62 to 68 and 88.
    private var transfers: [String] {
        let families = [("s", word(62)), ("m", word(63)), ("u", word(88))]
        let modes = families.map { family, modes in
            (UInt16(0)..<8).filter { modes & 0x0101 << $0 != 0 }.map { mode in
                "\(modes & 0x0100 << mode != 0 ? "*" : "")\(family)dma\(mode) "
            }.joined()
        }
        // hdparm is puzzled if not exactly one mode is selected.
        let selected = families.reduce(0) { $0 + ($1.1 >> 8).nonzeroBitCount }
        let pio = (0..<11).filter { mode in mode < 3 || word(64) & 1 << UInt16(mode - 3) != 0 }.map { "pio\($0) " }
        return [
            "\tDMA: \(modes.joined())\(selected == 1 ? "" : "(?)")",
            "\t     Cycle time: min=\(word(65))ns recommended=\(word(66))ns",
            "\tPIO: \(pio.joined())",
            "\t     Cycle time: no flow control=\(word(67))ns  IORDY flow control=\(word(68))ns",
        ]
    }

    /// Feature sets, those enabled with a star: all that the drives here announce. TRIM of a QEMU HARDDISK is not among
    /// them, because hdparm looks for it only in drives of ATA-7 and later.
    private var features: [String] {
        ["Commands/features:", "\tEnabled\tSupported:"]
            + HdparmFeature.all.filter { word($0.supported) & 1 << $0.bit != 0 && (isWhole || !$0.isOfWholeDisk) }.map {
                "\t   \(word($0.enabled) & 1 << $0.bit != 0 ? "*" : " ")\t\($0.name)"
            } + (isWhole ? trim : [])
    }

    private var trim: [String] {
        guard identify.supportsTrim else { return [] }
        let limit = word(105) == 0 ? "unknown" : "\(word(105)) block\(word(105) == 1 ? "" : "s")"
        return ["\t   *\tData Set Management TRIM supported (limit \(limit))"]
            + (identify.supportsZeroesAfterTrim ? ["\t   *\tDeterministic read ZEROs after TRIM"] : [])
    }

    /// Words 89, 90, 92 and 128.
    private var security: [String] {
        guard word(128) & 0x0001 != 0 else { return [] }
        func line(_ bit: UInt16, _ text: String) -> String { "\t\(word(128) & 1 << bit != 0 ? "" : "not")\t\(text)" }
        return [
            "Security: ", "\tMaster password revision code = \(word(92))", "\t\tsupported", line(1, "enabled"),
            line(2, "locked"), line(3, "frozen"), line(4, "expired: security count"),
            line(5, "supported: enhanced erase"),
        ] + (word(128) & 0x0002 != 0 ? ["\tSecurity level \(word(128) & 0x0100 != 0 ? "maximum" : "high")"] : []) + [
            "\t\(word(89) * 2)min for SECURITY ERASE UNIT. \(word(90) * 2)min for ENHANCED SECURITY ERASE UNIT."
        ]
    }

    /// Words 108 to 111, taken apart as NAA 5 whatever the NAA says.
    private var worldWideName: [String] {
        guard let name = identify.worldWideName else { return [] }
        return [
            "Logical Unit WWN Device Identifier: \(name.hex(16))", "\tNAA\t\t: \((name >> 60).hex(1))",
            "\tIEEE OUI\t: \((name >> 36 & 0xFF_FFFF).hex(6))", "\tUnique ID\t: \((name & 0xF_FFFF_FFFF).hex(9))",
        ]
    }

    /// Word 93, of a parallel drive.
    private var resetResult: [String] {
        guard word(93) != 0 else { return [] }
        return [
            "HW reset results:", "\tCBLID- \(word(93) & 0x2000 != 0 ? "above" : "below") Vih",
            "\tDevice num = \(word(93) & 0x0001 != 0 ? 0 : 1)",
        ]
    }

    /// Word 255 has no signature; hdparm expects the checksum byte that would make the sum of all bytes 0.
    private var integrity: [String] {
        guard word(255) & 0x00FF != 0x00A5 else { return ["Checksum: correct"] }
        let sum = (0..<256).reduce(0) { $0 + Int(word($1) & 0xFF) + Int(word($1) >> 8) }
        let expected = 0x100 - sum & 0xFF
        return ["Integrity word not set (found 0x\(word(255).hex(4)), expected 0x\(expected.hex(2))a5)"]
    }
}

/// A feature as hdparm calls it: the words that say that it is there, and that it is enabled.
private struct HdparmFeature {
    let supported: Int
    let enabled: Int
    let bit: UInt16
    let name: String
    /// hdparm does not look for it in drives without a word 222.
    var isOfWholeDisk = false

    init(_ supported: Int, _ enabled: Int, _ bit: UInt16, _ name: String) {
        self.supported = supported
        self.enabled = enabled
        self.bit = bit
        self.name = name
        isOfWholeDisk = supported == 59 || supported == 69 || supported == 119 || supported == 206
    }

    /// In hdparm's order.
    static let all = [
        HdparmFeature(82, 85, 0, "SMART feature set"), HdparmFeature(82, 85, 1, "Security Mode feature set"),
        HdparmFeature(82, 85, 3, "Power Management feature set"), HdparmFeature(82, 85, 5, "Write cache"),
        HdparmFeature(82, 85, 6, "Look-ahead"), HdparmFeature(82, 85, 10, "Host Protected Area feature set"),
        HdparmFeature(82, 85, 12, "WRITE_BUFFER command"), HdparmFeature(82, 85, 13, "READ_BUFFER command"),
        HdparmFeature(82, 85, 14, "NOP cmd"), HdparmFeature(83, 86, 3, "Advanced Power Management feature set"),
        HdparmFeature(83, 86, 10, "48-bit Address feature set"), HdparmFeature(83, 86, 12, "Mandatory FLUSH_CACHE"),
        HdparmFeature(83, 86, 13, "FLUSH_CACHE_EXT"), HdparmFeature(84, 87, 0, "SMART error logging"),
        HdparmFeature(84, 87, 1, "SMART self-test"),
        HdparmFeature(84, 87, 5, "General Purpose Logging feature set"),
        HdparmFeature(84, 87, 6, "WRITE_{DMA|MULTIPLE}_FUA_EXT"), HdparmFeature(84, 87, 8, "64-bit World wide name"),
        HdparmFeature(84, 87, 13, "IDLE_IMMEDIATE with UNLOAD"),
        HdparmFeature(119, 120, 2, "WRITE_UNCORRECTABLE_EXT command"),
        HdparmFeature(119, 120, 3, "{READ,WRITE}_DMA_EXT_GPL commands"),
        HdparmFeature(119, 120, 8, "unknown 119[8]"), HdparmFeature(76, 76, 1, "Gen1 signaling speed (1.5Gb/s)"),
        HdparmFeature(76, 76, 2, "Gen2 signaling speed (3.0Gb/s)"),
        HdparmFeature(76, 76, 3, "Gen3 signaling speed (6.0Gb/s)"),
        HdparmFeature(76, 76, 8, "Native Command Queueing (NCQ)"),
        HdparmFeature(76, 76, 9, "Host-initiated interface power management"),
        HdparmFeature(76, 76, 10, "Phy event counters"),
        HdparmFeature(206, 206, 0, "SMART Command Transport (SCT) feature set"),
        HdparmFeature(206, 206, 2, "SCT Write Same (AC2)"),
        HdparmFeature(206, 206, 3, "SCT Error Recovery Control (AC3)"),
        HdparmFeature(206, 206, 4, "SCT Features Control (AC4)"),
        HdparmFeature(206, 206, 5, "SCT Data Tables (AC5)"), HdparmFeature(59, 59, 12, "SANITIZE feature set"),
        HdparmFeature(59, 59, 13, "CRYPTO_SCRAMBLE_EXT command"),
        HdparmFeature(59, 59, 14, "OVERWRITE_EXT command"), HdparmFeature(59, 59, 15, "BLOCK_ERASE_EXT command"),
        HdparmFeature(69, 69, 10, "WRITE BUFFER DMA command"),
        HdparmFeature(69, 69, 11, "READ BUFFER DMA command"),
    ]
}
