// Commands of a whole disk that set it or ask what it is: IDENTIFY DEVICE, SET FEATURES, SET MULTIPLE MODE, buffers
// (ACS-3 clause 7, by these names).

extension Drive {
    /// IDENTIFY DEVICE.
    mutating func identify(_ command: CommandInProgress) -> Step {
        refreshIdentity()
        return .dataIn(.identifyDevice, result(command.taskfile, status: Status.done))
    }

    /// EXECUTE DEVICE DIAGNOSTIC: passed, with the signature of an ATA device in the registers.
    mutating func diagnose(_ command: CommandInProgress) -> Step { executeDeviceDiagnostic(command) }

    /// Lets the IDENTIFY DEVICE data say what the drive is now.
    mutating func refreshIdentity() {
        identifyData.store(sectors: sectors)
        identifyData[word: 59] = 0x0100 | UInt16(multiple) | SanitizeState.capabilities(disk.features)
        if multiple == 0 { identifyData[word: 59] &= ~0x0100 }
        for feature in Feature.allCases where disk.features.contains(feature) {
            identifyData.setEnabled(feature, disk.enabled.contains(feature))
        }
        identifyData.setEnabled(.smart, disk.history.smartIsEnabled)
        identifyData[word: 91] =
            disk.features.contains(.advancedPowerManagement) && disk.enabled.contains(.advancedPowerManagement)
            ? UInt16(disk.powerLevel) : 0
        refreshSecurityWords()
        identifyData.storeIntegrityWord()
    }

    /// User data are to be had, or not.
    mutating func refreshBar() {
        disk.isBarred = disk.security.isLocked || disk.sanitizing.isActive(at: disk.now) || disk.powerMode == .sleep
    }

    /// What passes with time has come as far as the clock says.
    mutating func advanceDisk() {
        disk.temperature.advance(
            to: disk.now, isTurning: powerMode(at: disk.now) != .standby, coldest: &disk.history.coldest,
            hottest: &disk.history.hottest)
        if let test = disk.selfTest, let end = test.end(at: disk.now) { finishSelfTest(test, end) }
        if disk.sanitizing.hasEnded(at: disk.now) { finishSanitize() }
        disk.faults.advance(to: disk.now)
    }

    /// SET FEATURES: the feature register is the subcommand.
    mutating func setDiskFeatures(_ command: inout CommandInProgress) -> Step {
        let count = UInt8(truncatingIfNeeded: command.taskfile.count)
        switch command.taskfile.feature & 0x00FF {
        case 0x02: enable(.writeCache, true)
        case 0x03:
            guard setDiskTransferMode(count) else { return refused(command) }
        case 0x05 where disk.features.contains(.advancedPowerManagement):
            guard (0x01...0xFE).contains(count) else { return refused(command) }
            disk.powerLevel = count
            enable(.advancedPowerManagement, true)
        case 0x85 where disk.features.contains(.advancedPowerManagement): enable(.advancedPowerManagement, false)
        case 0x55: enable(.lookAhead, false)
        case 0xAA: enable(.lookAhead, true)
        case 0x66: disk.revertsToDefaults = false
        case 0xCC: disk.revertsToDefaults = true
        case 0x82:
            // What the cache has has to become stable.
            enable(.writeCache, false)
            return flush(&command)
        default: return refused(command)
        }
        return done(command)
    }

    /// Enables a feature, or disables it.
    mutating func enable(_ feature: Feature, _ isEnabled: Bool) {
        disk.enabled.set(feature, isEnabled)
        refreshIdentity()
    }

    /// SET FEATURES 03h: PIO up to 4, multiword DMA up to 2, Ultra DMA up to 6. On a serial link they make no
    /// difference.
    private mutating func setDiskTransferMode(_ mode: UInt8) -> Bool {
        switch mode {
        case 0x00, 0x01, 0x08...0x0C: identifyData.storeTransferMode(multiword: nil, ultra: nil)
        case 0x20...0x22: identifyData.storeTransferMode(multiword: mode & 0x07, ultra: nil)
        case 0x40...0x46: identifyData.storeTransferMode(multiword: nil, ultra: mode & 0x07)
        default: return false
        }
        identifyData.storeIntegrityWord()
        return true
    }

    /// SET MULTIPLE MODE: 0 or a power of two up to 16.
    mutating func setDiskMultiple(_ command: CommandInProgress) -> Step {
        let count = UInt8(truncatingIfNeeded: command.taskfile.count)
        guard count <= IdentifyData.maximumMultiple, count.nonzeroBitCount <= 1 else { return refused(command) }
        multiple = count
        refreshIdentity()
        return done(command)
    }

    /// WRITE BUFFER (DMA): 512 bytes that READ BUFFER (DMA) gives back.
    mutating func storeBuffer(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        guard data.byteCount >= IdentifyData.byteCount else { return refused(command) }
        disk.buffer = (0..<IdentifyData.byteCount).map { data.byte(at: $0) }
        return done(command)
    }
}

extension Feature {
    /// Those of a disk.
    static func ofDisk(_ properties: DriveProperties) -> FeatureSet {
        var features = FeatureSet([
            .general, .lba48, .powerManagement, .advancedPowerManagement, .writeCache, .lookAhead, .nop, .readBuffer,
            .writeBuffer, .readBufferDMA, .writeBufferDMA, .flushCache, .flushCacheEXT, .forceUnitAccess,
            .nativeCommandQueuing, .worldWideName, .smart, .smartErrorLogging, .smartSelfTest,
            .generalPurposeLogging, .logDMA, .smartCommandTransport, .security, .hostProtectedArea,
            .accessibleMaxAddress, .writeUncorrectable, .sanitize, .zeroEXT,
        ])
        if properties.kind == .hardDisk { features.insert(.unload) }
        if properties.supportsTrim { features.insert(.trim) }
        return features
    }
}
