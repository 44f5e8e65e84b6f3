// READ CAPACITY, GET LBA STATUS (16), REPORT SUPPORTED OPERATION CODES (SBC-4; SPC-5).

import ATA
import SCSI

extension TranslationLayer {
    /// READ CAPACITY data. A drive without sectors has a last address of FFFFFFFFFFFFFFFFh, as in Linux.
    var capacity: ReadCapacityData {
        let exponent = identifyData.logicalSectorsPerPhysicalExponent
        return ReadCapacityData(
            lastLogicalBlockAddress: sectors &- 1, logicalBlockBytes: identifyData.logicalSectorBytes,
            physicalBlockExponent: UInt8(exponent), lowestAlignedLogicalBlockAddress: lowestAlignedAddress(exponent),
            managesProvisioning: identifyData.supportsTrim, readsZeroes: readsZeroes)
    }

    /// Blocks that were given back read as zeroes.
    var readsZeroes: Bool { identifyData.supportsTrim && identifyData.supportsZeroesAfterTrim }

    /// Word 209: where in its physical sector the first logical one is.
    private func lowestAlignedAddress(_ exponent: Int) -> UInt16 {
        let word = identifyData[word: 209]
        guard exponent > 0, word & 0xC000 == 0x4000, word & 0x3FFF != 0 else { return 0 }
        return (1 << UInt16(exponent)) &- word & 0x3FFF
    }

    /// SERVICE ACTION IN (16): READ CAPACITY (16), and for exports GET LBA STATUS (16), which Linux does not have.
    func simulateServiceActionIn(_ command: inout SCSICommandInProgress, _ data: inout MutableRawSpan) -> Translation {
        let cdb = command.cdb
        switch cdb.serviceAction {
        case ServiceAction.readCapacity16:
            return respond(capacity.longBytes, to: &command, &data)
        case ServiceAction.getLBAStatus16 where command.origin == .kernel:
            // ATA drives keep their map to themselves and SAT does not describe this command; the medium is asked.
            let address = cdb.logicalBlockAddress16
            return address < sectors ? .lbaStatus(address) : outOfRange()
        default:
            return invalidField(1)
        }
    }

    /// Ends a GET LBA STATUS (16) whose step was ``Step/lbaStatus(lba:)``.
    /// - Parameters:
    ///   - command: the command that gave the step.
    ///   - mapped: whether the sector there is mapped. A medium that cannot tell says yes.
    ///   - count: how many sectors from there on have the same status.
    ///   - data: the command's data buffer; longer data are cut off.
    public func resumeLBAStatus(
        _ command: inout SCSICommandInProgress, mapped: Bool, count: UInt32, data: inout MutableRawSpan
    ) -> Step {
        let address = command.cdb.logicalBlockAddress16
        let available = UInt32(clamping: sectors - min(address, sectors))
        let status = LBAStatusData(
            logicalBlockAddress: address, numberOfLogicalBlocks: min(count, available),
            provisioningStatus: mapped ? .mapped : .deallocated)
        let length = status.encode(into: &data, allocationLength: command.transferLength)
        return .finished(.good, dataLength: UInt32(length))
    }

    /// REPORT SUPPORTED OPERATION CODES for one command: SUPPORT is 3 for what the standard describes and the layer
    /// knows, 0 for the rest. Linux answers the other forms with zeroes, and leaves out WRITE SAME (16), which is not
    /// for programs; commands that only exports may send are not listed either.
    func supportedOperationCode(_ cdb: CommandDescriptorBlock) -> [UInt8] {
        let isForOne = cdb[2] == 0x01
        return [0, isForOne && Self.supportedOperationCodes.contains(cdb[3]) ? 3 : 0]
    }

    private static let supportedOperationCodes: Set<UInt8> = [
        OperationCode.testUnitReady, OperationCode.rezeroUnit, OperationCode.requestSense, OperationCode.read6,
        OperationCode.write6, OperationCode.seek6, OperationCode.inquiry, OperationCode.modeSelect6,
        OperationCode.modeSense6, OperationCode.startStopUnit, OperationCode.sendDiagnostic,
        OperationCode.readCapacity10, OperationCode.read10, OperationCode.write10, OperationCode.seek10,
        OperationCode.verify10, OperationCode.synchronizeCache10, OperationCode.modeSelect10,
        OperationCode.modeSense10, OperationCode.ataPassThrough16, OperationCode.read16, OperationCode.write16,
        OperationCode.verify16, OperationCode.synchronizeCache16, OperationCode.serviceActionIn16,
        OperationCode.reportLUNs, OperationCode.ataPassThrough12, OperationCode.maintenanceIn,
    ]
}
