// The taskfile: the command block registers as a host writes them (ACS-4 clause 6, ATA8-APT "register delivered").

/// A command as the host delivers it: the command block registers, each with its previous content where a 48-bit
/// command uses it.
///
/// `feature`, `count` and `lba` hold the current content in their low half (8, 8 and 24 bits) and the previous content
/// (HOB) in their high half. A 28-bit command looks at the low halves and takes LBA bits 27:24 from `device`.
public struct Taskfile: Equatable, Sendable {
    /// Bit 6 of the device register: the address is an LBA, not cylinder, head and sector.
    public static let deviceLBA: UInt8 = 0x40

    /// The feature register, previous content in bits 15:8.
    public var feature: UInt16
    /// The count register, previous content in bits 15:8. Zero stands for 256 (28-bit) or 65,536 (48-bit) sectors.
    public var count: UInt16
    /// LBA low, mid and high in bits 23:0, their previous content in bits 47:24.
    public var lba: UInt64
    /// The device register.
    public var device: UInt8
    /// The command register: the opcode.
    public var command: UInt8

    /// Creates a taskfile from register contents.
    @inlinable
    public init(command: UInt8, feature: UInt16 = 0, count: UInt16 = 0, lba: UInt64 = 0, device: UInt8 = 0) {
        self.feature = feature
        self.count = count
        self.lba = lba
        self.device = device
        self.command = command
    }
}
