// Shorthands for bytes.

import SCSI

extension CommandDescriptorBlock {
    init(_ bytes: [UInt8]) {
        self.init(parsing: bytes.span.bytes)
    }

    /// All 16 bytes.
    var bytes: [UInt8] { (0..<16).map { self[$0] } }
}

extension [UInt8] {
    /// Bytes in hexadecimal with spaces between them.
    init(_ hexadecimal: String) {
        self = hexadecimal.split(separator: " ").map { UInt8($0, radix: 16)! }
    }
}
