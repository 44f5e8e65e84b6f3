// Additions of the full DVD-ROM to QEMU's: the features, mode pages and events that MMC-6 makes mandatory for
// DVD-ROM drives (clauses 5.3, 6 and 7, by these names).

extension Drive {
    /// A feature descriptor (MMC-6 5.2.2).
    private struct Feature {
        let code: UInt16
        var version: UInt8 = 0
        var isPersistent = false
        var isCurrent = true
        var data: [UInt8] = []

        var bytes: [UInt8] {
            let flags = version << 2 | (isPersistent ? 0x02 : 0) | (isCurrent ? 0x01 : 0)
            return bigEndian(code) + [flags, UInt8(data.count)] + data
        }
    }

    /// GET CONFIGURATION; nil: a field is invalid.
    func features(_ packet: CommandPacket) -> [UInt8]? {
        let first = UInt16(truncatingIfNeeded: packet.word(at: 2))
        var wanted: [Feature]
        // RT.
        switch packet[1] & 0x03 {
        case 0: wanted = allFeatures.filter { $0.code >= first }
        case 1: wanted = allFeatures.filter { $0.code >= first && $0.isCurrent }
        case 2: wanted = allFeatures.filter { $0.code == first }
        default: return nil
        }
        let list = wanted.flatMap(\.bytes)
        return bigEndian(UInt32(4 + list.count)) + [0, 0] + bigEndian(currentProfile) + list
    }

    private var allFeatures: [Feature] {
        let current = currentProfile
        let (isCD, isDVD) = (current == Profile.cdROM, current == Profile.dvdROM)
        let profiles: [UInt8] = [Profile.dvdROM, Profile.cdROM].flatMap { bigEndian($0) + [$0 == current ? 1 : 0, 0] }
        let serial = Array(padded(identifyData.serialNumber, 20))
        return [
            Feature(code: 0x0000, isPersistent: true, data: profiles),  // Profile List
            // Core: ATAPI, the data of INQUIRY, and Device Busy events.
            Feature(code: 0x0001, version: 2, isPersistent: true, data: [0, 0, 0, 2, 0x03, 0, 0, 0]),
            Feature(code: 0x0002, version: 1, isPersistent: true, data: [0x02, 0, 0, 0]),  // Morphing: OCEvent
            // Removable Medium: a tray that loads, ejects, and can be locked.
            Feature(code: 0x0003, version: 1, isPersistent: true, data: [0x39, 0, 0, 0]),
            // Random Readable: 2048 bytes, in ECC blocks of 16 on a DVD; the page of error recovery is there.
            Feature(code: 0x0010, isCurrent: isCD || isDVD, data: [0, 0, 0x08, 0, 0, isDVD ? 16 : 1, 0x01, 0]),
            Feature(code: 0x001E, version: 2, isCurrent: isCD, data: [0, 0, 0, 0]),  // CD Read
            Feature(code: 0x001F, version: 1, isCurrent: isDVD, data: [0, 0, 0, 0]),  // DVD Read
            Feature(code: 0x0100, isPersistent: true),  // Power Management
            Feature(code: 0x0105, version: 1, isPersistent: true, data: [0, 0, 0, 0]),  // Time-out
            Feature(code: 0x0108, isPersistent: true, data: serial),  // Drive Serial Number
        ]
    }

    /// GET EVENT STATUS NOTIFICATION: a class that was asked for, one with news before others.
    mutating func events(classes: UInt8) -> [UInt8] {
        guard kind == .fullDVDROM else { return eventStatus(classes: classes) }
        // Operational Change, Power Management, Media and Device Busy.
        let supported: UInt8 = 0x56
        let wanted = classes & supported
        guard wanted != 0 else { return [0, 2, 0x80, supported] }
        let hasNews = !packetDevice.mediaEvents.isEmpty
        let notificationClass = wanted & 0x10 != 0 && hasNews ? 4 : UInt8(wanted.trailingZeroBitCount)
        if notificationClass == 4 {
            var media = eventStatus(classes: 0x10)
            // QEMU's does not count two bytes of the header.
            media[1] = 6
            media[3] = supported
            return media
        }
        // No event; the drive is active.
        return [0, 6, notificationClass, supported, 0, notificationClass == 2 ? 1 : 0, 0, 0]
    }

    /// The pages of MODE SENSE (10), by their codes.
    private static var pageCodes: [UInt8] { [0x01, 0x0E, 0x1A, 0x1D, 0x2A] }

    /// The pages that MODE SENSE (10) asks for; nil: there is none of this code. Nothing can be changed.
    func modePages(_ code: UInt8, subpage: UInt8, ofChangeable isChangeable: Bool) -> [UInt8]? {
        guard subpage == 0 || subpage == 0xFF && code == 0x3F else { return nil }
        let codes = Self.pageCodes.filter { code == 0x3F || code == $0 }
        guard !codes.isEmpty else { return nil }
        return codes.flatMap { code in
            let page = fullModePage(code)
            return isChangeable ? page.prefix(2) + [UInt8](repeating: 0, count: page.count - 2) : page
        }
    }

    private func fullModePage(_ code: UInt8) -> [UInt8] {
        switch code {
        case 0x01:  // Read/Write Error Recovery, as long as MMC-6 has it.
            return [code, 10, 0x00, 0x05] + [UInt8](repeating: 0, count: 8)
        case 0x1A:  // Power Condition: no timers.
            return [code, 10] + [UInt8](repeating: 0, count: 10)
        case 0x1D:  // Time-out and Protect: none.
            return [code, 8] + [UInt8](repeating: 0, count: 8)
        default:
            return modePage(code) ?? []
        }
    }

    /// MODE SELECT (10): pages with the values that they have.
    mutating func modeSelect(_ packet: CommandPacket, _ command: CommandInProgress, _ data: RawSpan) -> Step {
        // PF, and not SP.
        guard packet[1] & 0x11 == 0x10 else { return checkCondition(command, .invalidFieldInCDB) }
        let length = Int(packet.word(at: 7))
        guard length > 0 else { return packetEnded(command) }
        guard length >= 8, length <= data.byteCount else { return checkCondition(command, .parameterListLengthError) }
        var offset = 8 + Int(data.byte(6)) << 8 + Int(data.byte(7))
        while offset < length {
            let code = data.byte(offset) & 0x3F
            guard Self.pageCodes.contains(code) else { return checkCondition(command, .invalidFieldInParameterList) }
            let page = fullModePage(code)
            guard offset + page.count <= length else { return checkCondition(command, .parameterListLengthError) }
            guard page.indices.allSatisfy({ page[$0] == data.byte(offset + $0) & ($0 == 0 ? 0x3F : 0xFF) }) else {
                return checkCondition(command, .invalidFieldInParameterList)
            }
            offset += page.count
        }
        return packetEnded(command)
    }

    /// READ CD MSF: from an address in minutes, seconds and frames up to another.
    mutating func readCDMSF(
        _ packet: CommandPacket, _ command: inout CommandInProgress, _ reply: inout MutableRawSpan
    ) -> Step {
        func block(at offset: Int) -> Int {
            (Int(packet[offset]) * 60 + Int(packet[offset + 1])) * 75 + Int(packet[offset + 2]) - 150
        }
        let (first, end) = (block(at: 3), block(at: 6))
        guard first <= end else { return checkCondition(command, .invalidFieldInCDB) }
        guard first >= 0 else { return checkCondition(command, .logicalBlockAddressOutOfRange) }
        return readSectors(packet, lba: UInt32(first), count: UInt32(end - first), &command, &reply)
    }
}

extension RawSpan {
    /// A byte; 0 where there is none.
    fileprivate func byte(_ offset: Int) -> UInt8 {
        guard offset >= 0, offset < byteCount else { return 0 }
        // The check keeps the offset inside, and every bit pattern is a UInt8.
        return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }
}
