// MODE SELECT (6) and (10): the write cache and the format of sense data (SPC-5, SAT-5 clause 10).

import ATA
import SCSI

extension TranslationLayer {
    /// MODE SELECT with PF = 1 and SP = 0, one page at a time. WCE becomes SET FEATURES; D_SENSE is the layer's own.
    mutating func translateModeSelect(_ command: inout SCSICommandInProgress, _ data: RawSpan) -> Translation {
        let cdb = command.cdb
        guard cdb[1] & 0x11 == 0x10 else { return invalidField(1, bit: cdb[1] & 0x01 != 0 ? 1 : 5) }
        let isLong = cdb.operationCode == OperationCode.modeSelect10
        let length = isLong ? Int(cdb[7]) << 8 | Int(cdb[8]) : Int(cdb[4])
        guard command.transferLength != 0, length <= command.transferLength, length <= data.byteCount else {
            return refused(.illegalRequest, .parameterListLengthError)
        }
        let parameters = (0..<length).map { offset in
            // The guard above keeps the offset inside, and every bit pattern is a UInt8.
            unsafe data.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
        }
        switch ModeSelectPage.parse(parameters, isLong: isLong) {
        case .nothing: return .finished(dataLength: 0)
        case .lengthError: return refused(.illegalRequest, .parameterListLengthError)
        case .invalid(let byte): return invalidParameter(UInt16(truncatingIfNeeded: byte))
        case .page(let page): return select(page, &command)
        }
    }

    /// Pages may be changed in their changeable bit only.
    private mutating func select(_ page: ModeSelectPage, _ command: inout SCSICommandInProgress) -> Translation {
        switch page.code {
        case ModePage.Code.caching:
            if let wrong = page.firstDifference(from: cachingPage) { return invalidParameter(wrong) }
            // Linux refuses a second page and has no byte to point at.
            guard !page.isFollowed else { return invalidParameter(0xFFFF) }
            command.continuation = .readIdentifyData
            let subcommand: UInt16 = page.content[0] & ModePage.changeableBit != 0 ? 0x02 : 0x82
            return .taskfile(
                Taskfile(command: Command.setFeatures.rawValue, feature: subcommand), isExtended: false)
        case ModePage.Code.control:
            if let wrong = page.firstDifference(from: controlPage) { return invalidParameter(wrong) }
            descriptorSense = page.content[0] & ModePage.changeableBit != 0
            return .finished(dataLength: 0)
        default:
            return invalidParameter(UInt16(truncatingIfNeeded: page.offset))
        }
    }
}

/// The first page in the parameter list of MODE SELECT.
struct ModeSelectPage {
    /// The kinds of parameter lists.
    enum Parsed {
        /// Too short for what it says.
        case lengthError
        /// A header and perhaps a block descriptor.
        case nothing
        /// Wrong at this byte.
        case invalid(Int)
        /// With a page.
        case page(ModeSelectPage)
    }

    /// PAGE CODE.
    let code: UInt8
    /// Where the page begins in the list.
    let offset: Int
    /// The content behind the page's own header.
    let content: [UInt8]
    /// There is something behind the page.
    let isFollowed: Bool

    /// Takes a parameter list apart: header, at most one block descriptor, page (SPC-5).
    static func parse(_ list: [UInt8], isLong: Bool) -> Parsed {
        let header = ModeParameterList.headerByteCount(isLong: isLong)
        guard list.count >= header else { return .lengthError }
        let blockDescriptors = isLong ? Int(list[6]) << 8 | Int(list[7]) : Int(list[3])
        let offset = header + blockDescriptors
        guard list.count >= offset else { return .lengthError }
        guard blockDescriptors == 0 || blockDescriptors == 8 else { return .invalid((isLong ? 6 : 3) + offset) }
        guard list.count > offset else { return .nothing }
        let isSubpage = list[offset] & 0x40 != 0
        let begin = offset + (isSubpage ? 4 : 2)
        guard list.count >= begin else { return .lengthError }
        if isSubpage, list[offset + 1] != 0x00, list[offset + 1] != 0xFF { return .invalid(offset + 1) }
        let length = isSubpage ? Int(list[offset + 2]) << 8 | Int(list[offset + 3]) : Int(list[offset + 1])
        guard length <= list.count - begin else { return .lengthError }
        return .page(
            ModeSelectPage(
                code: list[offset] & 0x3F, offset: offset, content: Array(list[begin..<begin + length]),
                isFollowed: begin + length < list.count))
    }

    /// Where the page differs from the current one in what cannot be changed; nil if nowhere. Linux counts this byte
    /// without the two of the page's header.
    func firstDifference(from current: ModePage) -> UInt16? {
        let expected = Array(current.current.dropFirst(2))
        guard content.count == expected.count else {
            return UInt16(truncatingIfNeeded: offset + min(content.count, expected.count))
        }
        let difference = expected.indices.dropFirst().first { content[$0] != expected[$0] }
        return difference.map { UInt16(truncatingIfNeeded: offset + $0) }
    }
}
