// How commands use the registers for addresses and counts (ACS-4 clause 4, "48-bit Address feature set"; clause 7, READ
// FPDMA QUEUED; CHS: ATA/ATAPI-5 clause 6).

/// Which registers hold a command's address and count.
@usableFromInline enum TaskfileLayout: Sendable {
    /// 8-bit count, LBA in 24 bits and the low bits of the device register.
    case lba28
    /// 16-bit count and 48-bit LBA, current and previous content.
    case lba48
    /// 16-bit count in the feature register, 48-bit LBA; the end of the command changes none of them, because a Set
    /// Device Bits FIS carries the status and error registers only.
    case queued

    /// The number of sectors; zero stands for the largest.
    func count(in taskfile: Taskfile) -> UInt32 {
        switch self {
        case .lba28: taskfile.count & 0x00FF == 0 ? 256 : UInt32(taskfile.count & 0x00FF)
        case .lba48: taskfile.count == 0 ? 65536 : UInt32(taskfile.count)
        case .queued: taskfile.feature == 0 ? 65536 : UInt32(taskfile.feature)
        }
    }
}

/// CHS addresses count by these heads and sectors per track.
struct CHSTranslation {
    private var heads: UInt64
    private var sectorsPerTrack: UInt64

    init(heads: UInt32, sectorsPerTrack: UInt32) {
        self.heads = UInt64(heads)
        self.sectorsPerTrack = UInt64(sectorsPerTrack)
    }

    /// The sector that the registers of a command name. One that cannot be (sector 0 of the first track, or any
    /// address after INITIALIZE DEVICE PARAMETERS without sectors) comes out larger than any medium.
    @inline(__always)
    func firstSector(of taskfile: Taskfile, _ layout: TaskfileLayout) -> UInt64 {
        if layout == .queued { return taskfile.lba & 0xFFFF_FFFF_FFFF }
        if taskfile.device & Taskfile.deviceLBA == 0 { return sector(atCHS: taskfile.lba, device: taskfile.device) }
        if layout == .lba48 { return taskfile.lba & 0xFFFF_FFFF_FFFF }
        return UInt64(taskfile.device & 0x0F) << 24 | taskfile.lba & 0xFF_FFFF
    }

    /// Lets the registers name another sector, in the way in which they named the first.
    ///
    /// Inlined, like ``firstSector(of:_:)``: registers that are passed on are put together from bytes that were stored
    /// one by one a moment ago, and for these a processor waits.
    @inline(__always)
    func store(_ sector: UInt64, _ layout: TaskfileLayout, in result: inout TaskfileResult) {
        if layout == .queued { return }
        if result.device & Taskfile.deviceLBA == 0 {
            (result.lba, result.device) = chs(of: sector, lba: result.lba, device: result.device)
        } else if layout == .lba48 {
            result.lba = sector & 0xFFFF_FFFF_FFFF
        } else {
            result.lba = result.lba & ~0xFF_FFFF | sector & 0xFF_FFFF
            result.device = result.device & 0xF0 | UInt8(truncatingIfNeeded: sector >> 24) & 0x0F
        }
    }

    /// LBA low is the sector, counted from one; mid and high are the cylinder; the device register has the head.
    private func sector(atCHS lba: UInt64, device: UInt8) -> UInt64 {
        guard sectorsPerTrack != 0 else { return .max }
        let cylinder = lba >> 8 & 0xFFFF
        let head = UInt64(device & 0x0F)
        return (cylinder &* heads &+ head) &* sectorsPerTrack &+ (lba & 0xFF) &- 1
    }

    private func chs(of sector: UInt64, lba: UInt64, device: UInt8) -> (lba: UInt64, device: UInt8) {
        let (track, rest) = sectorsPerTrack == 0 ? (0, 0) : sector.quotientAndRemainder(dividingBy: sectorsPerTrack)
        let (cylinder, head) = heads == 0 ? (0, 0) : track.quotientAndRemainder(dividingBy: heads)
        return (
            lba & ~0xFF_FFFF | (cylinder & 0xFFFF) << 8 | (rest &+ 1) & 0xFF,
            device & 0xF0 | UInt8(truncatingIfNeeded: head) & 0x0F
        )
    }
}
