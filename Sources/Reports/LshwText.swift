// The `*-disk` section that lshw 02.19 prints, from INQUIRY data, the serial number page and the capacity.

/// The section of one disk.
struct LshwText {
    /// Standard INQUIRY data.
    let inquiry: [UInt8]
    /// The Unit Serial Number VPD page.
    let serialNumberPage: [UInt8]
    /// The kernel's source of the size: READ CAPACITY (16) data.
    let readCapacity16: [UInt8]
    let placement: Placement

    /// The whole section; lines that would have no value are left out.
    var text: String {
        let attributes = [
            ("description", "ATA Disk"), ("product", field(inquiry[16..<32])), ("physical id", "0.\(placement.unit).0"),
            ("bus info", "scsi@\(placement.bus):0.\(placement.unit).0"), ("logical name", "/dev/\(placement.diskName)"),
            ("version", field(inquiry[32..<36])), ("serial", field(serialNumberPage[4...])), ("size", size),
            ("configuration", configuration),
        ]
        return "  *-disk\n"
            + attributes.filter { !$0.1.isEmpty }.map { name, value in "       \(name): \(value)\n" }.joined()
    }

    private func field(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes, as: UTF8.self).withoutOuterSpaces
    }

    private var blockBytes: UInt64 { bigEndian(readCapacity16[8..<12]) }

    private var configuration: String {
        let physicalBytes = blockBytes << UInt64(readCapacity16[13] & 0x0F)
        return "ansiversion=\(inquiry[2] & 7) logicalsectorsize=\(blockBytes) sectorsize=\(physicalBytes)"
    }

    private var size: String {
        let bytes = (bigEndian(readCapacity16[0..<8]) &+ 1) &* blockBytes
        if bytes == 0 { return "" }
        let binary = shortened(bytes, by: 1024, upTo: 10240)
        let decimal = shortened(bytes, by: 1000, upTo: 10000)
        return "\(binary)iB (\(decimal)B)"
    }

    /// lshw's short form: divided, and cut off, while it is larger than a limit or divides without a rest.
    private func shortened(_ bytes: UInt64, by divisor: UInt64, upTo limit: UInt64) -> String {
        let prefixes = ["", "K", "M", "G", "T", "P", "E"]
        var value = bytes
        var power = 0
        while power < prefixes.count - 1, value > limit || value % divisor == 0 {
            value /= divisor
            power += 1
        }
        return "\(value)\(prefixes[power])"
    }
}
