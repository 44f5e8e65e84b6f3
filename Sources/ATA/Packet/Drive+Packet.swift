// A device with the PACKET feature set: its ATA commands, and PACKET (ACS-3 clause 7 and ATA/ATAPI-4, by this name).

import Blocks

extension Drive {
    /// The ATA commands of such a device, but PACKET.
    mutating func beginOnPacketDevice(_ command: inout CommandInProgress, _ code: Command) -> Step {
        switch code {
        case .identifyPacketDevice:
            return identifyDevice(command)
        case .identifyDevice, .readSectors:
            // With its signature the device says what it is to a host that takes it for a disk.
            return .finished(withSignature(result(command.taskfile, status: Status.failed, error: ErrorRegister.abort)))
        case .deviceReset:
            return .finished(withSignature(result(command.taskfile, status: 0, error: ErrorRegister.devicePassed)))
        case .executeDeviceDiagnostic:
            var result = withSignature(result(command.taskfile, status: 0, error: ErrorRegister.devicePassed))
            result.device = 0xA0
            return .finished(result)
        case .setFeatures:
            return setFeatures(&command)
        case .flushCache:
            return flush(&command)
        default:
            return aborted(command)
        }
    }

    /// The signature of a device with the PACKET feature set (ATA/ATAPI-4 9.1).
    private func withSignature(_ result: TaskfileResult) -> TaskfileResult {
        var result = result
        result.count = result.count & 0xFF00 | 0x01
        result.lba = result.lba & ~0xFF_FFFF | 0xEB_1401
        result.device &= 0xF0
        return result
    }

    /// Begins PACKET.
    /// - Parameters:
    ///   - command: a command that has not begun, with the taskfile of PACKET.
    ///   - packet: what the host sends when the device asks for it.
    ///   - reply: the device writes its own answers to its start. Data of the medium are not, but for those of
    ///     READ CD that stand around them. If it is too small, ``Step/packetEnded(byteCount:_:)`` says more bytes than
    ///     it has.
    public mutating func begin(
        _ command: inout CommandInProgress, packet: CommandPacket, reply: inout MutableRawSpan
    ) -> Step {
        taskfilesExecuted &+= 1
        // Overlapped commands (OVL) are not supported.
        guard kind.isDisc, command.taskfile.command == Command.packet.rawValue, command.taskfile.feature & 0x02 == 0
        else { return packetAborted(command) }
        let code = PacketCommand(rawValue: packet[0])
        if code?.allowsUnitAttention != true {
            if packetDevice.sense.isUnitAttention { return unitAttentionPending(command) }
            if !packetDevice.trayIsOpen, sectors != 0, packetDevice.mediumChange != .told {
                return tellMediumChange(command)
            }
        }
        guard let code, code.isCommand(of: kind) else { return checkCondition(command, .invalidCommandOperationCode) }
        if code.needsMedium, !hasMedium { return checkCondition(command, .mediumNotPresent) }
        if code.alwaysMovesData, !canMoveData(command) { return packetAborted(command) }
        return execute(code, packet, &command, &reply)
    }

    /// Goes on with a PACKET whose medium operation has ended.
    public mutating func resume(
        _ command: inout CommandInProgress, _ outcome: BlockOutcome, reply: inout MutableRawSpan
    ) -> Step {
        let phase = command.phase
        command.phase = .none
        if case .failed(let failure, let bytes) = outcome {
            return failedToRead(command, failure, isRaw: phase == .readingRaw, afterBytes: bytes)
        }
        switch phase {
        case .reading:
            return packetEnded(command, byteCount: blockSize.bytes(ofBlocks: UInt64(command.count)))
        case .readingRaw:
            command.transferred += 1
            return readRawBlock(&command, &reply)
        case .none, .writing, .flushing, .spinningDown, .trimming, .verifying, .zeroing:
            preconditionFailure("no medium operation of this packet was under way")
        }
    }

    /// The tray of a DVD-ROM is open.
    public var trayIsOpen: Bool { packetDevice.trayIsOpen }

    /// The tray of a DVD-ROM is locked: PREVENT ALLOW MEDIUM REMOVAL has said so.
    public var trayIsLocked: Bool { packetDevice.trayIsLocked }

    /// The media events that the host was not told of. Where there are several hosts, the caller keeps those of each.
    public var mediaEvents: MediaEvents {
        get { packetDevice.mediaEvents }
        set { packetDevice.mediaEvents = newValue }
    }

    /// An operator wants the disc. A locked tray opens only by force: else the host is told of the wish, by GET EVENT
    /// STATUS NOTIFICATION (QEMU's `eject`).
    public mutating func eject(isForced: Bool) {
        guard packetDevice.trayIsOpen || !packetDevice.trayIsLocked || isForced else {
            packetDevice.mediaEvents.insert(.ejectRequest)
            return
        }
        resize(toSectors: 0)
    }

    /// An operator closes the tray over the disc in it.
    public mutating func closeTray() { packetDevice.mediumHasChanged(isThere: true) }

    /// The tray is locked no more: the host that locked it is gone, or has reset the drive (MMC-6, PREVENT ALLOW MEDIUM
    /// REMOVAL).
    public mutating func unlockTray() { packetDevice.trayIsLocked = false }

    /// The tray is locked still: another host has locked it, too.
    public mutating func lockTray() { packetDevice.trayIsLocked = true }

    /// There is a medium, and the tray is closed.
    public var hasMedium: Bool { !packetDevice.trayIsOpen && sectors != 0 }

    /// The command has ended well.
    mutating func packetEnded(_ command: CommandInProgress, byteCount: UInt64 = 0) -> Step {
        var result = result(command.taskfile, status: Status.done)
        result.count = Self.interruptReason
        if !command.movesDataByDMA, byteCount != 0 {
            // The byte count of the last data block (ATA/ATAPI-4, PACKET).
            let limit = command.byteCountLimit
            let block = limit >= byteCount ? byteCount : limit & ~1
            let last = block == 0 ? byteCount : (byteCount - 1) % block + 1
            result.lba = result.lba & ~0xFF_FF00 | (last & 0xFFFF) << 8
        }
        return .packetEnded(byteCount: byteCount, result)
    }

    /// The command has ended with CHECK CONDITION: CHK in the status register, the sense key in the error register, and
    /// the rest for REQUEST SENSE.
    mutating func checkCondition(
        _ command: CommandInProgress, _ sense: PacketSense, blockFailure: BlockFailure? = nil,
        after byteCount: UInt64 = 0
    ) -> Step {
        packetDevice.sense = sense
        var result = result(command.taskfile, status: Status.failed, error: sense.key << 4)
        result.count = Self.interruptReason
        result.blockFailure = blockFailure
        return .packetEnded(byteCount: byteCount, result)
    }

    /// The count register at the end of PACKET: I/O and C/D, the status is there.
    private static let interruptReason: UInt16 = 0x03

    /// A unit attention condition that no REQUEST SENSE has fetched yet.
    private mutating func unitAttentionPending(_ command: CommandInProgress) -> Step {
        // MC, the medium has changed, and a status register without DRDY.
        let error = packetDevice.sense.key << 4 | 0x20
        var result = result(command.taskfile, status: Status.error, error: error)
        result.count = 0
        return .packetEnded(byteCount: 0, result)
    }

    /// A host that does not ask for events sees the old medium go, and then the new one.
    private mutating func tellMediumChange(_ command: CommandInProgress) -> Step {
        guard packetDevice.mediumChange == .untold else {
            packetDevice.mediumChange = .told
            return checkCondition(command, .mediumMayHaveChanged)
        }
        packetDevice.mediumChange = .toldAsRemoved
        return checkCondition(command, .mediumNotPresent)
    }

    private mutating func failedToRead(
        _ command: CommandInProgress, _ failure: BlockFailure, isRaw: Bool, afterBytes bytes: UInt64
    ) -> Step {
        let done = isRaw ? UInt64(command.transferred) * Self.rawBlockBytes : bytes
        guard kind == .dvdROM else {
            let blocks = isRaw ? UInt64(command.transferred) : blockSize.blocks(inBytes: bytes)
            return checkCondition(
                command, .unrecoveredReadError(at: UInt32(truncatingIfNeeded: command.first + blocks)),
                blockFailure: failure, after: done)
        }
        return checkCondition(command, .logicalBlockAddressOutOfRange, blockFailure: failure, after: done)
    }

    /// PACKET itself was aborted: whatever the packet is, the registers make no sense.
    mutating func packetAborted(_ command: CommandInProgress) -> Step {
        let result = result(command.taskfile, status: Status.failed, error: ErrorRegister.abort)
        return .packetEnded(byteCount: 0, result)
    }

    /// Data that go by PIO need a byte count limit (ACS-3 clause 7, PACKET).
    func canMoveData(_ command: CommandInProgress) -> Bool {
        command.movesDataByDMA || command.byteCountLimit != 0
    }
}

/// Blocks of the medium.
extension Drive {
    /// The bytes of a whole sector of a CD: sync, header, user data, error correction (MMC-6 clause 4, Mode 1).
    static let rawBlockBytes: UInt64 = 2352

    /// READ (10), READ (12), and READ CD of user data alone.
    mutating func readBlocks(_ command: inout CommandInProgress, lba: UInt32, count: UInt32) -> Step {
        guard prepareBlocks(&command, lba, count) else {
            return checkCondition(command, .logicalBlockAddressOutOfRange)
        }
        command.phase = .reading
        return .blocks(.read(lba: command.first, count: count))
    }

    /// READ CD of whole sectors.
    mutating func readRawBlocks(
        _ command: inout CommandInProgress, lba: UInt32, count: UInt32, _ reply: inout MutableRawSpan
    ) -> Step {
        guard prepareBlocks(&command, lba, count) else {
            return checkCondition(command, .logicalBlockAddressOutOfRange)
        }
        return readRawBlock(&command, &reply)
    }

    private func prepareBlocks(_ command: inout CommandInProgress, _ lba: UInt32, _ count: UInt32) -> Bool {
        command.first = UInt64(lba)
        command.count = count
        command.transferred = 0
        return UInt64(lba) + UInt64(count) <= sectors
    }

    /// The next block, with what stands around its user data. A QEMU DVD-ROM does not compute the error correction.
    private mutating func readRawBlock(_ command: inout CommandInProgress, _ reply: inout MutableRawSpan) -> Step {
        let total = UInt64(command.count) * Self.rawBlockBytes
        guard command.transferred < command.count, total <= UInt64(reply.byteCount) else {
            return packetEnded(command, byteCount: total)
        }
        let lba = command.first + UInt64(command.transferred)
        let start = Int(command.transferred) * Int(Self.rawBlockBytes)
        for offset in 0..<Int(Self.rawBlockBytes) where !(16..<16 + 2048).contains(offset) {
            reply.storeBytes(of: offset > 0 && offset < 11 ? 0xFF : 0, toByteOffset: start + offset, as: UInt8.self)
        }
        let address = minuteSecondFrame(UInt32(truncatingIfNeeded: lba))
        for index in address.indices {
            reply.storeBytes(of: address[index], toByteOffset: start + 12 + index, as: UInt8.self)
        }
        // Mode 1.
        reply.storeBytes(of: 0x01, toByteOffset: start + 15, as: UInt8.self)
        command.phase = .readingRaw
        return .blocks(.read(lba: lba, count: 1))
    }
}

extension CommandInProgress {
    /// Where in the data of PACKET the blocks that the last ``Drive/Step/blocks(_:)`` asks for belong.
    public var blocksOffset: UInt64 {
        phase == .readingRaw ? UInt64(transferred) * Drive.rawBlockBytes + 16 : 0
    }

    /// DMA of the feature register.
    var movesDataByDMA: Bool { taskfile.feature & 0x01 != 0 }

    /// LBA mid and high: the most bytes of a PIO data block. FFFFh stands for FFFEh.
    var byteCountLimit: UInt64 { min(taskfile.lba >> 8 & 0xFFFF, 0xFFFE) }
}

/// The address of a block in minutes, seconds and frames, of which there are 75 a second; block 0 comes after 2 seconds
/// (MMC-6 clause 4).
func minuteSecondFrame(_ lba: UInt32) -> [UInt8] {
    let frames = UInt64(lba) + 150
    return [
        UInt8(truncatingIfNeeded: frames / 75 / 60), UInt8(truncatingIfNeeded: frames / 75 % 60),
        UInt8(truncatingIfNeeded: frames % 75),
    ]
}
