// The registers of an ATA device inside sense data (SAT-5, ATA PASS-THROUGH sense data).

/// The ATA Status Return: shadow registers as the device left them. To SCSI they are opaque bytes.
public struct ATAStatusReturn: Equatable, Sendable {
    /// EXTEND: the command was a 48-bit one, the high halves of count and LBA mean something.
    public var extend: Bool
    /// The error register.
    public var error: UInt8
    /// The count register, previous content in bits 15:8.
    public var count: UInt16
    /// LBA low, mid and high in bits 23:0, their previous content in bits 47:24.
    public var logicalBlockAddress: UInt64
    /// The device register.
    public var device: UInt8
    /// The status register.
    public var status: UInt8

    /// Creates the registers; without `extend`, only the low halves are reported.
    public init(extend: Bool, error: UInt8, count: UInt16, logicalBlockAddress: UInt64, device: UInt8, status: UInt8) {
        self.extend = extend
        self.error = error
        self.count = count
        self.logicalBlockAddress = logicalBlockAddress
        self.device = device
        self.status = status
    }

    private func lbaByte(_ index: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: logicalBlockAddress >> UInt64(8 * index))
    }

    /// The ATA Status Return descriptor: 14 bytes, each register's previous content before its current one.
    func encodeDescriptor(into bytes: inout MutableRawSpan, at offset: Int) {
        let high = extend ? (UInt8(count >> 8), lbaByte(3), lbaByte(4), lbaByte(5)) : (0, 0, 0, 0)
        let descriptor: InlineArray<14, UInt8> = [
            0x09, 0x0C, extend ? 1 : 0, error,
            high.0, UInt8(truncatingIfNeeded: count),
            high.1, lbaByte(0), high.2, lbaByte(1), high.3, lbaByte(2),
            device, status,
        ]
        for index in descriptor.indices {
            bytes.storeBytes(of: descriptor[index], toByteOffset: offset + index, as: UInt8.self)
        }
    }

    /// The registers in fixed format, where Linux 6.1 puts them: from byte 8 on, and those after byte 15 behind the
    /// end that the additional length gives. SAT would have them in the information and command-specific fields.
    ///
    /// Returns the number of bytes that the sense data then have.
    func encodeFixed(into bytes: inout MutableRawSpan) -> Int {
        var flags: UInt8 = 0
        if extend {
            let countIsCut = count > 0xFF
            let addressIsCut = logicalBlockAddress > 0xFF_FFFF
            flags = 0x80 | (countIsCut ? 0x40 : 0) | (addressIsCut ? 0x20 : 0)
        }
        bytes.storeBytes(of: error, toByteOffset: 8, as: UInt8.self)
        bytes.storeBytes(of: status, toByteOffset: 9, as: UInt8.self)
        bytes.storeBytes(of: device, toByteOffset: 10, as: UInt8.self)
        bytes.storeBytes(of: UInt8(truncatingIfNeeded: count), toByteOffset: 11, as: UInt8.self)
        bytes.storeBytes(of: flags, toByteOffset: 16, as: UInt8.self)
        for index in 0..<3 {
            bytes.storeBytes(of: lbaByte(index), toByteOffset: 17 + index, as: UInt8.self)
        }
        return 20
    }
}
