// Where cylinders, heads and sectors per track come from: QEMU's rules for `ide-hd`, the partition table included.

/// Cylinders, heads and sectors per track (ATA/ATAPI-5, words 1, 3 and 6).
public struct Geometry: Equatable, Sendable {
    /// 1 to 65,535.
    public var cylinders: UInt32
    /// 1 to 16.
    public var heads: UInt32
    /// 1 to 255.
    public var sectorsPerTrack: UInt32

    /// Creates a geometry; nothing is checked here.
    public init(cylinders: UInt32, heads: UInt32, sectorsPerTrack: UInt32) {
        self.cylinders = cylinders
        self.heads = heads
        self.sectorsPerTrack = sectorsPerTrack
    }
}

/// The geometry that a DOS partition table implies: partitions end at the end of a cylinder, so the first one's end
/// address tells heads and sectors per track.
public struct BootSectorGeometry: Equatable, Sendable {
    /// The boot sector of a PC: the table ends it with 55h AAh, whatever the size of a logical block.
    public static let byteCount = 512
    /// Cylinders to cover the medium, and the heads and sectors per track of the partition's end.
    public let geometry: Geometry

    /// Reads a boot sector.
    /// - Parameters:
    ///   - bytes: the first ``byteCount`` bytes of the medium.
    ///   - sectors: the medium's size.
    /// - Returns: nil if it has no 55h AAh, no partition that tells a geometry, or one with more than 16 heads, which
    ///   is a BIOS translation and not what the drive has.
    public init?(bootSector bytes: RawSpan, sectors: UInt64) {
        guard bytes.byteCount >= Self.byteCount, bytes.word(at: 510) == 0xAA55 else { return nil }
        for entry in stride(from: 446, to: 510, by: 16) {
            let endHead = UInt32(bytes.byte(at: entry + 5))
            let sectorsPerTrack = UInt32(bytes.byte(at: entry + 6) & 63)
            guard bytes.doubleWord(at: entry + 12) != 0, endHead != 0, sectorsPerTrack != 0 else { continue }
            let heads = endHead + 1
            let cylinders = sectors / UInt64(heads * sectorsPerTrack)
            guard 1...16383 ~= cylinders else { continue }
            guard heads <= 16 else { return nil }
            geometry = Geometry(cylinders: UInt32(cylinders), heads: heads, sectorsPerTrack: sectorsPerTrack)
            return
        }
        return nil
    }
}

extension Geometry {
    /// The geometry of a drive: as its properties say, else as its boot sector implies, else 16 heads and 63 sectors
    /// with 2 to 16,383 cylinders. The last of these is where CHS ends (ATA/ATAPI-5
    /// clause 6, "CHS addressing").
    ///
    /// QEMU's quotient is a signed 32-bit number and wraps from 2^31 cylinders on; here it does not.
    init(_ properties: DriveProperties, sectors: UInt64, bootSector: BootSectorGeometry?) {
        if let geometry = properties.geometry ?? bootSector?.geometry {
            self = geometry
        } else {
            let cylinders = min(max(sectors / 1008, 2), 16383)
            self.init(cylinders: UInt32(cylinders), heads: 16, sectorsPerTrack: 63)
        }
    }
}
