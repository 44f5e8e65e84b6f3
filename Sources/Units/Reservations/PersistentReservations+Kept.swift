// Registrations and reservation as bytes that are kept while the unit has no power (APTPL, SPC-4 5.13).

extension PersistentReservations {
    /// "SPRS", and the version of the format.
    private static let magic: UInt32 = 0x5350_5253
    private static let version: UInt8 = 1

    /// All of it in bytes; nil if nothing is to be kept.
    ///
    /// Big-endian: "SPRS", version (1 byte), type of the reservation or 0 (1), number of registrants (2), PRGENERATION
    /// (4); for each registrant its key (8), whether it holds the reservation (1), the length of its port's name (1),
    /// the name; then the FNV-1a hash of all that (8).
    public var keptBytes: [UInt8]? {
        guard persistsThroughPowerLoss else { return nil }
        var bytes: [UInt8] = []
        func append(_ value: some FixedWidthInteger) {
            for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: value >> shift))
            }
        }
        append(Self.magic)
        append(Self.version)
        append(type?.rawValue ?? 0)
        append(UInt16(registrants.count))
        append(generation)
        for registrant in registrants {
            append(registrant.key)
            append(UInt8(registrant.isHolder ? 1 : 0))
            append(UInt8(registrant.port.count))
            bytes += registrant.port
        }
        append(Self.hash(bytes[...]))
        return bytes
    }

    /// Reads back what ``keptBytes`` gave; nil for all other bytes.
    public init?(parsing kept: [UInt8]) {
        guard kept.count >= 8 else { return nil }
        var rest = KeptReader(kept.dropLast(8))
        var end = KeptReader(kept.suffix(8))
        guard end.next(UInt64.self) == Self.hash(kept.dropLast(8)), rest.next(UInt32.self) == Self.magic,
            rest.next(UInt8.self) == Self.version, let type = rest.next(UInt8.self),
            let count = rest.next(UInt16.self), let generation = rest.next(UInt32.self), count <= Self.registrantLimit
        else { return nil }
        self.init()
        self.generation = generation
        self.type = ReservationType(rawValue: type)
        guard type == 0 || self.type != nil else { return nil }
        persistsThroughPowerLoss = true
        for _ in 0..<count {
            guard let key = rest.next(UInt64.self), key != 0, let isHolder = rest.next(UInt8.self), isHolder <= 1,
                let length = rest.next(UInt8.self), let port = rest.next(Int(length)), !port.isEmpty,
                port.count <= Self.portNameLimit, index(of: port) == nil
            else { return nil }
            registrants.append(Registrant(port: port, key: key, isHolder: isHolder == 1))
        }
        guard rest.isEmpty, isSound else { return nil }
    }

    /// A reservation has one holder, or all registrants are.
    var isSound: Bool {
        let holders = registrants.count(where: \.isHolder)
        guard let type else { return holders == 0 }
        return type.isOfAllRegistrants ? holders == 0 && !registrants.isEmpty : holders == 1
    }

    private static func hash(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}

/// Takes integers and names from the front of bytes.
private struct KeptReader {
    private var bytes: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    var isEmpty: Bool { bytes.isEmpty }

    mutating func next<Value: FixedWidthInteger & UnsignedInteger>(_ type: Value.Type) -> Value? {
        guard let taken = next(Value.bitWidth / 8) else { return nil }
        return taken.reduce(0) { $0 << 8 | Value($1) }
    }

    mutating func next(_ count: Int) -> [UInt8]? {
        guard count <= bytes.count else { return nil }
        defer { bytes = bytes.dropFirst(count) }
        return Array(bytes.prefix(count))
    }
}
