// The packet of the PACKET command: a command descriptor block of MMC (ACS-3 clause 7, PACKET; MMC-6 clause 6).

/// A command packet of 12 bytes.
public struct CommandPacket: Sendable {
    /// The size that bits 1:0 of word 0 of the IDENTIFY PACKET DEVICE data name.
    public static let byteCount = 12

    private let bytes: InlineArray<12, UInt8>

    /// Creates a packet of the bytes that a function says.
    public init(_ byte: (Int) -> UInt8) {
        bytes = InlineArray(byte)
    }

    /// Byte 0 to 11.
    subscript(_ index: Int) -> UInt8 { bytes[index] }

    /// The 16-bit number at an offset, big-endian as all of SCSI.
    func word(at offset: Int) -> UInt32 { UInt32(bytes[offset]) << 8 | UInt32(bytes[offset + 1]) }

    /// The 32-bit number at an offset.
    func doubleWord(at offset: Int) -> UInt32 { word(at: offset) << 16 | word(at: offset + 2) }
}

/// The commands of a DVD-ROM, by MMC-6's names (clause 6). It refuses all other operation codes.
public enum PacketCommand: UInt8, CaseIterable, Sendable {
    case testUnitReady = 0x00
    case requestSense = 0x03
    case inquiry = 0x12
    case startStopUnit = 0x1B
    case preventAllowMediumRemoval = 0x1E
    case readCapacity = 0x25
    case read10 = 0x28
    case seek10 = 0x2B
    case readTOCPMAATIP = 0x43
    case getConfiguration = 0x46
    case getEventStatusNotification = 0x4A
    case readDiscInformation = 0x51
    case modeSense10 = 0x5A
    case read12 = 0xA8
    case readDiscStructure = 0xAD
    case setCDSpeed = 0xBB
    case mechanismStatus = 0xBD
    case readCD = 0xBE
    /// Only the full drive has these two.
    case modeSelect10 = 0x55
    case readCDMSF = 0xB9

    /// A drive has it.
    func isCommand(of kind: DriveKind) -> Bool {
        switch self {
        case .modeSelect10, .readCDMSF: kind == .fullDVDROM
        default: kind.isDisc
        }
    }

    /// It is executed while a unit attention condition is pending, and leaves it pending (MMC-6 4.1.6.1).
    var allowsUnitAttention: Bool {
        switch self {
        case .requestSense, .inquiry, .getConfiguration, .getEventStatusNotification: true
        default: false
        }
    }

    /// Without a medium it ends with NOT READY (MMC-6 F.3.3, "Readiness Errors").
    var needsMedium: Bool {
        switch self {
        case .testUnitReady, .readCapacity, .read10, .seek10, .readTOCPMAATIP, .readDiscInformation, .read12,
            .readDiscStructure, .readCD, .readCDMSF:
            true
        default: false
        }
    }

    /// It always has data, and so needs a byte count limit if they go by PIO (ACS-3 clause 7, PACKET).
    var alwaysMovesData: Bool {
        switch self {
        case .testUnitReady, .startStopUnit, .preventAllowMediumRemoval, .seek10, .setCDSpeed, .readCD, .readCDMSF,
            .modeSelect10:
            false
        default: true
        }
    }
}
