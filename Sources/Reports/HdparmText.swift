// The output of `hdparm -I` 9.65 for the drive, from the words of its IDENTIFY DEVICE data: the sections that a QEMU
// HARDDISK can fill, with any properties.

import ATA

/// The text of `hdparm -I`.
struct HdparmText {
    let identify: IdentifyData
    let placement: Placement

    /// The whole text.
    var text: String {
        let sections = [
            header, standards, configuration, medium, capabilities, transfers, features, worldWideName, resetResult,
            integrity,
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
        ]
    }

    /// hdparm leaves out spaces before the text and every NUL.
    private func printable(_ field: String) -> String {
        String(field.drop { $0 == " " }.filter { $0 != "\0" })
    }

    /// The standards in words 80 and 81. hdparm stops at ATA-4, the oldest that a drive of ATA-7 may still name, and
    /// finds ATA-6 in use where the drive names ATA-5 yet fills the upper half of word 83.
    private var standards: [String] {
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
        let thousands = (sectors << 9) / 1000
        return [
            "Configuration:", "\tLogical\t\tmax\tcurrent",
            "\tcylinders\t\(word(1))\t\(word(54))", "\theads\t\t\(word(3))\t\(word(55))",
            "\tsectors/track\t\(word(6))\t\(word(56))", "\t--",
            "\tCHS current addressable sectors:\(aligned(current))",
            "\tLBA    user addressable sectors:\(aligned(sectors28))",
            "\tLBA48  user addressable sectors:\(aligned(sectors48))",
            "\tLogical  Sector size:           \(narrow(identify.logicalSectorBytes)) bytes",
            "\tPhysical Sector size:           \(narrow(identify.physicalSectorBytes)) bytes",
            "\tdevice size with M = 1024*1024: \(narrow(sectors >> 11)) MBytes",
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
        return ["\tcache/buffer size  = \(word(21) / 2) KBytes (type=DualPortCache)"]
            + (rate == 1 ? ["\tNominal Media Rotation Rate: Solid State Device"] : [])
            + (rate > 0x0401 ? ["\tNominal Media Rotation Rate: \(rate)"] : [])
    }

    /// Words 47, 49, 59 and, with NCQ, 75.
    private var capabilities: [String] {
        let multiple = word(59) & 0x0100 != 0 ? "\(word(59) & 0xFF)" : "?"
        return ["Capabilities:", "\tLBA, IORDY(\(word(49) & 0x0400 != 0 ? "can" : "cannot") be disabled)"]
            + (identify.supportsNCQ ? ["\tQueue depth: \(identify.queueDepth)"] : [])
            + [
                "\tStandby timer values: spec'd by \(word(49) & 0x2000 != 0 ? "Standard" : "Vendor")",
                "\tR/W multiple sector transfer: Max = \(word(47) & 0xFF)\tCurrent = \(multiple)",
            ]
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

    /// Feature sets, those enabled with a star: words 82 to 87 and 76, from bit 0 up. These are all that a QEMU
    /// HARDDISK announces; TRIM is not among them, because hdparm looks for it only in drives of ATA-7 and later.
    private var features: [String] {
        let known: [(supported: Int, enabled: Int, bit: UInt16, name: String)] = [
            (82, 85, 0, "SMART feature set"), (82, 85, 5, "Write cache"), (82, 85, 14, "NOP cmd"),
            (83, 86, 10, "48-bit Address feature set"), (83, 86, 12, "Mandatory FLUSH_CACHE"),
            (83, 86, 13, "FLUSH_CACHE_EXT"), (84, 87, 8, "64-bit World wide name"),
            (76, 76, 8, "Native Command Queueing (NCQ)"),
        ]
        return ["Commands/features:", "\tEnabled\tSupported:"]
            + known.filter { word($0.supported) & 1 << $0.bit != 0 }.map { feature in
                "\t   \(word(feature.enabled) & 1 << feature.bit != 0 ? "*" : " ")\t\(feature.name)"
            }
    }

    /// Words 108 to 111, taken apart as NAA 5 whatever the NAA says.
    private var worldWideName: [String] {
        guard let name = identify.worldWideName else { return [] }
        return [
            "Logical Unit WWN Device Identifier: \(name.hex(16))", "\tNAA\t\t: \((name >> 60).hex(1))",
            "\tIEEE OUI\t: \((name >> 36 & 0xFF_FFFF).hex(6))", "\tUnique ID\t: \((name & 0xF_FFFF_FFFF).hex(9))",
        ]
    }

    /// Word 93.
    private var resetResult: [String] {
        [
            "HW reset results:", "\tCBLID- \(word(93) & 0x2000 != 0 ? "above" : "below") Vih",
            "\tDevice num = \(word(93) & 0x0001 != 0 ? 0 : 1)",
        ]
    }

    /// Word 255 has no signature; hdparm expects the checksum byte that would make the sum of all bytes 0.
    private var integrity: [String] {
        let sum = (0..<256).reduce(0) { $0 + Int(word($1) & 0xFF) + Int(word($1) >> 8) }
        let expected = 0x100 - sum & 0xFF
        return ["Integrity word not set (found 0x\(word(255).hex(4)), expected 0x\(expected.hex(2))a5)"]
    }
}
