// Commands that move no user data: IDENTIFY DEVICE, READ NATIVE MAX ADDRESS, power management, parameters (ACS-4 clause
// 7, by these names; the obsolete ones ATA/ATAPI-5 clause 8 and ACS-2).

extension Drive {
    /// IDENTIFY DEVICE.
    mutating func identifyDevice(_ command: CommandInProgress) -> Step {
        identified = true
        return .dataIn(.identifyDevice, result(command.taskfile, status: Status.done))
    }

    /// READ NATIVE MAX ADDRESS (EXT) (ACS-2): the last sector. The 28-bit command shows its low bits if there are
    /// more.
    mutating func readNativeMaxAddress(_ command: CommandInProgress, _ layout: TaskfileLayout) -> Step {
        guard sectors != 0 else { return aborted(command) }
        var result = result(command.taskfile, status: Status.done)
        chsTranslation.store(sectors - 1, layout, in: &result)
        return .finished(result)
    }

    /// EXECUTE DEVICE DIAGNOSTIC: passed, with the signature of an ATA device in the registers.
    mutating func executeDeviceDiagnostic(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done, error: ErrorRegister.devicePassed)
        result.count = result.count & 0xFF00 | 0x01
        result.lba = result.lba & ~0xFF_FFFF | 0x00_0001
        // Device 0 answers for both.
        result.device = 0xA0
        return .finished(result)
    }

    /// INITIALIZE DEVICE PARAMETERS (ATA/ATAPI-5): heads and sectors per track for CHS addresses. Sectors of 0 are
    /// taken too; then no CHS address is on the medium.
    mutating func initializeDeviceParameters(_ command: CommandInProgress) -> Step {
        chsTranslation = CHSTranslation(
            heads: UInt32(command.taskfile.device & 0x0F) + 1, sectorsPerTrack: UInt32(command.taskfile.count & 0x00FF))
        return done(command)
    }

    /// SET MULTIPLE MODE: 0 or a power of two up to 16.
    mutating func setMultipleMode(_ command: CommandInProgress) -> Step {
        let count = UInt8(truncatingIfNeeded: command.taskfile.count)
        guard count <= IdentifyData.maximumMultiple, count.nonzeroBitCount <= 1 else { return aborted(command) }
        multiple = count
        if !identified { identifyData.setMultiple(count) }
        return done(command)
    }

    /// STANDBY (IMMEDIATE), SLEEP: the content of the write cache is stable before the medium stops.
    mutating func spinDown(_ command: inout CommandInProgress) -> Step {
        guard writeCacheEnabled else { return changePowerMode(command) }
        command.phase = .spinningDown
        return .blocks(.flush)
    }

    /// STANDBY (IMMEDIATE), IDLE (IMMEDIATE), SLEEP: accepted; a QEMU drive keeps no power state
    /// and does not set DSC after these.
    mutating func changePowerMode(_ command: CommandInProgress) -> Step {
        .finished(result(command.taskfile, status: Status.deviceReady))
    }

    /// CHECK POWER MODE: always active or idle, FFh.
    mutating func checkPowerMode(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        result.count |= 0x00FF
        return .finished(result)
    }

    /// SECURITY FREEZE LOCK shares its code with CFA WEAR LEVEL, whose answer a QEMU drive gives: count 0.
    mutating func securityFreezeLock(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        result.count &= 0xFF00
        return .finished(result)
    }
}
