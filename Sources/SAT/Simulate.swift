// The simulate family: commands that the layer answers from what it knows, without the drive (SAT-5 clause 8).

import SCSI

extension TranslationLayer {
    /// All commands without a translation. A command that is missing here as well is unknown.
    func simulate(_ command: inout SCSICommandInProgress, _ data: inout MutableRawSpan) -> Translation {
        let cdb = command.cdb
        switch cdb.operationCode {
        case OperationCode.inquiry:
            return simulateInquiry(&command, &data)
        case OperationCode.modeSense6, OperationCode.modeSense10:
            return simulateModeSense(&command, &data)
        case OperationCode.readCapacity10:
            return respond(capacity.shortBytes, to: &command, &data)
        case OperationCode.serviceActionIn16:
            return simulateServiceActionIn(&command, &data)
        case OperationCode.reportLUNs:
            return respond(ReportLUNsData.bytes, to: &command, &data)
        case OperationCode.maintenanceIn:
            guard cdb.serviceAction == ServiceAction.reportSupportedOperationCodes else { return invalidField(1) }
            return respond(supportedOperationCode(cdb), to: &command, &data)
        case OperationCode.requestSense:
            // There is never anything to fetch, because sense data come with the status of the command. Linux puts the
            // answer, NO SENSE, where sense data go, and leaves the data buffer alone.
            return refused(.noSense, .none)
        case OperationCode.sendDiagnostic:
            // SELFTEST alone: the default self-test, which needs no parameters.
            guard cdb[1] & ~0x08 == 0x04, cdb[3] == 0, cdb[4] == 0 else { return invalidField(1) }
            return .finished(dataLength: 0)
        case OperationCode.testUnitReady, OperationCode.rezeroUnit, OperationCode.seek6, OperationCode.seek10:
            return .finished(dataLength: 0)
        default:
            return unknownCommand()
        }
    }

    /// The longest answer that Linux simulates.
    private static var longestResponse: UInt32 { 576 }

    /// Answers with `bytes`, and zeroes behind them up to the end of the data buffer or of the longest response: Linux
    /// looks at the size of the buffer, not at the allocation length in the command.
    func respond(
        _ bytes: [UInt8], to command: inout SCSICommandInProgress, _ data: inout MutableRawSpan
    ) -> Translation {
        command.responseLength = UInt32(bytes.count)
        let room = min(data.byteCount, Int(min(command.transferLength, Self.longestResponse)))
        for offset in 0..<room {
            data.storeBytes(of: offset < bytes.count ? bytes[offset] : 0, toByteOffset: offset, as: UInt8.self)
        }
        return .finished(dataLength: UInt32(room))
    }
}
