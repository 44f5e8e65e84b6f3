// The device server of a DVD-ROM that speaks only packets of ATAPI.

import ATA
import SAT
import SCSI

extension CommandDescriptorBlock {
    /// MODE SENSE (10) of the page that a MODE SENSE (6) names, with room for all pages.
    var asModeSense10: CommandDescriptorBlock {
        CommandDescriptorBlock(high: 0x5A_00_00_00_00_00_00_02 | UInt64(self[2]) << 40 | UInt64(self[3]) << 32, low: 0)
    }
}

extension ServedCommand {
    /// Sends a command to a DVD-ROM. The drive knows one host; here each nexus hears of each media event, and of a disc
    /// over which another one has closed the tray, and allows no removal that another one prevents.
    mutating func beginPacket(
        on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> TranslationLayer.Step {
        let trayWasOpen = drive.drive.trayIsOpen
        let toldNobody = drive.drive.mediaEvents
        drive.drive.mediaEvents = server[nexus]?.mediaEvents ?? []
        let step = drive.translation.begin(&scsi, drive: &drive.drive, data: &buffer)
        server.setMediaEvents(drive.drive.mediaEvents, of: nexus)
        drive.drive.mediaEvents.formIntersection(toldNobody)
        if cdb.operationCode == OperationCode.preventAllowMediumRemoval, case .finished(.good, _) = step {
            server.setPrevention(drive.drive.trayIsLocked, by: nexus)
            if server.preventsRemoval { drive.drive.lockTray() }
        }
        // The nexus that has closed the tray knows of the disc.
        if trayWasOpen, drive.drive.hasMedium { server.noteMediumChange(but: nexus) }
        return step
    }

    /// Linux's sr asks a drive that is not ATAPI with MODE SENSE (6), which ATAPI has not: the drive's answer to MODE
    /// SENSE (10) gets the shorter header (SPC-4, "Mode parameters").
    ///
    /// - Returns: the answer's length.
    func shortenModeData(_ data: inout MutableRawSpan, _ length: UInt32) -> UInt32 {
        let (long, short) = (8, 4)
        let pages = max(0, min(Int(length), data.byteCount) - long)
        guard pages > 0 else { return 0 }
        let header = [UInt8(clamping: short - 1 + pages), data[2], data[3], 0]
        for (offset, byte) in header.enumerated() { data[offset] = byte }
        for offset in 0..<pages { data[short + offset] = data[long + offset] }
        return UInt32(short + pages)
    }
}
