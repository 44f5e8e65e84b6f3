// ATA PASS-THROUGH (32) (SAT-4 12.2.2.4): the fields of ATA PASS-THROUGH (16) at other places, and two more. It becomes
// the command of 16 bytes, of which libata says the same.

import SCSI

/// A command of 32 bytes, as far as it is known.
enum PassThrough32 {
    /// VARIABLE LENGTH CDB (SPC-4 4.2.3).
    static let operationCode: UInt8 = 0x7F
    /// SERVICE ACTION, bytes 8 and 9.
    static let serviceAction: UInt16 = 0x1FF0
    /// CDB USAGE DATA, bytes 0 to 15 and 16 to 31. No command of the drive has an ICC or AUXILIARY: both pass, and mean
    /// nothing, as with libata.
    static let usage: (UInt64, UInt64) = (0x7F_00_00_00_00_00_00_18, 0x1F_F0_FF_FF_00_00_FF_FF)
    static let usageOfRest = CommandDescriptorBlock(high: 0xFF_FF_FF_FF_FF_FF_FF_FF, low: 0xFF_FF_00_FF_FF_FF_FF_FF)

    /// Where ATA PASS-THROUGH (16) has each of its bytes from, from byte 1 on.
    private static let places: [UInt16] = [0, 10, 11, 20, 21, 22, 23, 16, 19, 15, 18, 14, 17, 24, 25]

    /// The place of a byte of the command of 16 bytes, for whoever points at it.
    static func place(of byte: UInt16) -> UInt16 { Int(byte) < places.count ? places[Int(byte)] : byte }

    /// The same as ATA PASS-THROUGH (16), or why it is not done.
    /// - Parameters:
    ///   - cdb: its bytes 0 to 15.
    ///   - rest: its bytes 16 to 31; nil: it has not as many.
    static func translate(
        _ cdb: CommandDescriptorBlock, _ rest: CommandDescriptorBlock?
    ) -> (CommandDescriptorBlock, Objection?) {
        guard UInt16(cdb[8]) << 8 | UInt16(cdb[9]) == serviceAction else { return (cdb, .invalidField(8, bit: 7)) }
        // ADDITIONAL CDB LENGTH.
        guard cdb[7] == 0x18, let rest else { return (cdb, .invalidField(7)) }
        func byte(_ place: Int) -> UInt8 { place < 16 ? cdb[place] : rest[place - 16] }
        if let (place, bit) = cdb.firstBit(outside: CommandDescription.passThrough32.usage) {
            return (cdb, .invalidField(place, bit: bit))
        }
        if let (place, bit) = rest.firstBit(outside: usageOfRest) { return (cdb, .invalidField(16 + place, bit: bit)) }
        var words = (high: UInt64(OperationCode.ataPassThrough16), low: UInt64(0))
        for index in 1..<15 {
            let value = UInt64(byte(Int(places[index])))
            if index < 8 { words.high = words.high << 8 | value } else { words.low = words.low << 8 | value }
        }
        // CONTROL comes last.
        return (CommandDescriptorBlock(high: words.high, low: words.low << 8), nil)
    }
}

extension SenseData {
    /// The same, about another command: a pointer to a byte of it becomes one to the byte of the same field there.
    func pointing(_ place: (UInt16) -> UInt16) -> SenseData {
        guard let field = fieldPointer, field.isInCommand else { return self }
        var other = self
        other.fieldPointer = SenseFieldPointer(isInCommand: true, byte: place(field.byte), bit: field.bit)
        return other
    }
}
