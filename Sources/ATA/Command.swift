// The command codes that the drive knows, by the names and in the order of the standards.

/// The command register's content (ACS-4 annex "Command set summary"; the obsolete ones ATA/ATAPI-5 and ATA-3). A QEMU
/// HARDDISK aborts all other codes, and those of the PACKET feature set.
public enum Command: UInt8, CaseIterable, Sendable {
    case dataSetManagement = 0x06
    case deviceReset = 0x08
    case recalibrate = 0x10
    case readSectors = 0x20
    case readSectorsWithoutRetry = 0x21
    case readSectorsEXT = 0x24
    case readDMAEXT = 0x25
    case readNativeMaxAddressEXT = 0x27
    case readMultipleEXT = 0x29
    case writeSectors = 0x30
    case writeSectorsWithoutRetry = 0x31
    case writeSectorsEXT = 0x34
    case writeDMAEXT = 0x35
    case writeMultipleEXT = 0x39
    case writeVerify = 0x3C
    case readVerifySectors = 0x40
    case readVerifySectorsWithoutRetry = 0x41
    case readVerifySectorsEXT = 0x42
    case readFPDMAQueued = 0x60
    case writeFPDMAQueued = 0x61
    case seek = 0x70
    case executeDeviceDiagnostic = 0x90
    case initializeDeviceParameters = 0x91
    case standbyImmediateATA3 = 0x94
    case idleImmediateATA3 = 0x95
    case standbyATA3 = 0x96
    case idleATA3 = 0x97
    case checkPowerModeATA3 = 0x98
    case sleepATA3 = 0x99
    case packet = 0xA0
    case identifyPacketDevice = 0xA1
    case smart = 0xB0
    case readMultiple = 0xC4
    case writeMultiple = 0xC5
    case setMultipleMode = 0xC6
    case readDMA = 0xC8
    case readDMAWithoutRetry = 0xC9
    case writeDMA = 0xCA
    case writeDMAWithoutRetry = 0xCB
    case standbyImmediate = 0xE0
    case idleImmediate = 0xE1
    case standby = 0xE2
    case idle = 0xE3
    case checkPowerMode = 0xE5
    case sleep = 0xE6
    case flushCache = 0xE7
    case flushCacheEXT = 0xEA
    case identifyDevice = 0xEC
    case setFeatures = 0xEF
    case securityFreezeLock = 0xF5
    case readNativeMaxAddress = 0xF8
}
