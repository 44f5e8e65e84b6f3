// A DVD-ROM's lines of Linux 6.1 and lshw 02.19, from its identity, INQUIRY data and capabilities mode page.

import ATA

/// Reports on one DVD-ROM.
struct DVDText {
    let identify: IdentifyData
    /// Standard INQUIRY data.
    let inquiry: [UInt8]
    /// The MM Capabilities and Mechanical Status mode page (MMC-3 6.3.11).
    let capabilities: [UInt8]
    /// There is a medium.
    let isReady: Bool
    /// That of a partition table on the medium.
    let diskSignature: UInt32?
    /// It has partitions.
    let isPartitioned: Bool
    let placement: Placement

    /// The lines that Linux logs about it, without time stamps: libata's, that of the SCSI layer, those of sr.
    var kernelLines: [String] {
        let libata = [
            "ATAPI: \(identify.modelNumber), \(identify.firmwareRevision), max \(identify.fastestTransferMode)"
        ]
        // The PIIX driver chooses a mode as well, but says so only after a reset.
        let mode = placement.controller == .ich9AHCI ? ["configured for \(identify.fastestTransferMode)"] : []
        let sr = "sr \(placement.scsiAddress): "
        return (libata + mode).map { "\(placement.ataName): \($0)" } + [
            "scsi \(placement.scsiAddress): \(inquiryLine)",
            "\(sr)[\(placement.discName)] scsi3-mmc drive: \(abilities)",
            "cdrom: Uniform CD-ROM driver Revision: 3.20",
            "\(sr)Attached scsi CD-ROM \(placement.discName)",
            "\(sr)Attached scsi generic \(placement.genericName) type 5",
        ]
    }

    private var inquiryLine: String {
        let text = { (range: Range<Int>) in String(decoding: inquiry[range], as: UTF8.self) }
        return "CD-ROM            \(text(8..<16)) \(text(16..<32)) \(text(32..<36)) PQ: \(inquiry[0] >> 5) "
            + "ANSI: \(inquiry[2] & 7)"
    }

    /// sr's words for what the page says: the present and the greatest speed, in those of a CD player, then abilities.
    private var abilities: String {
        let speeds = [14, 8].map { "\(bigEndian(capabilities[$0..<$0 + 2]) / 176)x" }.joined(separator: "/")
        let words = [
            (3, 0x01, "writer "), (3, 0x20, "dvd-ram "), (2, 0x02, "cd/rw "), (4, 0x20, "xa/form2 "),
            (5, 0x01, "cdda "),
        ].filter { byte, bit, _ in Int(capabilities[byte]) & bit != 0 }.map(\.2).joined()
        let mechanisms = ["caddy", "tray", "pop-up", "", "changer", "cartridge changer", "", ""]
        return "\(speeds) \(words)\(mechanisms[Int(capabilities[6] >> 5)])"
    }

    /// lshw's `*-cdrom` section, and `*-medium` in it. Sections of partitions are left out: lshw looks into each.
    var lshwText: String {
        let text = { (range: Range<Int>) in String(decoding: inquiry[range], as: UTF8.self).withoutOuterSpaces }
        let attributes = [
            "description: DVD reader", "product: \(text(16..<32))", "vendor: \(text(8..<16))",
            "physical id: 0.\(placement.unit).0", "bus info: scsi@\(placement.bus):0.\(placement.unit).0",
            "logical name: /dev/\(placement.discName)", "version: \(text(32..<36))",
            "capabilities: \(inquiry[1] & 0x80 != 0 ? "removable " : "")audio dvd",
            "configuration: ansiversion=\(inquiry[2] & 7) status=\(isReady ? "ready" : "nodisc")",
        ]
        let partitioned = isPartitioned ? ["capabilities: partitioned partitioned:dos"] : []
        let signature = diskSignature.map { ["configuration: signature=\($0.hex(8))"] } ?? []
        let medium = ["physical id: 0", "logical name: /dev/\(placement.discName)"] + partitioned + signature
        return "  *-cdrom\n" + attributes.map { "       \($0)\n" }.joined()
            + (isReady ? "     *-medium\n" + medium.map { "          \($0)\n" }.joined() : "")
    }
}
