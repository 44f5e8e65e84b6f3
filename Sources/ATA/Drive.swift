// The drive: a QEMU 7.2 `ide-hd` or `ide-cd`, or a drive of ours, as its registers show it (command set: ACS-4 clause
// 7; the obsolete commands ATA/ATAPI-5 clause 8). It checks commands and keeps state; sectors are the medium's
// business.

import Blocks

/// An ATA drive. Commands go in as taskfiles; work for the medium and register contents come out.
///
/// The handlers of commands are mutating even where they change nothing: a non-mutating method that is called from a
/// mutating one gets a copy, and a drive is more than 600 bytes.
public struct Drive: Sendable {
    /// Which commands it has.
    public let kind: DriveKind
    /// The medium's size.
    public private(set) var sectors: UInt64
    /// The size of a logical sector, as the IDENTIFY DEVICE data say, or of a disc's block.
    public let blockSize: BlockSize
    let controller: Controller
    /// The bits of the device register that the drive supplies itself, whatever the host wrote.
    private let deviceBits: UInt8

    /// IDENTIFY DEVICE data as the drive gives them now.
    ///
    /// Reading this copies 512 bytes; ``sectors`` and ``writeCacheEnabled`` are cheaper.
    public internal(set) var identifyData: IdentifyData
    /// The first IDENTIFY DEVICE builds the data. Earlier settings show in them only if they are part of the drive's
    /// state (write cache, multiple); later ones only if they are patched in (write cache, transfer mode).
    var identified = false
    /// Heads and sectors per track of CHS addresses, from INITIALIZE DEVICE PARAMETERS.
    var chsTranslation: CHSTranslation
    /// Sectors that READ and WRITE MULTIPLE move in a block; 0: those are aborted.
    var multiple = IdentifyData.maximumMultiple
    var smart = SMART()
    /// The memory of a device with the PACKET feature set.
    var packetDevice = PacketDevice()
    /// The memory of a whole disk.
    var disk = DiskState()

    /// How many commands the drive was given, aborted ones included.
    public internal(set) var taskfilesExecuted: UInt64 = 0

    /// A drive at power-on.
    /// - Parameters:
    ///   - properties: what `-device` says; a write cache that is `auto` is on.
    ///   - sectors: the medium's size in logical sectors.
    ///   - bootSector: the geometry that the medium's first sector implies, if any.
    ///   - controller: what the drive hangs on.
    public init(
        _ properties: DriveProperties, sectors: UInt64, bootSector: BootSectorGeometry?, controller: Controller
    ) {
        let geometry = Geometry(properties, sectors: sectors, bootSector: bootSector)
        kind = properties.kind
        self.sectors = sectors
        self.controller = controller
        // On a parallel bus bits 7 and 5 read as ones and DEV tells which drive answers; AHCI gives back what it got.
        deviceBits = controller == .piix3IDE ? 0xA0 | (properties.unit & 1) << 4 : 0
        switch kind {
        case .disk:
            identifyData = IdentifyData(properties, sectors: sectors, geometry: geometry, controller: controller)
            guard let blockSize = BlockSize(bytes: identifyData.logicalSectorBytes) else {
                preconditionFailure("a drive says how large its sectors are")
            }
            self.blockSize = blockSize
        case .hardDisk, .solidState:
            disk.features = Feature.ofDisk(properties)
            disk.enabled = disk.features
            disk.enabled.remove(.advancedPowerManagement)
            disk.enabled.set(.writeCache, properties.writeCache != .off)
            disk.maxAddress.nativeSectors = sectors
            identifyData = IdentifyData(
                disk: properties, sectors: sectors, geometry: geometry, features: disk.features)
            blockSize = properties.logicalBlockSize
        case .dvdROM, .fullDVDROM:
            identifyData = IdentifyData(packetDevice: properties, controller: controller)
            blockSize = .disc
        }
        chsTranslation = CHSTranslation(heads: geometry.heads, sectorsPerTrack: geometry.sectorsPerTrack)
        if kind.isWholeDisk { refreshIdentity() }
    }

    /// The medium has another size. Of a disk, everything else stays as it is, the geometry and what the host has set
    /// included (QEMU's `block_resize`). To a DVD-ROM it is another disc, and 0 is none (`blockdev-change-medium`).
    public mutating func resize(toSectors sectors: UInt64) {
        guard !kind.isWholeDisk else { return resizeMedium(toSectors: sectors) }
        self.sectors = sectors
        switch kind {
        case .disk: identifyData.store(sectors: sectors)
        case .hardDisk, .solidState: break
        case .dvdROM, .fullDVDROM: packetDevice.mediumHasChanged(isThere: sectors != 0)
        }
    }

    /// The medium of a whole disk has another size. What a host has hidden of it stays hidden.
    private mutating func resizeMedium(toSectors native: UInt64) {
        let isWhole = sectors == disk.maxAddress.nativeSectors
        disk.maxAddress.nativeSectors = max(native, disk.maxAddress.nativeSectors)
        setAccessible(isWhole ? disk.maxAddress.nativeSectors : sectors)
    }

    /// A host can address so many sectors of a whole disk's medium.
    mutating func setAccessible(_ count: UInt64) {
        sectors = min(count, disk.maxAddress.nativeSectors)
        refreshIdentity()
    }

    /// All sectors of the medium, also those that a host has hidden.
    public var mediumSectors: UInt64 { kind.isWholeDisk ? disk.maxAddress.nativeSectors : sectors }

    /// Whether the volatile write cache is on. Off: a write is stable when it is answered.
    public var writeCacheEnabled: Bool { identifyData.writeCacheEnabled }

    /// Begins a command.
    /// - Parameters:
    ///   - command: a command that has not begun.
    ///   - data: what the host sends to a command that the drive itself interprets (the ranges of DATA SET MANAGEMENT);
    ///     else empty.
    public mutating func begin(_ command: inout CommandInProgress, data: RawSpan) -> Step {
        taskfilesExecuted &+= 1
        guard let code = Command(rawValue: command.taskfile.command) else {
            return kind.isWholeDisk ? refused(command) : aborted(command)
        }
        guard kind == .disk else {
            return kind.isWholeDisk ? beginOnDisk(&command, code, data) : beginOnPacketDevice(&command, code)
        }
        return switch code {
        case .nop, .readLogEXT, .setMaxAddressEXT, .writeDMAFUAEXT, .writeLogEXT, .zeroEXT, .writeUncorrectableEXT,
            .readLogDMAEXT, .writeLogDMAEXT, .accessibleMaxAddressConfiguration, .downloadMicrocode,
            .downloadMicrocodeDMA, .sanitizeDevice, .writeMultipleFUAEXT, .readBuffer, .writeBuffer, .readBufferDMA,
            .writeBufferDMA, .securitySetPassword, .securityUnlock, .securityErasePrepare, .securityEraseUnit,
            .securityDisablePassword, .setMaxAddress:
            aborted(command)
        case .dataSetManagement: dataSetManagement(&command, data)
        case .deviceReset, .packet, .identifyPacketDevice: aborted(command)
        case .recalibrate, .seek: done(command)
        case .readSectors, .readSectorsWithoutRetry: read(&command, .lba28, block: 1)
        case .readSectorsEXT: read(&command, .lba48, block: 1)
        case .readDMA, .readDMAWithoutRetry: read(&command, .lba28, block: .max)
        case .readDMAEXT: read(&command, .lba48, block: .max)
        case .readMultiple: read(&command, .lba28, block: UInt32(multiple))
        case .readMultipleEXT: read(&command, .lba48, block: UInt32(multiple))
        case .readNativeMaxAddress: readNativeMaxAddress(command, .lba28)
        case .readNativeMaxAddressEXT: readNativeMaxAddress(command, .lba48)
        case .writeSectors, .writeSectorsWithoutRetry, .writeVerify: write(&command, .lba28, block: 1)
        case .writeSectorsEXT: write(&command, .lba48, block: 1)
        case .writeDMA, .writeDMAWithoutRetry: write(&command, .lba28, block: .max)
        case .writeDMAEXT: write(&command, .lba48, block: .max)
        case .writeMultiple: write(&command, .lba28, block: UInt32(multiple))
        case .writeMultipleEXT: write(&command, .lba48, block: UInt32(multiple))
        case .readVerifySectors, .readVerifySectorsWithoutRetry: readVerify(&command, .lba28)
        case .readVerifySectorsEXT: readVerify(&command, .lba48)
        case .readFPDMAQueued: controller == .ich9AHCI ? read(&command, .queued, block: .max) : aborted(command)
        case .writeFPDMAQueued: controller == .ich9AHCI ? write(&command, .queued, block: .max) : aborted(command)
        case .executeDeviceDiagnostic: executeDeviceDiagnostic(command)
        case .initializeDeviceParameters: initializeDeviceParameters(command)
        case .idleImmediate, .idleImmediateATA3, .idle, .idleATA3: changePowerMode(command)
        case .standbyImmediate, .standbyImmediateATA3, .standby, .standbyATA3, .sleep, .sleepATA3: spinDown(&command)
        case .checkPowerMode, .checkPowerModeATA3: checkPowerMode(command)
        case .smart: smart(command)
        case .setMultipleMode: setMultipleMode(command)
        case .flushCache, .flushCacheEXT: flush(&command)
        case .identifyDevice: identifyDevice(command)
        case .setFeatures: setFeatures(&command)
        case .securityFreezeLock: securityFreezeLock(command)
        }
    }

    /// Goes on with a command whose medium operation has ended.
    /// - Parameters:
    ///   - command: the command that gave the operation.
    ///   - outcome: how the operation ended.
    ///   - data: as for ``begin(_:data:)``.
    public mutating func resume(_ command: inout CommandInProgress, _ outcome: BlockOutcome, data: RawSpan) -> Step {
        guard !kind.isWholeDisk else { return resumeOnDisk(&command, outcome, data: data) }
        let phase = command.phase
        command.phase = .none
        if phase == .verifying { return done(command) }
        if case .failed(let error, let done) = outcome {
            return phase == .reading || phase == .writing
                ? failed(&command, error, after: UInt32(clamping: blockSize.blocks(inBytes: done)))
                : aborted(command, error)
        }
        switch phase {
        case .none, .readingRaw, .zeroing: preconditionFailure("no medium operation of this command was under way")
        case .reading: return transferred(&command)
        case .writing: return writeCacheEnabled ? transferred(&command) : flush(&command)
        case .flushing: return transferred(&command)
        case .spinningDown: return changePowerMode(command)
        case .trimming: return trim(&command, data)
        case .verifying: return done(command)
        }
    }

    /// The registers as the command left them, and the drive's own bits in the device register.
    mutating func result(_ taskfile: Taskfile, status: UInt8, error: UInt8 = 0) -> TaskfileResult {
        var result = TaskfileResult(taskfile, status: status, error: error)
        result.device |= deviceBits
        return result
    }

    /// The command was done and changed no register.
    mutating func done(_ command: CommandInProgress) -> Step {
        .finished(result(command.taskfile, status: Status.done))
    }

    /// The command was aborted and changed no register: it is unknown, its registers make no sense, or the medium
    /// failed.
    mutating func aborted(_ command: CommandInProgress, _ blockFailure: BlockFailure? = nil) -> Step {
        var result = result(command.taskfile, status: Status.failed, error: ErrorRegister.abort)
        result.blockFailure = blockFailure
        return .finished(result)
    }
}
