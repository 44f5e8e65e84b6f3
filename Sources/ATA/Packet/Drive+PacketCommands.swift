// The commands of a DVD-ROM (MMC-6 clause 6 and SPC-3 clause 6, by these names), with the answers of QEMU 7.2's.

extension Drive {
    /// Executes a command that nothing speaks against.
    mutating func execute(
        _ code: PacketCommand, _ packet: CommandPacket, _ command: inout CommandInProgress,
        _ reply: inout MutableRawSpan
    ) -> Step {
        switch code {
        case .testUnitReady, .setCDSpeed: return packetEnded(command)
        case .startStopUnit: return startStopUnit(packet, command)
        case .preventAllowMediumRemoval:
            packetDevice.trayIsLocked = packet[4] & 0x01 != 0
            return packetEnded(command)
        case .seek10:
            let isInside = UInt64(packet.doubleWord(at: 2)) < sectors
            return isInside ? packetEnded(command) : checkCondition(command, .logicalBlockAddressOutOfRange)
        case .read10:
            return read(packet.doubleWord(at: 2), packet.word(at: 7), &command)
        case .read12:
            return read(packet.doubleWord(at: 2), packet.doubleWord(at: 6), &command)
        case .readCD: return readCD(packet, &command, &reply)
        case .requestSense: return answer(requestSenseData(), upTo: UInt32(packet[4]), command, &reply)
        case .inquiry: return inquiry(packet, command, &reply)
        case .readCapacity: return answer(readCapacityData, upTo: 8, command, &reply)
        case .readTOCPMAATIP: return answer(readTOC(packet), upTo: packet.word(at: 7), command, &reply)
        case .getConfiguration:
            // The feature header alone, of Profile List, the only feature.
            let answer = kind == .fullDVDROM ? features(packet) : packet.word(at: 2) == 0 ? configuration : nil
            return self.answer(answer, upTo: packet.word(at: 7), command, &reply)
        case .getEventStatusNotification:
            // Polled operation only.
            let answer = packet[1] & 0x01 != 0 ? events(classes: packet[4]) : nil
            return self.answer(answer, upTo: packet.word(at: 7), command, &reply)
        case .readDiscInformation:
            // Standard disc information only.
            let answer = packet[1] & 0x07 == 0 ? Self.discInformation : nil
            return self.answer(answer, upTo: packet.word(at: 7), command, &reply)
        case .modeSense10: return modeSense(packet, command, &reply)
        case .modeSelect10: return modeSelect(packet, command, reply.bytes)
        case .readCDMSF: return readCDMSF(packet, &command, &reply)
        case .readDiscStructure: return readDiscStructure(packet, command, &reply)
        case .mechanismStatus:
            // Idle, with one slot.
            return answer([0, 0, 0, 0, 0, 1, 0, 0], upTo: packet.word(at: 8), command, &reply)
        }
    }

    /// Answers with data, as many as the host has allocated space for. Without data, a field of the command is invalid.
    mutating func answer(
        _ data: [UInt8]?, upTo allocationLength: UInt32, _ command: CommandInProgress, _ reply: inout MutableRawSpan
    ) -> Step {
        guard let data else { return checkCondition(command, .invalidFieldInCDB) }
        let count = min(data.count, Int(allocationLength))
        for offset in 0..<min(count, reply.byteCount) {
            reply.storeBytes(of: data[offset], toByteOffset: offset, as: UInt8.self)
        }
        return packetEnded(command, byteCount: UInt64(count))
    }

    private mutating func read(_ lba: UInt32, _ count: UInt32, _ command: inout CommandInProgress) -> Step {
        count == 0 ? packetEnded(command) : readBlocks(&command, lba: lba, count: count)
    }

    /// READ CD.
    private mutating func readCD(
        _ packet: CommandPacket, _ command: inout CommandInProgress, _ reply: inout MutableRawSpan
    ) -> Step {
        readSectors(
            packet, lba: packet.doubleWord(at: 2), count: packet.doubleWord(at: 5) & 0xFF_FFFF, &command, &reply)
    }

    /// READ CD and READ CD MSF: nothing, user data, or whole sectors.
    mutating func readSectors(
        _ packet: CommandPacket, lba: UInt32, count: UInt32, _ command: inout CommandInProgress,
        _ reply: inout MutableRawSpan
    ) -> Step {
        let fields = packet[9] & 0xF8
        guard count != 0, fields != 0 else { return packetEnded(command) }
        guard canMoveData(command) else { return packetAborted(command) }
        switch fields {
        case 0x10: return readBlocks(&command, lba: lba, count: count)
        case 0xF8: return readRawBlocks(&command, lba: lba, count: count, &reply)
        default: return checkCondition(command, .invalidFieldInCDB)
        }
    }

    /// START STOP UNIT: START with LOEJ closes the tray, LOEJ alone opens it. Power conditions are not kept.
    private mutating func startStopUnit(_ packet: CommandPacket, _ command: CommandInProgress) -> Step {
        guard packet[4] & 0xF0 == 0, packet[4] & 0x02 != 0 else { return packetEnded(command) }
        let opens = packet[4] & 0x01 == 0
        if opens, !packetDevice.trayIsOpen, packetDevice.trayIsLocked {
            return checkCondition(command, sectors != 0 ? .mediumRemovalPrevented : .emptyTrayLocked)
        }
        packetDevice.trayIsOpen = opens
        return packetEnded(command)
    }

    /// REQUEST SENSE: fixed format. A QEMU DVD-ROM says VALID, and an INFORMATION of 0. It ends a unit attention
    /// condition.
    private mutating func requestSenseData() -> [UInt8] {
        var data = [UInt8](repeating: 0, count: 18)
        let information = packetDevice.sense.information
        data[0] = kind == .dvdROM || information != nil ? 0xF0 : 0x70
        data.replaceSubrange(3..<7, with: bigEndian(information ?? 0))
        data[2] = packetDevice.sense.key
        data[7] = 10
        data[12] = packetDevice.sense.code
        if packetDevice.sense.isUnitAttention {
            packetDevice.sense = PacketSense(key: 0, code: packetDevice.sense.code)
        }
        return data
    }

    /// READ CAPACITY: the last block, and 2048. A host asks only if there is a medium.
    private var readCapacityData: [UInt8] {
        bigEndian(UInt32(truncatingIfNeeded: sectors &- 1)) + bigEndian(UInt32(blockSize.bytes))
    }
}

/// INQUIRY and MODE SENSE.
extension Drive {
    private mutating func inquiry(
        _ packet: CommandPacket, _ command: CommandInProgress, _ reply: inout MutableRawSpan
    ) -> Step {
        let allocationLength = UInt32(packet[4])
        guard packet[1] & 0x01 != 0 else {
            // A removable CD/DVD device that names no standard, ATAPI's version 2 and response data format 1.
            let isFull = kind == .fullDVDROM
            // The full drive says SPC-3 and the present format.
            let data: [UInt8] = [0x05, 0x80, isFull ? 0x05 : 0x00, isFull ? 0x02 : 0x21, 31, 0, 0, 0]
            let names =
                isFull ? padded("SPINDLE", 8) + padded("DVD-ROM", 16) : padded("QEMU", 8) + padded("QEMU DVD-ROM", 16)
            let texts = names + padded(identifyData.firmwareRevision, 4)
            return answer(data + texts, upTo: allocationLength, command, &reply)
        }
        switch packet[2] {
        case 0x00:  // Supported VPD Pages.
            return answer([0x05, 0x00, 0x00, 2, 0x00, 0x83], upTo: allocationLength, command, &reply)
        case 0x83:  // Device Identification.
            let designators = designators(room: Int(allocationLength) - 4)
            guard !designators.isEmpty else { return checkCondition(command, .dataPhaseError) }
            let page = [0x05, 0x83, 0x00, UInt8(designators.count)] + designators
            return answer(page, upTo: allocationLength, command, &reply)
        default:
            return checkCondition(command, .invalidFieldInCDB)
        }
    }

    /// The designators that there is room for: serial number, vendor with model and serial number, world wide name.
    private func designators(room: Int) -> [UInt8] {
        let serial = padded(identifyData.serialNumber, 20)
        var designators: [UInt8] = []
        guard room >= 24 else { return designators }
        designators += [0x02, 0x00, 0x00, 20] + serial
        guard room >= designators.count + 72 else { return designators }
        designators += [0x02, 0x01, 0x00, 68] + padded("ATA", 8) + padded(identifyData.modelNumber, 40) + serial
        let name = (108...111).flatMap { bigEndian(identifyData[word: $0]) }
        guard identifyData[word: 87] & 0x0100 != 0, room >= designators.count + 12 else { return designators }
        return designators + [0x01, 0x03, 0x00, 8] + name
    }

    /// MODE SENSE (10): current values of three pages.
    private mutating func modeSense(
        _ packet: CommandPacket, _ command: CommandInProgress, _ reply: inout MutableRawSpan
    ) -> Step {
        guard packet[2] >> 6 != 3 else { return checkCondition(command, .savingParametersNotSupported) }
        let page =
            kind == .fullDVDROM
            ? modePages(packet[2] & 0x3F, subpage: packet[3], ofChangeable: packet[2] >> 6 == 1)
            : packet[2] >> 6 == 0 ? modePage(packet[2] & 0x3F) : nil
        // The medium type 70h of an obsolete standard: no disc, or the door is closed.
        let data = page.map { bigEndian(UInt16(6 + $0.count)) + [0x70, 0, 0, 0, 0, 0] + $0 }
        return answer(data, upTo: packet.word(at: 7), command, &reply)
    }

    func modePage(_ code: UInt8) -> [UInt8]? {
        switch code {
        case 0x01:  // Read/Write Error Recovery: five retries.
            return [code, 6, 0x00, 0x05, 0, 0, 0, 0]
        case 0x0E:  // CD Audio Control: silent.
            return [code, 14] + [UInt8](repeating: 0, count: 14)
        case 0x2A:  // MM Capabilities and Mechanical Status.
            // It reads CD-R, CD-RW and DVDs; plays, Mode 2 and multi-session; a tray that ejects and can be locked.
            let mechanism: UInt8 = 0x29 | (packetDevice.trayIsLocked ? 0x02 : 0)
            // Four times the speed of a CD, two volume levels, a buffer of 512 KB.
            return [code, 20, 0x3B, 0x00, 0x71, 0x60, mechanism, 0x00] + bigEndian(UInt16(704)) + [0, 2]
                + bigEndian(UInt16(512)) + bigEndian(UInt16(704)) + [0, 0, 0, 0, 0, 0]
        default:
            return nil
        }
    }
}

/// Facts of the medium.
extension Drive {
    /// The profiles of media (MMC-6 5.3.1).
    enum Profile {
        static let cdROM: UInt16 = 0x0008
        static let dvdROM: UInt16 = 0x0010
    }

    /// The blocks that 80 minutes of a CD have; a larger medium is a DVD.
    private static let cdBlocks: UInt64 = 80 * 60 * 75

    /// The medium is no more than a CD holds.
    public var mediumIsCD: Bool { sectors <= Self.cdBlocks }

    /// That of the disc; 0: there is none.
    var currentProfile: UInt16 { hasMedium ? mediumIsCD ? Profile.cdROM : Profile.dvdROM : 0 }

    /// GET CONFIGURATION: the current profile, and the Profile List feature.
    private var configuration: [UInt8] {
        let current = currentProfile
        let profiles: [UInt8] = [Profile.dvdROM, Profile.cdROM].flatMap { bigEndian($0) + [$0 == current ? 1 : 0, 0] }
        // Persistent and current.
        let feature = [0x00, 0x00, 0x03, UInt8(profiles.count)] + profiles
        return bigEndian(UInt32(4 + feature.count)) + [0, 0] + bigEndian(current) + feature
    }

    /// GET EVENT STATUS NOTIFICATION: the media class, or that there is no event.
    mutating func eventStatus(classes: UInt8) -> [UInt8] {
        let mediaClass: UInt8 = 4
        guard classes & 1 << mediaClass != 0 else { return [0, 0, 0x80, 1 << mediaClass] }
        let isOpen = packetDevice.trayIsOpen
        var event: UInt8 = 0
        if !isOpen, packetDevice.mediaEvents.remove(.newMedia) != nil {
            event = 0x02
        } else if !isOpen, packetDevice.mediaEvents.remove(.ejectRequest) != nil {
            event = 0x01
        }
        let status: UInt8 = isOpen ? 0x01 : sectors != 0 ? 0x02 : 0
        return [0, 4, mediaClass, 1 << mediaClass, event, status, 0, 0]
    }

    /// READ TOC/PMA/ATIP: the formats TOC, session information and full TOC of one data track; nil for others.
    private func readTOC(_ packet: CommandPacket) -> [UInt8]? {
        let inTime = packet[1] & 0x02 != 0
        let start = address(0, inTime)
        let leadOut = address(UInt32(truncatingIfNeeded: sectors), inTime)
        var entries: [UInt8]
        // The place of MMC, or that of SFF-8020, which a QEMU DVD-ROM alone looks at.
        let format = kind == .fullDVDROM && packet[2] & 0x0F != 0 ? packet[2] & 0x0F : packet[9] >> 6
        switch format {
        case 0:
            guard packet[6] <= 1 || packet[6] == 0xAA else { return nil }
            entries = packet[6] <= 1 ? [0, 0x14, 1, 0] + start : []
            entries += [0, 0x16, 0xAA, 0] + leadOut
        case 1:
            return [0, 10, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        case 2:
            // First track, last track, lead-out, and the track.
            let points: [(UInt8, [UInt8])] = [
                (0xA0, [0, 1, 0, 0]), (0xA1, [0, 1, 0, 0]), (0xA2, leadOut), (0x01, start),
            ]
            entries = []
            for (point, value) in points { entries += [1, 0x14, 0, point, 0, 0, 0] + value }
        default:
            return nil
        }
        return bigEndian(UInt16(2 + entries.count)) + [1, 1] + entries
    }

    private func address(_ lba: UInt32, _ inTime: Bool) -> [UInt8] {
        inTime ? [0] + minuteSecondFrame(lba) : bigEndian(lba)
    }

    /// READ DISC INFORMATION: a finalized disc with one session of one track.
    private static var discInformation: [UInt8] {
        [0, 32, 0x0E, 1, 1, 1, 1, 0x20] + [UInt8](repeating: 0, count: 26)
    }

    /// READ DISC STRUCTURE, with the formats of a DVD (READ DVD STRUCTURE in earlier standards).
    private mutating func readDiscStructure(
        _ packet: CommandPacket, _ command: CommandInProgress, _ reply: inout MutableRawSpan
    ) -> Step {
        let format = packet[7]
        guard format == 0xFF || !mediumIsCD else { return checkCondition(command, .incompatibleFormat) }
        // Media type 0 is a DVD.
        let data = packet[1] == 0 ? dvdStructure(format, layer: packet[6]) : nil
        return answer(data, upTo: packet.word(at: 8), command, &reply)
    }

    private func dvdStructure(_ format: UInt8, layer: UInt8) -> [UInt8]? {
        var structure: [UInt8]
        switch format {
        case 0x00:  // Physical format information of the first layer, which is the only one.
            guard layer == 0 else { return nil }
            let last = bigEndian(UInt32(truncatingIfNeeded: sectors &- 1))
            // A DVD-ROM of 120 mm. Its first block has the number 30000h; a QEMU DVD-ROM says 0.
            structure = [0x01, 0x0F, 0x01, 0x00]
            if kind == .fullDVDROM {
                let end = UInt32(truncatingIfNeeded: sectors &- 1) &+ 0x3_0000
                structure += bigEndian(UInt32(0x3_0000)) + bigEndian(end) + [0, 0, 0, 0]
            } else {
                structure += [0, 0, 0, 0] + last + last
            }
            structure += [UInt8](repeating: 0, count: 2048 - structure.count)
        case 0x01:  // Copyright information: no protection, no regions.
            structure = [0, 0, 0, 0]
        case 0x04:  // Manufacturing information.
            structure = [UInt8](repeating: 0, count: 2048)
        case 0xFF:  // The formats that can be read, with their lengths. That of the BCA is named, and refused.
            structure = []
            for (format, length) in [(0x00, 2052), (0x01, 8), (0x03, 192), (0x04, 2052)] as [(UInt8, UInt16)]
            where format != 0x03 || kind == .dvdROM {
                structure += [format, 0x40] + bigEndian(length)
            }
        default:
            return nil
        }
        return bigEndian(UInt16(2 + structure.count)) + [0, 0] + structure
    }
}

/// The bytes of an integer, most significant first.
func bigEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    stride(from: Value.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> $0) }
}

/// A left-aligned ASCII field.
func padded(_ text: String, _ count: Int) -> [UInt8] {
    let characters = text.utf8.prefix(count)
    return characters + [UInt8](repeating: UInt8(ascii: " "), count: count - characters.count)
}
