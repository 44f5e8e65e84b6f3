// How much of its medium a disk shows: Host Protected Area (ACS-2 4.11) and Accessible Max Address Configuration
// (ACS-3 4.4). Both set the same address.

/// The native size, and what a host has done since the power came.
struct MaxAddressState: Sendable {
    /// All sectors of the medium.
    var nativeSectors: UInt64 = 0
    /// READ NATIVE MAX ADDRESS (EXT) was the last command.
    var hasAsked = false
    /// An address that lasts was set, which a host may do once until the power goes.
    var hasSet = false
    /// ACCESSIBLE MAX ADDRESS CONFIGURATION, FREEZE.
    var isFrozen = false
}

extension Command {
    var isReadNativeMaxAddress: Bool { self == .readNativeMaxAddress || self == .readNativeMaxAddressEXT }
    var isSetMaxAddress: Bool { self == .setMaxAddress || self == .setMaxAddressEXT }
}

extension Drive {
    /// READ NATIVE MAX ADDRESS (EXT): the last sector of the medium. The 28-bit command shows as much as it can.
    mutating func tellNativeMaxAddress(_ command: CommandInProgress, _ layout: TaskfileLayout) -> Step {
        guard disk.maxAddress.nativeSectors != 0 else { return refused(command) }
        disk.maxAddress.hasAsked = true
        var result = result(command.taskfile, status: Status.done)
        let last = disk.maxAddress.nativeSectors - 1
        chsTranslation.store(layout == .lba28 ? min(last, 0x0FFF_FFFE) : last, layout, in: &result)
        return .finished(result)
    }

    /// SET MAX ADDRESS (EXT), directly after READ NATIVE MAX ADDRESS (EXT). VV, bit 0 of the count: it lasts.
    mutating func setMaxAddress(_ command: CommandInProgress, _ layout: TaskfileLayout) -> Step {
        defer { disk.maxAddress.hasAsked = false }
        // Features 01h to 04h of the 28-bit command are passwords and locks, which the drive does not announce.
        guard disk.maxAddress.hasAsked, layout == .lba48 || command.taskfile.feature & 0x00FF == 0 else {
            return refused(command)
        }
        let last = chsTranslation.firstSector(of: command.taskfile, layout)
        let lasts = command.taskfile.count & 0x0001 != 0
        guard last < disk.maxAddress.nativeSectors, !(lasts && disk.maxAddress.hasSet) else { return notThere(command) }
        if lasts { keepAccessible(last + 1) }
        setAccessible(last + 1)
        return done(command)
    }

    /// ACCESSIBLE MAX ADDRESS CONFIGURATION: feature 0000h GET NATIVE MAX ADDRESS EXT, 0001h SET ACCESSIBLE MAX
    /// ADDRESS EXT, 0002h FREEZE ACCESSIBLE MAX ADDRESS EXT.
    mutating func configureMaxAddress(_ command: CommandInProgress) -> Step {
        switch command.taskfile.feature {
        case 0x0000:
            guard disk.maxAddress.nativeSectors != 0 else { return refused(command) }
            var result = result(command.taskfile, status: Status.done)
            result.lba = disk.maxAddress.nativeSectors - 1
            return .finished(result)
        case 0x0001:
            let last = command.taskfile.lba & 0xFFFF_FFFF_FFFF
            guard !disk.maxAddress.isFrozen, !disk.maxAddress.hasSet, last < disk.maxAddress.nativeSectors else {
                return refused(command)
            }
            keepAccessible(last + 1)
            setAccessible(last + 1)
        case 0x0002: disk.maxAddress.isFrozen = true
        default: return refused(command)
        }
        return done(command)
    }

    private mutating func keepAccessible(_ sectors: UInt64) {
        disk.maxAddress.hasSet = true
        disk.history.accessibleSectors = sectors == disk.maxAddress.nativeSectors ? nil : sectors
    }
}
