// A target's PDUs in the full feature phase, as an initiator reads them (RFC 7143, 11.4, 11.7 to 11.9, 11.15, 11.17,
// 11.19).

import ISCSI
import SCSI

extension InitiatorSession {
    /// Sense data, and what a target has to say beside them, are shorter.
    private static var maximumSegmentBytes: UInt32 { 8192 }

    private var headerDigestBytes: Int { parameters.hasHeaderDigest ? 4 : 0 }
    private var dataDigestBytes: Int { parameters.hasDataDigest ? 4 : 0 }

    mutating func next(_ bytes: RawSpan, at position: inout Int) -> SessionStep {
        while true {
            let left = bytes.byteCount - position
            switch phase {
            case .header:
                guard left >= BasicHeaderSegment.byteCount + headerDigestBytes else { return .needMoreBytes }
                if let step = header(bytes, at: &position) { return step }
            case .data:
                let count = min(dataLeft, left)
                let data = bytes.extracting(position..<position + count)
                if parameters.hasDataDigest { digest.update(data) }
                if collects { for index in 0..<count { answer.append(data.bigEndian(at: index, as: UInt8.self)) } }
                position += count
                dataLeft -= count
                guard dataLeft == 0 else { return .needMoreBytes }
                phase = .trailer
            case .trailer:
                let padding = dataIn.dataSegmentLength == 0 ? 0 : -Int(dataIn.dataSegmentLength) & 3
                let digestBytes = dataIn.dataSegmentLength == 0 ? 0 : dataDigestBytes
                guard left >= padding + digestBytes else { return .needMoreBytes }
                digest.update(bytes.extracting(position..<position + padding))
                position += padding
                if digestBytes > 0 {
                    guard bytes.bigEndian(at: position, as: UInt32.self) == digest.wireValue else {
                        return .violation("the digest of a Data-In PDU does not fit its data")
                    }
                    position += digestBytes
                }
                phase = .header
                if let step = endOfData() { return step }
            }
        }
    }

    /// The data that come are an answer's.
    private var collects: Bool {
        tasks[Int(dataIn.initiatorTaskTag & 0xFFFF)].isQuestion
    }

    /// Judges the header that begins at `position`. It waits for parts that have to be there as a whole.
    private mutating func header(_ bytes: RawSpan, at position: inout Int) -> SessionStep? {
        let end = position + BasicHeaderSegment.byteCount
        let header = bytes.extracting(position..<end)
        if parameters.hasHeaderDigest,
            bytes.bigEndian(at: end, as: UInt32.self) != CRC32C.of(header).wireValue
        {
            return .violation("the digest of a header does not fit it")
        }
        let fields = BasicHeaderSegment(header)
        guard fields.totalAHSBytes == 0 else { return .violation("a PDU has additional header segments") }
        guard let opcode = Opcode(rawValue: fields.opcode) else {
            return .violation("a PDU has the opcode 0x\(String(fields.opcode, radix: 16))")
        }
        if opcode == .dataIn {
            position = end + headerDigestBytes
            return beginData(DataInPDU(header))
        }
        let length = fields.dataSegmentLength
        guard length <= Self.maximumSegmentBytes else {
            return .violation("a PDU of kind \(opcode) has \(length) bytes")
        }
        let padded = Int(length) + (-Int(length) & 3)
        let segment = end + headerDigestBytes
        let next = segment + padded + (length == 0 ? 0 : dataDigestBytes)
        guard next <= bytes.byteCount else { return .needMoreBytes }
        position = next
        if length > 0, parameters.hasDataDigest {
            let digest = CRC32C.of(bytes.extracting(segment..<segment + padded))
            guard bytes.bigEndian(at: segment + padded, as: UInt32.self) == digest.wireValue else {
                return .violation("the digest of a PDU does not fit its data")
            }
        }
        return judge(opcode, header, bytes.extracting(segment..<segment + Int(length)))
    }

    private mutating func judge(_ opcode: Opcode, _ header: RawSpan, _ data: RawSpan) -> SessionStep? {
        switch opcode {
        case .scsiResponse: return response(SCSIResponsePDU(header), data)
        case .readyToTransfer: return transfer(ReadyToTransferPDU(header))
        case .nopIn:
            let pdu = NOPInPDU(header)
            takeWindow(pdu.expectedCommandSN, pdu.maximumCommandSN)
            guard pdu.targetTransferTag != reservedTag else { return nil }
            guard pings.count < Self.maximumPings else { return .violation("too many NOP-In PDUs want an answer") }
            pings.append(pdu)
            return nil
        case .logoutResponse:
            guard awaitsGoodbye else { return .violation("a Logout Response comes that answers nothing") }
            endGoodbye()
            return nil
        case .asynchronousMessage:
            let event = AsynchronousMessagePDU(header).event
            return event == .scsi ? nil : .ended("an asynchronous message says \(event)")
        case .reject:
            return .ended("it rejects a PDU: \(RejectPDU(header).reason)")
        default:
            return .violation("a PDU of kind \(opcode) comes in the full feature phase")
        }
    }

    /// 4.2.2.1: a window that shrinks is an old one.
    private mutating func takeWindow(_ expected: UInt32, _ maximum: UInt32) {
        guard Int32(bitPattern: maximum &- expected &+ 1) >= 0 else { return }
        if Int32(bitPattern: maximum &- maximumCommandSN) > 0 { maximumCommandSN = maximum }
    }

    /// The slot of an active task with this tag.
    private func slot(of tag: UInt32) -> Int? {
        let slot = Int(tag & 0xFFFF)
        return slot < tasks.count && tasks[slot].isActive && tasks[slot].tag == tag ? slot : nil
    }

    private func strangeTag(_ tag: UInt32) -> SessionStep {
        .violation("a PDU has the task tag 0x\(String(tag, radix: 16)), which no task has")
    }

    private mutating func beginData(_ pdu: DataInPDU) -> SessionStep? {
        takeWindow(pdu.expectedCommandSN, pdu.maximumCommandSN)
        guard let slot = slot(of: pdu.initiatorTaskTag) else { return strangeTag(pdu.initiatorTaskTag) }
        let task = tasks[slot]
        guard task.reads else { return .violation("a command that reads nothing is answered with data") }
        guard pdu.dataSegmentLength <= parameters.maxReceiveDataSegmentLength else {
            return .violation("a Data-In PDU has \(pdu.dataSegmentLength) bytes")
        }
        guard pdu.dataSN == task.dataSN else {
            return .violation("a Data-In PDU has the DataSN \(pdu.dataSN) instead of \(task.dataSN)")
        }
        guard pdu.bufferOffset == task.movedBytes,
            pdu.dataSegmentLength <= task.byteCount - task.movedBytes
        else {
            return .violation(
                "\(pdu.dataSegmentLength) bytes come for offset \(pdu.bufferOffset) of a command with "
                    + "\(task.byteCount), of which \(task.movedBytes) have come")
        }
        tasks[slot].dataSN += 1
        tasks[slot].movedBytes += pdu.dataSegmentLength
        dataIn = pdu
        dataLeft = Int(pdu.dataSegmentLength)
        digest = CRC32C()
        phase = .data
        return nil
    }

    /// With S a Data-In PDU is the response, too (11.7.3).
    private mutating func endOfData() -> SessionStep? {
        guard dataIn.hasStatus else { return nil }
        expectedStatusSN = dataIn.statusSN &+ 1
        let failure = SCSIFailure(status: dataIn.status, sense: nil)
        return end(Int(dataIn.initiatorTaskTag & 0xFFFF), failure)
    }

    private mutating func response(_ pdu: SCSIResponsePDU, _ data: RawSpan) -> SessionStep {
        takeWindow(pdu.expectedCommandSN, pdu.maximumCommandSN)
        guard let slot = slot(of: pdu.initiatorTaskTag) else { return strangeTag(pdu.initiatorTaskTag) }
        expectedStatusSN = pdu.statusSN &+ 1
        guard pdu.response == 0 else { return end(slot, SCSIFailure(response: pdu.response)) }
        // SenseLength, and the sense data (11.4.7.2).
        var sense: RawSpan?
        if data.byteCount >= 2 {
            let length = Int(data.bigEndian(at: 0, as: UInt16.self))
            guard length <= data.byteCount - 2 else {
                return .violation("sense data of \(length) bytes stand in \(data.byteCount - 2)")
            }
            sense = data.extracting(2..<2 + length)
        }
        return end(slot, SCSIFailure(status: pdu.status, sense: sense))
    }

    /// A task is over.
    private mutating func end(_ slot: Int, _ failure: SCSIFailure) -> SessionStep {
        let task = tasks[slot]
        finish(slot)
        if failure == .none, !task.isQuestion, task.movedBytes < task.byteCount {
            return .violation("a command of \(task.byteCount) bytes has succeeded with \(task.movedBytes)")
        }
        return .reply(task.cookie, error: failure.rawValue, isLast: true)
    }

    private mutating func transfer(_ pdu: ReadyToTransferPDU) -> SessionStep? {
        takeWindow(pdu.expectedCommandSN, pdu.maximumCommandSN)
        guard let slot = slot(of: pdu.initiatorTaskTag) else { return strangeTag(pdu.initiatorTaskTag) }
        let task = tasks[slot]
        guard !task.reads, task.transfer == nil else {
            return .violation("an R2T comes for a command that reads, or whose last one is not answered")
        }
        guard pdu.readyToTransferSN == task.dataSN else {
            return .violation("an R2T has the R2TSN \(pdu.readyToTransferSN) instead of \(task.dataSN)")
        }
        let (end, overflows) = pdu.bufferOffset.addingReportingOverflow(pdu.desiredDataTransferLength)
        guard !overflows, end <= task.byteCount, pdu.desiredDataTransferLength > 0,
            pdu.desiredDataTransferLength <= parameters.maxBurstLength, pdu.bufferOffset == task.movedBytes
        else {
            return .violation(
                "an R2T asks for \(pdu.desiredDataTransferLength) bytes at \(pdu.bufferOffset) of \(task.byteCount), "
                    + "of which \(task.movedBytes) were sent")
        }
        tasks[slot].dataSN += 1
        send(
            InitiatorTask.Transfer(
                targetTransferTag: pdu.targetTransferTag, offset: pdu.bufferOffset, end: end), of: slot)
        return nil
    }
}
