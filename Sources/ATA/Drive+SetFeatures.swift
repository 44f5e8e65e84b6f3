// SET FEATURES (ACS-4 clause 7, by this name; the obsolete subcommands ATA/ATAPI-5 clause 8).

extension Drive {
    /// SET FEATURES: the feature register is the subcommand.
    mutating func setFeatures(_ command: inout CommandInProgress) -> Step {
        switch command.taskfile.feature & 0x00FF {
        case 0x02:  // Enable volatile write cache.
            identifyData.setWriteCache(true)
            return done(command)
        case 0x03:  // Set transfer mode.
            return setTransferMode(command)
        case 0x82:  // Disable volatile write cache: its content has to become stable.
            identifyData.setWriteCache(false)
            return flush(&command)
        case 0xAA, 0x55,  // Enable and disable read look-ahead.
            0xCC, 0x66,  // Enable and disable reverting to power-on defaults.
            0x05, 0x85,  // Enable and disable advanced power management.
            0x42, 0xC2,  // Enable and disable automatic acoustic management.
            0x67, 0x69, 0x96, 0x9A:
            // Accepted, and nothing changes.
            return done(command)
        default:
            return aborted(command)
        }
    }

    private mutating func setTransferMode(_ command: CommandInProgress) -> Step {
        var data = identifyData
        guard data.setTransferMode(UInt8(truncatingIfNeeded: command.taskfile.count)) else { return aborted(command) }
        if identified { identifyData = data }
        return done(command)
    }
}
