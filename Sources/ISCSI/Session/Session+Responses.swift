// How a command ended, and its data (RFC 7143, 11.4, 11.7).

import Replies
import SCSI

/// How a command ended.
public struct Ending: Equatable, Sendable {
    /// The status byte (SAM-5 5.3.1).
    public var status: UInt8
    /// Why, with CHECK CONDITION.
    public var sense: SenseData?
    /// How many bytes the command moves, whatever the initiator expected.
    public var transferBytes: UInt64

    /// An ending.
    public init(status: SCSIStatus, sense: SenseData? = nil, transferBytes: UInt64 = 0) {
        self.status = status.rawValue
        self.sense = sense
        self.transferBytes = transferBytes
    }

    /// A write whose data were wrong (11.4.7.2).
    public init(_ failure: DataOutFailure) {
        let code =
            switch failure {
            case .unexpectedUnsolicitedData: AdditionalSenseCode(0x0C, 0x0C)
            case .incorrectAmountOfData: AdditionalSenseCode(0x0C, 0x0D)
            case .dataSequence: AdditionalSenseCode(0x4B, 0x00)
            case .bufferOffset: AdditionalSenseCode(0x4B, 0x05)
            case .digest: AdditionalSenseCode(0x47, 0x05)
            }
        self.init(status: .checkCondition, sense: SenseData(.abortedCommand, code, format: .fixed))
    }
}

extension Session {
    /// Room for a PDU with digests and padding, without its data.
    private static var frameBytes: Int { BasicHeaderSegment.byteCount + 4 + 3 + 4 }
    /// Room for a SCSI Response with sense data.
    private static var responseBytes: Int { frameBytes + 2 + SenseData.maximumByteCount }

    /// Whether GOOD and so many bytes of data are one part of a response. It may be more if the initiator declares a
    /// smaller MaxRecvDataSegmentLength before that.
    public func answersAtOnce(dataBytes: UInt64) -> Bool {
        let burst = UInt64(parameters.maxBurstLength)
        let limit = min(UInt64(parameters.maxRecvDataSegmentLength), burst)
        let digestBytes = (parameters.hasHeaderDigest ? 4 : 0) + (parameters.hasDataDigest ? 4 : 0)
        let padding = (limit | burst) & 3 == 0 ? 0 : 3
        let pduBytes = BasicHeaderSegment.byteCount + digestBytes + padding
        let room = UInt64(
            min(ReplyLayout.maximumParts - 2, (ReplyLayout.headerAreaBytes - Self.frameBytes) / pduBytes + 1))
        let (bursts, rest) = dataBytes.quotientAndRemainder(dividingBy: burst)
        guard bursts <= room else { return false }
        return bursts * ((burst + limit - 1) / limit) + (rest + limit - 1) / limit <= room
    }

    /// Encodes the next part of the response to a task: Data-In PDUs, and the status with the last of them or in a SCSI
    /// Response of its own.
    ///
    /// - Parameters:
    ///   - data: the data that the command has read, from its first byte on. Only data digests look at them.
    ///   - dataOffset: where they begin in the task's buffer.
    /// - Returns: whether that was the last part; then the task's place is free. Else call again once it was sent.
    public mutating func encode(
        _ ending: Ending, of number: TaskNumber, data: RawSpan, at dataOffset: Int,
        into headers: inout MutableRawSpan, _ layout: inout ReplyLayout
    ) -> Bool {
        precondition(tasks[number].isActive, "there is no such task")
        layout.count = 0
        let expected = tasks[number].expectedBytes
        let total = tasks[number].reads ? UInt32(min(UInt64(expected), ending.transferBytes)) : 0
        let collapses = ending.status == SCSIStatus.good.rawValue && total > 0
        var end = 0
        var pending = 0
        while tasks[number].sentBytes < total {
            let reserve = collapses ? 0 : Self.responseBytes
            guard end + Self.frameBytes + reserve <= headers.byteCount, layout.count + 2 < ReplyLayout.maximumParts
            else { break }
            let (pdu, offset) = nextDataIn(of: number, total, collapses ? ending : nil)
            let headerBytes = encode(pdu, into: &headers, at: end)
            end += headerBytes
            let count = Int(pdu.dataSegmentLength)
            layout.append(
                ReplyPart(headerBytes: pending + headerBytes, dataOffset: dataOffset + offset, dataBytes: count))
            let piece = parameters.hasDataDigest ? data.extracting(offset..<offset + count) : data.extracting(first: 0)
            pending = encodeTrailer(piece, count, into: &headers, at: end)
            end += pending
        }
        let isLast = tasks[number].sentBytes == total
        if isLast, !collapses {
            let bytes = encodeResponse(ending, of: number, into: &headers, at: end)
            pending += bytes
        }
        if pending > 0 { layout.append(ReplyPart(headerBytes: pending)) }
        if isLast { tasks.remove(number) }
        return isLast
    }

    /// The next Data-In PDU of a task, and where in the data it begins.
    private mutating func nextDataIn(of number: TaskNumber, _ total: UInt32, _ ending: Ending?) -> (DataInPDU, Int) {
        let offset = tasks[number].sentBytes
        let burst = parameters.maxBurstLength
        let burstLeft = burst - offset % burst
        let count = min(total - offset, burstLeft, parameters.maxRecvDataSegmentLength)
        let isLast = offset + count == total
        var pdu = DataInPDU()
        pdu.isFinal = isLast || count == burstLeft
        pdu.dataSegmentLength = count
        pdu.initiatorTaskTag = tasks.tag(of: number)
        pdu.dataSN = tasks[number].sentPDUs
        pdu.bufferOffset = offset
        if isLast, let ending {
            pdu.hasStatus = true
            pdu.status = ending.status
            pdu.residual = Residual(expected: tasks[number].expectedBytes, actual: ending.transferBytes)
            pdu.statusSN = takeStatusSN()
        }
        pdu.expectedCommandSN = expectedCommandSN
        pdu.maximumCommandSN = pdu.hasStatus ? maximumCommandSN(without: number) : maximumCommandSN
        tasks[number].sentBytes += count
        tasks[number].sentPDUs += 1
        return (pdu, Int(offset))
    }

    /// With the response to a task its place is free, which the window has if it is no immediate one.
    private func maximumCommandSN(without number: TaskNumber) -> UInt32 {
        maximumCommandSN &+ (tasks[number].isImmediate ? 0 : 1)
    }

    private mutating func encodeResponse(
        _ ending: Ending, of number: TaskNumber, into headers: inout MutableRawSpan, at start: Int
    ) -> Int {
        var pdu = SCSIResponsePDU()
        pdu.status = ending.status
        pdu.residual = Residual(expected: tasks[number].expectedBytes, actual: ending.transferBytes)
        pdu.initiatorTaskTag = tasks.tag(of: number)
        pdu.statusSN = takeStatusSN()
        pdu.expectedCommandSN = expectedCommandSN
        pdu.maximumCommandSN = maximumCommandSN(without: number)
        pdu.expectedDataSN = tasks[number].sentPDUs
        guard let sense = ending.sense else { return encode(pdu, into: &headers, at: start) }
        // SenseLength and the sense data are the data segment (11.4.7).
        let dataStart = start + BasicHeaderSegment.byteCount + (parameters.hasHeaderDigest ? 4 : 0)
        var area = headers._mutatingExtracting(dataStart + 2..<headers.byteCount)
        let senseBytes = sense.encode(into: &area)
        headers.store(UInt16(senseBytes), dataStart)
        pdu.dataSegmentLength = UInt32(2 + senseBytes)
        let headerBytes = encode(pdu, into: &headers, at: start)
        var digest = CRC32C()
        if parameters.hasDataDigest {
            digest.update(headers.bytes.extracting(dataStart..<dataStart + 2 + senseBytes))
        }
        let trailer = encodeTrailer(digest, 2 + senseBytes, into: &headers, at: dataStart + 2 + senseBytes)
        return headerBytes + 2 + senseBytes + trailer
    }

    /// Encodes a basic header segment and its digest.
    func encode(_ pdu: some ProtocolDataUnit, into headers: inout MutableRawSpan, at start: Int) -> Int {
        let count = BasicHeaderSegment.byteCount
        var area = headers._mutatingExtracting(start..<start + count)
        pdu.encode(into: &area)
        guard parameters.hasHeaderDigest else { return count }
        let digest = CRC32C.of(headers.bytes.extracting(start..<start + count))
        headers.store(digest.wireValue, start + count)
        return count + 4
    }

    private func encodeTrailer(
        _ data: RawSpan, _ count: Int, into headers: inout MutableRawSpan, at start: Int
    ) -> Int {
        encodeTrailer(parameters.hasDataDigest ? CRC32C.of(data) : CRC32C(), count, into: &headers, at: start)
    }

    /// Padding, and the digest of the data and of it.
    private func encodeTrailer(
        _ digest: CRC32C, _ count: Int, into headers: inout MutableRawSpan, at start: Int
    ) -> Int {
        let padding = paddingBytes(count)
        for offset in 0..<padding { headers.store(UInt8(0), start + offset) }
        guard parameters.hasDataDigest else { return padding }
        var digest = digest
        digest.update(zeroes: padding)
        headers.store(digest.wireValue, start + padding)
        return padding + 4
    }
}
