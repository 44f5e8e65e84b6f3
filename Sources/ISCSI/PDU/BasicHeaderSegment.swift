// The 48 bytes at the beginning of every PDU, which tell its length (RFC 7143, 11.2).

/// A protocol data unit without its data: the basic header segment as a value.
public protocol ProtocolDataUnit: Equatable, Sendable {
    /// Its opcode.
    static var opcode: Opcode { get }
    /// DataSegmentLength: how many bytes of data follow, padding not counted.
    var dataSegmentLength: UInt32 { get set }
    /// Decodes a basic header segment that has this opcode.
    init(_ header: RawSpan)
    /// Encodes everything but the opcode and the lengths into 48 bytes that are zero.
    func encodeFields(into header: inout MutableRawSpan)
}

extension ProtocolDataUnit {
    /// Encodes the basic header segment into the first 48 bytes.
    @inline(__always)
    public func encode(into header: inout MutableRawSpan) {
        precondition(header.byteCount >= BasicHeaderSegment.byteCount, "a basic header segment is longer")
        for offset in stride(from: 0, to: BasicHeaderSegment.byteCount, by: 8) { header.store(UInt64(0), offset) }
        header.store(Self.opcode.rawValue, 0)
        header.store24(dataSegmentLength, 5)
        encodeFields(into: &header)
    }

    /// The basic header segment as an array.
    public var bytes: [UInt8] {
        var buffer = [UInt8](repeating: 0, count: BasicHeaderSegment.byteCount)
        var span = buffer.mutableSpan
        var bytes = unsafe span.mutableBytes
        encode(into: &bytes)
        return buffer
    }
}

/// A PDU of a target that has all three of its sequence numbers, in the same place for all (11.4 to 11.19).
public protocol TargetProtocolDataUnit: ProtocolDataUnit {
    /// StatSN.
    var statusSN: UInt32 { get set }
    /// ExpCmdSN.
    var expectedCommandSN: UInt32 { get set }
    /// MaxCmdSN.
    var maximumCommandSN: UInt32 { get set }
}

extension TargetProtocolDataUnit {
    @inline(__always)
    mutating func loadSequenceNumbers(_ header: RawSpan) {
        statusSN = header.load(24)
        expectedCommandSN = header.load(28)
        maximumCommandSN = header.load(32)
    }

    @inline(__always)
    func storeSequenceNumbers(into header: inout MutableRawSpan) {
        header.store(statusSN, 24)
        header.store(expectedCommandSN, 28)
        header.store(maximumCommandSN, 32)
    }
}

/// The fields that all PDUs have in common.
public struct BasicHeaderSegment: Equatable, Sendable {
    /// Its length.
    public static let byteCount = 48

    /// Bits 5:0 of byte 0, which may be no ``Opcode``.
    public var opcode: UInt8
    /// I: the request is immediate (11.2.1.1).
    public var isImmediate: Bool
    /// F, or T of a Login Request: bit 7 of byte 1.
    public var isFinal: Bool
    /// TotalAHSLength in bytes; the field counts words of four.
    public var totalAHSBytes: Int
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32
    /// The initiator's name for the task.
    public var initiatorTaskTag: UInt32

    /// Decodes the first 48 bytes.
    @inline(__always)
    public init(_ header: RawSpan) {
        let byte0: UInt8 = header.load(0)
        opcode = byte0 & 0x3F
        isImmediate = byte0 & 0x40 != 0
        isFinal = header.load(1, as: UInt8.self) & 0x80 != 0
        totalAHSBytes = Int(header.load(4, as: UInt8.self)) * 4
        dataSegmentLength = header.load24(5)
        initiatorTaskTag = header.load(16)
    }
}

/// Zero bytes that fill a segment up to words of four bytes (11.2.3, 11.7).
@inline(__always)
func paddingBytes(_ count: Int) -> Int { -count & 3 }

/// A logical unit number as it stands in a PDU: eight bytes (11.2.1.7; SAM-5 4.7).
public struct LogicalUnitNumber: Equatable, Sendable {
    /// The eight bytes.
    public var rawValue: UInt64

    /// Any eight bytes.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// A number of one level: below 256 by the peripheral device addressing method, else by the flat one (SAM-5 4.7.4).
    public init(_ number: Int) {
        precondition((0..<16384).contains(number), "a logical unit number of one level has 14 bits")
        rawValue = number < 256 ? UInt64(number) << 48 : UInt64(0x4000 | number) << 48
    }

    /// The number, if it is one of one level by these methods.
    public var number: Int? {
        guard rawValue & 0xFFFF_FFFF_FFFF == 0 else { return nil }
        let first = Int(rawValue >> 48)
        return switch first >> 14 {
        // Bus 0 is the only one.
        case 0 where first < 256: first
        case 1: first & 0x3FFF
        default: nil
        }
    }
}
