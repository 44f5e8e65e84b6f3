// MODE SENSE (6) and (10) (SPC-5, SAT-5 clause 10).

import ATA
import SCSI

extension TranslationLayer {
    /// The caching page as it is now. A QEMU HARDDISK does not announce look-ahead, so DRA is 1.
    var cachingPage: ModePage {
        let readAheadEnabled = identifyData[word: 85] & 0x0040 != 0
        return .caching(writeCacheEnabled: identifyData.writeCacheEnabled, readAheadDisabled: !readAheadEnabled)
    }

    /// The control page as it is now.
    var controlPage: ModePage { .control(descriptorSense: descriptorSense) }

    /// MODE SENSE. There are no saved values and no subpages; asking for all subpages is not wrong.
    func simulateModeSense(_ command: inout SCSICommandInProgress, _ data: inout MutableRawSpan) -> Translation {
        let cdb = command.cdb
        guard let control = ModePageControl(rawValue: cdb[2] >> 6), control != .saved else {
            return refused(.illegalRequest, .savingParametersNotSupported)
        }
        guard cdb[3] == 0x00 || cdb[3] == 0xFF else { return invalidField(3) }
        guard let pages = modePages(cdb[2] & 0x3F) else { return invalidField(2) }
        let list = ModeParameterList(
            isLong: cdb.operationCode == OperationCode.modeSense10,
            hasBlockDescriptor: cdb[1] & 0x08 == 0, blockBytes: UInt32(blockSize.bytes),
            supportsForceUnitAccess: identifyData.supportsForceUnitAccess,
            pages: pages.flatMap { control == .changeable ? $0.changeable : $0.current })
        return respond(list.bytes, to: &command, &data)
    }

    /// The pages that a page code asks for; nil if there is none.
    private func modePages(_ code: UInt8) -> [ModePage]? {
        switch code {
        case ModePage.Code.readWriteErrorRecovery: [.readWriteErrorRecovery]
        case ModePage.Code.caching: [cachingPage]
        case ModePage.Code.control: [controlPage]
        case ModePage.Code.all: [.readWriteErrorRecovery, cachingPage, controlPage]
        default: nil
        }
    }
}
