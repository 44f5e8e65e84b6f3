// The parts of a SCSI Command that do not fit into the basic header segment (RFC 7143, 11.2.2).

/// The additional header segments of a SCSI Command.
struct AdditionalHeaderSegments: Equatable, Sendable {
    /// Extended CDB.
    var cdb = ExtendedCDB()
    /// Bidirectional Expected Read-Data Length (11.2.2.4).
    var bidirectionalReadLength: UInt32?

    /// The longest CDB is kept up to this many bytes: ATA PASS-THROUGH (32) has as many.
    static let maximumExtendedBytes = 16

    init() {}

    /// - Returns: nil if they do not end where they should, or if one of them is unknown, too long, or there twice.
    init?(_ segments: RawSpan) {
        var offset = 0
        while offset < segments.byteCount {
            guard segments.byteCount - offset >= 4 else { return nil }
            // AHSLength does not count itself and AHSType.
            let length = Int(segments.load(offset, as: UInt16.self))
            let type = segments.load(offset + 2, as: UInt8.self) & 0x3F
            let bytes = 3 + length
            guard length >= 1, segments.byteCount - offset >= bytes else { return nil }
            switch type {
            case 1:
                guard cdb.byteCount == 0, length > 1, length - 1 <= Self.maximumExtendedBytes else { return nil }
                cdb = ExtendedCDB(segments.extracting(offset + 4..<offset + 3 + length))
            case 2:
                guard bidirectionalReadLength == nil, length == 5 else { return nil }
                bidirectionalReadLength = segments.load(offset + 4)
            default: return nil
            }
            offset += bytes + paddingBytes(bytes)
        }
    }
}

extension ExtendedCDB {
    /// The bytes behind the sixteenth, at most as many again.
    init(_ bytes: RawSpan) {
        byteCount = bytes.byteCount
        for index in 0..<byteCount {
            let byte = UInt64(bytes.load(index, as: UInt8.self))
            if index < 8 { high |= byte << UInt64(56 - index * 8) } else { low |= byte << UInt64(120 - index * 8) }
        }
    }
}
