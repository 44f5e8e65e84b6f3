// The one table of the commands of a whole disk, in the standard's order (ACS-3 clause 7; a row says so where it is
// another standard's). Which commands the drive takes, what its IDENTIFY DEVICE data announce and the table of
// docs/drive.md follow from it.

/// A row: a command, and all that is the same for each use of it.
public struct CommandRow: Sendable {
    /// The data of a command, seen from the host.
    public enum Transfer: Sendable {
        /// There are none.
        case none
        /// They come from the device.
        case fromDevice
        /// They go to the device.
        case toDevice
    }

    /// What a command is to a locked, sanitizing or sleeping drive (ACS-3 4.19, "Security mode command actions"; 4.17,
    /// "Sanitize Device feature set").
    public enum Access: Sendable {
        /// It tells or sets something of the drive.
        case drive
        /// It reads, writes or changes the medium: not while the drive is locked.
        case medium
    }

    /// The command register.
    public let command: Command
    /// The standard's name.
    public let name: String
    /// The feature that it belongs to: a drive without that aborts it.
    public let feature: Feature
    /// Its data.
    public let transfer: Transfer
    let access: Access
    /// The standard that describes it, where that is not ACS-3.
    public let standard: String?

    init(
        _ command: Command, _ name: String, _ feature: Feature = .general, _ transfer: Transfer = .none,
        _ access: Access = .drive, standard: String? = nil
    ) {
        self.command = command
        self.name = name
        self.feature = feature
        self.transfer = transfer
        self.access = access
        self.standard = standard
    }

    /// All of them.
    public static let all: [CommandRow] = [
        CommandRow(
            .accessibleMaxAddressConfiguration, "ACCESSIBLE MAX ADDRESS CONFIGURATION", .accessibleMaxAddress, .none,
            .medium),
        CommandRow(.checkPowerMode, "CHECK POWER MODE", .powerManagement),
        CommandRow(.dataSetManagement, "DATA SET MANAGEMENT", .trim, .toDevice, .medium),
        CommandRow(.downloadMicrocode, "DOWNLOAD MICROCODE", .downloadMicrocode, .toDevice),
        CommandRow(.downloadMicrocodeDMA, "DOWNLOAD MICROCODE DMA", .downloadMicrocode, .toDevice),
        CommandRow(.executeDeviceDiagnostic, "EXECUTE DEVICE DIAGNOSTIC"),
        CommandRow(.flushCache, "FLUSH CACHE", .flushCache, .none, .medium),
        CommandRow(.flushCacheEXT, "FLUSH CACHE EXT", .flushCacheEXT, .none, .medium),
        CommandRow(.identifyDevice, "IDENTIFY DEVICE", .general, .fromDevice),
        CommandRow(.idle, "IDLE", .powerManagement),
        CommandRow(.idleImmediate, "IDLE IMMEDIATE", .powerManagement),
        CommandRow(.nop, "NOP", .nop),
        CommandRow(.readBuffer, "READ BUFFER", .readBuffer, .fromDevice),
        CommandRow(.readBufferDMA, "READ BUFFER DMA", .readBufferDMA, .fromDevice),
        CommandRow(.readDMA, "READ DMA", .general, .fromDevice, .medium),
        CommandRow(.readDMAEXT, "READ DMA EXT", .lba48, .fromDevice, .medium),
        CommandRow(.readFPDMAQueued, "READ FPDMA QUEUED", .nativeCommandQueuing, .fromDevice, .medium),
        CommandRow(.readLogDMAEXT, "READ LOG DMA EXT", .logDMA, .fromDevice),
        CommandRow(.readLogEXT, "READ LOG EXT", .generalPurposeLogging, .fromDevice),
        CommandRow(.readMultiple, "READ MULTIPLE", .general, .fromDevice, .medium),
        CommandRow(.readMultipleEXT, "READ MULTIPLE EXT", .lba48, .fromDevice, .medium),
        CommandRow(
            .readNativeMaxAddress, "READ NATIVE MAX ADDRESS", .hostProtectedArea, standard: "ACS-2"),
        CommandRow(
            .readNativeMaxAddressEXT, "READ NATIVE MAX ADDRESS EXT", .hostProtectedArea, standard: "ACS-2"),
        CommandRow(.readSectors, "READ SECTOR(S)", .general, .fromDevice, .medium),
        CommandRow(.readSectorsEXT, "READ SECTOR(S) EXT", .lba48, .fromDevice, .medium),
        CommandRow(.readVerifySectors, "READ VERIFY SECTOR(S)", .general, .none, .medium),
        CommandRow(.readVerifySectorsEXT, "READ VERIFY SECTOR(S) EXT", .lba48, .none, .medium),
        CommandRow(.sanitizeDevice, "SANITIZE DEVICE", .sanitize, .none, .medium),
        CommandRow(.securityDisablePassword, "SECURITY DISABLE PASSWORD", .security, .toDevice),
        CommandRow(.securityErasePrepare, "SECURITY ERASE PREPARE", .security),
        CommandRow(.securityEraseUnit, "SECURITY ERASE UNIT", .security, .toDevice),
        CommandRow(.securityFreezeLock, "SECURITY FREEZE LOCK", .security),
        CommandRow(.securitySetPassword, "SECURITY SET PASSWORD", .security, .toDevice),
        CommandRow(.securityUnlock, "SECURITY UNLOCK", .security, .toDevice),
        CommandRow(.setFeatures, "SET FEATURES"),
        CommandRow(.setMaxAddress, "SET MAX ADDRESS", .hostProtectedArea, .none, .medium, standard: "ACS-2"),
        CommandRow(.setMaxAddressEXT, "SET MAX ADDRESS EXT", .hostProtectedArea, .none, .medium, standard: "ACS-2"),
        CommandRow(.setMultipleMode, "SET MULTIPLE MODE"),
        CommandRow(.sleep, "SLEEP", .powerManagement),
        CommandRow(.smart, "SMART", .smart),
        CommandRow(.standby, "STANDBY", .powerManagement),
        CommandRow(.standbyImmediate, "STANDBY IMMEDIATE", .powerManagement),
        CommandRow(.writeBuffer, "WRITE BUFFER", .writeBuffer, .toDevice),
        CommandRow(.writeBufferDMA, "WRITE BUFFER DMA", .writeBufferDMA, .toDevice),
        CommandRow(.writeDMA, "WRITE DMA", .general, .toDevice, .medium),
        CommandRow(.writeDMAEXT, "WRITE DMA EXT", .lba48, .toDevice, .medium),
        CommandRow(.writeDMAFUAEXT, "WRITE DMA FUA EXT", .forceUnitAccess, .toDevice, .medium),
        CommandRow(.writeFPDMAQueued, "WRITE FPDMA QUEUED", .nativeCommandQueuing, .toDevice, .medium),
        CommandRow(.writeLogDMAEXT, "WRITE LOG DMA EXT", .logDMA, .toDevice),
        CommandRow(.writeLogEXT, "WRITE LOG EXT", .generalPurposeLogging, .toDevice),
        CommandRow(.writeMultiple, "WRITE MULTIPLE", .general, .toDevice, .medium),
        CommandRow(.writeMultipleEXT, "WRITE MULTIPLE EXT", .lba48, .toDevice, .medium),
        CommandRow(.writeMultipleFUAEXT, "WRITE MULTIPLE FUA EXT", .forceUnitAccess, .toDevice, .medium),
        CommandRow(.writeSectors, "WRITE SECTOR(S)", .general, .toDevice, .medium),
        CommandRow(.writeSectorsEXT, "WRITE SECTOR(S) EXT", .lba48, .toDevice, .medium),
        CommandRow(.writeUncorrectableEXT, "WRITE UNCORRECTABLE EXT", .writeUncorrectable, .none, .medium),
        CommandRow(.zeroEXT, "ZERO EXT", .zeroEXT, .none, .medium, standard: "ACS-4"),
    ]

    /// The command may change what IDENTIFY DEVICE data say, so that who keeps them has to read them anew.
    public static func changesIdentifyData(_ taskfile: Taskfile) -> Bool {
        switch Command(rawValue: taskfile.command) {
        case .setFeatures, .setMultipleMode, .setMaxAddress, .setMaxAddressEXT, .securitySetPassword, .securityUnlock,
            .securityEraseUnit, .securityFreezeLock, .securityDisablePassword, .writeLogEXT, .writeLogDMAEXT:
            true
        // SMART WRITE LOG, ENABLE and DISABLE OPERATIONS.
        case .smart: [0xD6, 0xD8, 0xD9].contains(taskfile.feature & 0x00FF)
        case .accessibleMaxAddressConfiguration: taskfile.feature == 0x0001
        default: false
        }
    }

    /// The command may change what is on the medium, though no data go to the device.
    public static func changesMedium(_ code: UInt8) -> Bool {
        switch Command(rawValue: code) {
        case .sanitizeDevice, .zeroEXT: true
        default: false
        }
    }

    /// The rows by their command registers: the place in ``all``, or 255.
    private static let places: [UInt8] = {
        var places = [UInt8](repeating: .max, count: 256)
        for (place, row) in all.enumerated() { places[Int(row.command.rawValue)] = UInt8(place) }
        return places
    }()

    /// The row of a command; nil if a disk has none.
    public static func row(of code: UInt8) -> CommandRow? {
        let place = places[Int(code)]
        return place == .max ? nil : all[Int(place)]
    }
}
