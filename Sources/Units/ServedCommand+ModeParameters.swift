// Write protection in mode parameters: WP of the header, and SWP of the Control mode page, which libata does not have
// (SPC-4, Control mode page; SBC-3, device-specific parameter).

import SCSI

extension ServedCommand {
    /// SWP, byte 4 of the Control mode page.
    private static let softwareWriteProtect: UInt8 = 0x08

    /// The place of WP, and the end of the header and its block descriptors; nil for commands without mode parameters,
    /// and for parameters that are cut within their header.
    private func modeHeader(_ data: RawSpan, _ length: Int) -> (parameter: Int, end: Int)? {
        let isLong = cdb.operationCode == OperationCode.modeSense10 || cdb.operationCode == OperationCode.modeSelect10
        let isShort = cdb.operationCode == OperationCode.modeSense6 || cdb.operationCode == OperationCode.modeSelect6
        let headerBytes = ModeParameterList.headerByteCount(isLong: isLong)
        guard isLong || isShort, length >= headerBytes else { return nil }
        let descriptorBytes = isLong ? Int(data.load(6, as: UInt16.self)) : Int(data[3])
        return (isLong ? 3 : 2, headerBytes + descriptorBytes)
    }

    /// Where SWP is, in parameters of so many bytes.
    private func softwareWriteProtectByte(_ data: RawSpan, _ length: Int) -> Int? {
        guard var offset = modeHeader(data, length)?.end else { return nil }
        while offset + 1 < length {
            // Without a subpage.
            if data[offset] & 0x7F == ModePage.Code.control { return offset + 4 < length ? offset + 4 : nil }
            offset += 2 + Int(data[offset + 1])
        }
        return nil
    }

    /// The answer to MODE SENSE, of so many bytes, says what is write-protected.
    func amendModeData(_ data: inout MutableRawSpan, _ length: Int, _ server: DeviceServer) {
        guard let header = modeHeader(data.bytes, length) else { return }
        if facts.isReadOnly || server.isWriteProtected { data[header.parameter] |= 0x80 }
        guard let byte = softwareWriteProtectByte(data.bytes, length) else { return }
        switch ModePageControl(rawValue: cdb[2] >> 6) {
        case .changeable: data[byte] |= Self.softwareWriteProtect
        case .current where server.isWriteProtected: data[byte] |= Self.softwareWriteProtect
        default: break
        }
    }

    /// Takes SWP out of the parameters of MODE SELECT: the translation layer does not have it.
    mutating func takeWriteProtection(from data: inout MutableRawSpan) {
        guard let byte = softwareWriteProtectByte(data.bytes, dataOutBytes) else { return }
        selectsWriteProtection = data[byte] & Self.softwareWriteProtect != 0
        data[byte] &= ~Self.softwareWriteProtect
    }
}
