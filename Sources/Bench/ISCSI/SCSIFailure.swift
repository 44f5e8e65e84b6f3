// Why a command failed, as one number and in words (SAM-5 5.3, SPC-5 4.4; RFC 7143, 11.4.3).

import SCSI

/// Status, sense key and additional sense code of a command, or the Response of a target that could not even try.
struct SCSIFailure: Equatable {
    /// From the highest byte on: the status, the sense key, the additional sense code, its qualifier. 0 is success.
    let rawValue: UInt32

    static let none = Self(rawValue: 0)
    /// No status has this value.
    private static let targetFailure: UInt32 = 0xFF

    init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// A target failure.
    init(response: UInt8) {
        rawValue = Self.targetFailure << 24 | UInt32(response)
    }

    /// A status; the sense data are in fixed or descriptor format (SPC-5 4.4.2, 4.4.3).
    init(status: UInt8, sense: RawSpan?) {
        var codes: UInt32 = 0
        if status != 0, let sense, sense.byteCount >= 4 {
            let isFixed = sense.bigEndian(at: 0, as: UInt8.self) & 0x7F < 0x72
            let places = isFixed ? (key: 2, code: 12, qualifier: 13) : (key: 1, code: 2, qualifier: 3)
            func byte(_ place: Int) -> UInt32 {
                place < sense.byteCount ? UInt32(sense.bigEndian(at: place, as: UInt8.self)) : 0
            }
            codes = (byte(places.key) & 0x0F) << 16 | byte(places.code) << 8 | byte(places.qualifier)
        }
        rawValue = UInt32(status) << 24 | codes
    }

    /// CHECK CONDITION with UNIT ATTENTION: something has changed, and the next command may succeed.
    var isUnitAttention: Bool { rawValue >> 24 == 0x02 && rawValue >> 16 & 0x0F == 0x06 }

    /// The status in words, with the sense key and the additional sense code if there are any.
    var words: String {
        let status = rawValue >> 24
        if status == Self.targetFailure { return "response 0x\(String(rawValue & 0xFF, radix: 16)) of the target" }
        let name =
            switch status {
            case 0x02: "CHECK CONDITION"
            case 0x08: "BUSY"
            case 0x18: "RESERVATION CONFLICT"
            case 0x28: "TASK SET FULL"
            case 0x30: "ACA ACTIVE"
            case 0x40: "TASK ABORTED"
            default: "status 0x\(String(status, radix: 16))"
            }
        guard rawValue & 0xFF_FFFF != 0 else { return name }
        let key = Self.keyNames[Int(rawValue >> 16 & 0x0F)]
        return "\(name): \(key), \(Self.hexadecimal(rawValue >> 8))/\(Self.hexadecimal(rawValue))"
    }

    /// SPC-5, table 48.
    private static let keyNames = [
        "NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR", "HARDWARE ERROR", "ILLEGAL REQUEST",
        "UNIT ATTENTION", "DATA PROTECT", "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED", "ABORTED COMMAND",
        "RESERVED", "VOLUME OVERFLOW", "MISCOMPARE", "COMPLETED",
    ]

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value & 0xFF, radix: 16, uppercase: true)
        return (digits.count < 2 ? "0" : "") + digits + "h"
    }
}
