// Sense data: why a command ended with CHECK CONDITION (SPC-5 4.4, in fixed and in descriptor format).

/// Sense data as a value, with only the parts that a drive behind a translation layer ever reports.
public struct SenseData: Equatable, Sendable {
    /// How the data are laid out (SPC-5 4.4.2, 4.4.3). The D_SENSE bit of the control mode page chooses.
    public enum Format: Equatable, Sendable {
        /// Response code 70h.
        case fixed
        /// Response code 72h.
        case descriptor
    }

    /// The sense key.
    public var senseKey: SenseKey
    /// The additional sense code and its qualifier.
    public var additionalSenseCode: AdditionalSenseCode
    /// The format it is reported in.
    public var format: Format
    /// INFORMATION: for a failed read or write, a logical block address.
    public var information: UInt64?
    /// Which field of the command or its parameters is wrong.
    public var fieldPointer: SenseFieldPointer?
    /// The registers of the ATA device, for ATA PASS-THROUGH.
    public var ataStatusReturn: ATAStatusReturn?

    /// Creates sense data without information or pointer.
    @inlinable
    public init(_ senseKey: SenseKey, _ additionalSenseCode: AdditionalSenseCode, format: Format) {
        self.senseKey = senseKey
        self.additionalSenseCode = additionalSenseCode
        self.format = format
        self.information = nil
        self.fieldPointer = nil
        self.ataStatusReturn = nil
    }

    /// Reads what a device itself reports in fixed format (SPC-5 4.4.3), as far as it is kept here; nil if it is
    /// something else.
    public init?(parsingFixed bytes: RawSpan) {
        // The count makes all offsets below sound, and every bit pattern is a UInt8.
        guard bytes.byteCount >= 14, unsafe bytes.unsafeLoad(as: UInt8.self) & 0x7F == 0x70,
            let senseKey = SenseKey(rawValue: unsafe bytes.unsafeLoad(fromByteOffset: 2, as: UInt8.self) & 0x0F)
        else { return nil }
        let code = unsafe bytes.unsafeLoad(fromByteOffset: 12, as: UInt8.self)
        let qualifier = unsafe bytes.unsafeLoad(fromByteOffset: 13, as: UInt8.self)
        self.init(senseKey, AdditionalSenseCode(code, qualifier), format: .fixed)
        // VALID: the information means something.
        guard unsafe bytes.unsafeLoad(as: UInt8.self) & 0x80 != 0 else { return }
        information = (3..<7).reduce(0) { number, offset in
            number << 8 | UInt64(unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
        }
    }

    /// Room that is enough for any sense data here.
    public static let maximumByteCount = 64

    /// Writes the sense data to the start of `bytes`, which has room for ``maximumByteCount``.
    ///
    /// Returns how many bytes they are; all of them are written, padding included.
    public func encode(into bytes: inout MutableRawSpan) -> Int {
        precondition(bytes.byteCount >= Self.maximumByteCount, "too little room for sense data")
        for offset in 0..<Self.maximumByteCount {
            bytes.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
        }
        switch format {
        case .fixed: return encodeFixed(into: &bytes)
        case .descriptor: return encodeDescriptors(into: &bytes)
        }
    }

    /// The sense data as an array.
    public var bytes: [UInt8] {
        var buffer = [UInt8](repeating: 0, count: Self.maximumByteCount)
        var span = buffer.mutableSpan
        var rawSpan = unsafe span.mutableBytes
        let count = encode(into: &rawSpan)
        return Array(buffer.prefix(count))
    }

    /// SPC-5 4.4.3. Linux writes an information field that does not fit without the VALID bit, and reports an
    /// additional length of 12h with a field pointer and of 0Ah without.
    private func encodeFixed(into bytes: inout MutableRawSpan) -> Int {
        bytes.storeBytes(of: 0x70, toByteOffset: 0, as: UInt8.self)
        bytes.storeBytes(of: senseKey.rawValue, toByteOffset: 2, as: UInt8.self)
        bytes.storeBytes(of: additionalSenseCode.code, toByteOffset: 12, as: UInt8.self)
        bytes.storeBytes(of: additionalSenseCode.qualifier, toByteOffset: 13, as: UInt8.self)
        var additionalLength: UInt8 = 0x0A
        if let information {
            if information <= UInt64(UInt32.max) {
                bytes.storeBytes(of: 0xF0, toByteOffset: 0, as: UInt8.self)
            }
            let low = UInt32(truncatingIfNeeded: information)
            bytes.storeBytes(of: low.bigEndian, toByteOffset: 3, as: UInt32.self)
        }
        if let fieldPointer {
            fieldPointer.encode(into: &bytes, at: 15)
            additionalLength = 0x12
        }
        bytes.storeBytes(of: additionalLength, toByteOffset: 7, as: UInt8.self)
        var count = 8 + Int(additionalLength)
        if let ataStatusReturn {
            count = ataStatusReturn.encodeFixed(into: &bytes)
        }
        return count
    }

    /// SPC-5 4.4.2, with the descriptors of 4.4.2.2 (information), 4.4.2.4 (field pointer) and of SAT (registers).
    private func encodeDescriptors(into bytes: inout MutableRawSpan) -> Int {
        bytes.storeBytes(of: 0x72, toByteOffset: 0, as: UInt8.self)
        bytes.storeBytes(of: senseKey.rawValue, toByteOffset: 1, as: UInt8.self)
        bytes.storeBytes(of: additionalSenseCode.code, toByteOffset: 2, as: UInt8.self)
        bytes.storeBytes(of: additionalSenseCode.qualifier, toByteOffset: 3, as: UInt8.self)
        var end = 8
        if let information {
            bytes.storeBytes(of: UInt16(0x000A).bigEndian, toByteOffset: end, as: UInt16.self)
            bytes.storeBytes(of: 0x80, toByteOffset: end + 2, as: UInt8.self)
            bytes.storeBytes(of: information.bigEndian, toByteOffset: end + 4, as: UInt64.self)
            end += 12
        }
        if let fieldPointer {
            bytes.storeBytes(of: UInt16(0x0206).bigEndian, toByteOffset: end, as: UInt16.self)
            fieldPointer.encode(into: &bytes, at: end + 4)
            end += 8
        }
        if let ataStatusReturn {
            ataStatusReturn.encodeDescriptor(into: &bytes, at: end)
            end += 14
        }
        bytes.storeBytes(of: UInt8(end - 8), toByteOffset: 7, as: UInt8.self)
        return end
    }
}

/// The sense-key specific bytes of ILLEGAL REQUEST: where the wrong field is (SPC-5 4.4.2.4.2).
public struct SenseFieldPointer: Equatable, Sendable {
    /// C/D: the field is in the command descriptor block, not in the parameter list.
    public var isInCommand: Bool
    /// FIELD POINTER: the byte.
    public var byte: UInt16
    /// BIT POINTER: the most significant bit of the field, where it says more than the byte.
    public var bit: UInt8?

    /// Points at a byte, or a bit of it.
    public init(isInCommand: Bool, byte: UInt16, bit: UInt8? = nil) {
        self.isInCommand = isInCommand
        self.byte = byte
        self.bit = bit
    }

    /// SKSV, C/D, BPV and the bit in the first byte, the field pointer in the next two.
    func encode(into bytes: inout MutableRawSpan, at offset: Int) {
        var flags: UInt8 = isInCommand ? 0xC0 : 0x80
        if let bit {
            flags |= 0x08 | bit & 0x07
        }
        bytes.storeBytes(of: flags, toByteOffset: offset, as: UInt8.self)
        bytes.storeBytes(of: byte.bigEndian, toByteOffset: offset + 1, as: UInt16.self)
    }
}
