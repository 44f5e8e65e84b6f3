// Sizes for people, as Linux's sd driver writes them: three significant digits and a unit (lib/string_helpers.c,
// string_get_size).

/// The two kinds of units that sd prints.
enum CapacityUnits {
    /// Powers of 1000: kB, MB, GB.
    case decimal
    /// Powers of 1024: KiB, MiB, GiB.
    case binary

    private var divisor: UInt64 { self == .decimal ? 1000 : 1024 }
    private var names: [String] {
        switch self {
        case .decimal: ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB"]
        case .binary: ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB"]
        }
    }

    /// A number of blocks as a size.
    func text(blocks: UInt64, blockBytes: UInt32) -> String {
        var power = 0
        var size = blocks
        // Like the kernel, make room for the product first, at the price of precision in what is cut off.
        while size >> 32 != 0 {
            size /= divisor
            power += 1
        }
        size *= UInt64(blockBytes)
        var remainder: UInt64 = 0
        while size >= divisor {
            remainder = size % divisor
            size /= divisor
            power += 1
        }
        if self == .binary { remainder = (remainder * 1000) >> 10 }
        // Round half up at the last digit that three significant ones leave, and carry.
        let decimals = size >= 100 || blocks == 0 ? 0 : size >= 10 ? 1 : 2
        remainder += [500, 50, 5][decimals]
        if remainder >= 1000 {
            remainder -= 1000
            size += 1
        }
        let fraction = decimals == 0 ? "" : "." + String(remainder).rightAligned(3, with: "0").prefix(decimals)
        return "\(size)\(fraction) \(names[power])"
    }
}
