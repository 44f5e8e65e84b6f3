// The device server's own answers, and its changes in the answers of the translation layer: docs/protocol.md
// has the table of those.

import ATA
import SCSI

extension ServedCommand {
    /// Unit attention conditions and reservations come before all else (SAM-5, SPC-4 5.13).
    ///
    /// - Returns: whether that is the end of the command.
    mutating func isIntercepted(
        by server: inout DeviceServer, hasMedium: Bool, _ format: SenseData.Format
    ) -> Bool {
        if !passesUnitAttention, let attention = server.takeAttention(of: nexus) {
            status = .checkCondition
            sense = SenseData(.unitAttention, attention.code, format: format)
            return true
        }
        // Without a disc the drive reports that itself.
        if !passesUnitAttention, hasMedium, let objection = server.takeMediumChange(of: nexus) {
            _ = end(objection, format)
            return true
        }
        if let reserver = server.reserver, reserver != nexus, access.conflictsWithReserve {
            status = .reservationConflict
            return true
        }
        if let type = server.reservations.type,
            access.conflicts(with: type, from: server[nexus]?.standing ?? .stranger)
        {
            status = .reservationConflict
            return true
        }
        // A taskfile shows only on its way what it writes.
        if server.isWriteProtected, writes, duty != .passThrough {
            _ = end(.writeProtected, format)
            return true
        }
        return false
    }

    private var passesUnitAttention: Bool {
        switch duty {
        case .inquiry, .reportLUNs, .requestSense: true
        case .packet: cdb.allowsUnitAttentionOfDisc
        default: false
        }
    }

    /// Answers a command without the translation layer; nil if that has to answer.
    mutating func answerItself(
        _ server: inout DeviceServer, _ format: SenseData.Format, _ buffer: inout MutableRawSpan
    ) -> UnitStep? {
        switch duty {
        case .inquiry:
            // Without EVPD there is no page code (SPC-4, INQUIRY).
            return cdb[1] & 0x01 == 0 && cdb[2] != 0 ? end(.invalidField(2), format) : nil
        case .absentInquiry:
            // Peripheral qualifier 011b, device type 1Fh.
            var answer = Answer()
            answer.append(bytes: [0x7F, 0, 0x06, 0x02, 31] + [UInt8](repeating: 0, count: 31))
            return finish(answer, &buffer)
        case .requestSense:
            return finish(senseData(&server), &buffer)
        case .packet:
            // Without a condition that initiators have to be told of a DVD-ROM says what its last command had.
            let isAsked = cdb.operationCode == OperationCode.requestSense && server.hasSomethingToTell(nexus)
            return isAsked ? finish(senseData(&server), &buffer) : nil
        case .reportLUNs:
            return reportLUNs(server, format, &buffer)
        case .supportedOperationCodes:
            switch SupportedOperationCodes(cdb, facts).answer {
            case .success(let answer): return finish(answer, &buffer)
            case .failure(let refusal): return end(refusal.objection, format)
            }
        case .reserveIn:
            guard let action = ReserveInAction(rawValue: cdb.serviceAction) else {
                return end(.invalidField(1), format)
            }
            var answer = Answer()
            server.answeredReservations.answer(action, canPersist: server.keepsReservations, to: &answer)
            return finish(answer, &buffer)
        case .reserveOut: return reservePersistently(&server, format, buffer.bytes)
        case .reserve, .release: return reserve(&server)
        default: return .finished
        }
    }

    private func senseData(_ server: inout DeviceServer) -> Answer {
        var answer = Answer()
        answer.append(bytes: takeSense(&server).bytes)
        return answer
    }

    /// The sense data that REQUEST SENSE finds.
    private func takeSense(_ server: inout DeviceServer) -> SenseData {
        let format: SenseData.Format = cdb[1] & 0x01 == 0 ? .fixed : .descriptor
        guard facts.isPresent else { return Objection.noLogicalUnit.sense(format) }
        if let attention = server.takeAttention(of: nexus) {
            return SenseData(.unitAttention, attention.code, format: format)
        }
        return server.tellMediumChange(to: nexus)?.sense(format) ?? SenseData(.noSense, .none, format: format)
    }

    /// The answer, as much as was asked for.
    private mutating func finish(_ answer: Answer, _ buffer: inout MutableRawSpan) -> UnitStep {
        answer.copy(to: &buffer)
        movedBytes = UInt64(min(Int(dataLength), answer.bytes.count))
        return .finished
    }

    /// REPORT LUNS (SPC-4): those that the initiator has access to, and no well-known logical units.
    private mutating func reportLUNs(
        _ server: DeviceServer, _ format: SenseData.Format, _ buffer: inout MutableRawSpan
    ) -> UnitStep {
        guard cdb[2] <= 2 else { return end(.invalidField(2), format) }
        let units = cdb[2] == 1 ? [] : server[nexus]?.inventory ?? []
        var answer = Answer()
        answer.append(UInt32(units.count * 8))
        answer.append(UInt32(0))
        // Peripheral device addressing (SAM-5 4.7.4).
        for unit in units { answer.append(UInt64(unit) << 48) }
        return finish(answer, &buffer)
    }

    /// Standard INQUIRY data claim what the device server does; pages tell what it can. The buffer has room for all.
    ///
    /// - Returns: their length.
    func amendInquiryData(_ data: inout MutableRawSpan, _ server: DeviceServer) -> UInt32 {
        var length = Int(scsi.responseLength)
        guard cdb[1] & 0x01 != 0 else {
            // Version descriptors (SPC-4): SAM-5, iSCSI, SPC-4, SBC-3.
            var versions = Answer()
            for version: UInt16 in [0x00A0, 0x0960, 0x0460, 0x04C0] { versions.append(version) }
            versions.copy(to: &data, from: 58)
            return UInt32(length)
        }
        switch cdb[2] {
        case VitalProductData.PageCode.supportedPages:
            // libata lists a page of concurrent positioning ranges that this disk has not.
            if data[length - 1] == VitalProductData.PageCode.concurrentPositioningRanges { length -= 1 }
        case VitalProductData.PageCode.deviceIdentification:
            let designators = Self.designators(server.targetName)
            designators.copy(to: &data, from: length)
            length += designators.bytes.count
        case VitalProductData.PageCode.blockLimits:
            amendBlockLimits(&data)
        case VitalProductData.PageCode.logicalBlockProvisioning:
            // LBPU, LBPWS and LBPWS10; LBPRZ is the drive's.
            data[5] = facts.supportsTrim ? 0xE0 | data[5] & 0x1C : 0
        default:
            return UInt32(length)
        }
        data[2] = UInt8(truncatingIfNeeded: (length - 4) >> 8)
        data[3] = UInt8(truncatingIfNeeded: length - 4)
        return UInt32(length)
    }

    /// Block Limits (SBC-3).
    private func amendBlockLimits(_ data: inout MutableRawSpan) {
        data[5] = Self.maximumCompareAndWriteBlocks
        var transfer = Answer()
        // MAXIMUM TRANSFER LENGTH.
        transfer.append(UInt32(facts.blockSize.blocks(inBytes: Self.maximumTransferBytes)))
        transfer.copy(to: &data, from: 8)
        guard facts.supportsTrim else { return }
        var unmap = Answer()
        // MAXIMUM UNMAP LBA COUNT: no limit.
        unmap.append(UInt32.max)
        unmap.append(UInt32(Self.maximumUnmapDescriptors))
        unmap.copy(to: &data, from: 20)
    }

    /// Designators of the target port and the target device (SPC-4), if they have a name.
    private static func designators(_ targetName: [UInt8]) -> Answer {
        var designators = Answer()
        guard !targetName.isEmpty else { return designators }
        func append(type: UInt8, codeSet: UInt8, _ content: [UInt8]) {
            // PROTOCOL IDENTIFIER 5h, iSCSI, and PIV.
            designators.append(bytes: [0x50 | codeSet, 0x80 | type, 0, UInt8(content.count)] + content)
        }
        // A name is a string of UTF-8 with zeroes up to a multiple of four, one at least.
        func padded(_ name: [UInt8]) -> [UInt8] { name + [UInt8](repeating: 0, count: 4 - name.count % 4) }
        append(type: 0x14, codeSet: 1, [0, 0, 0, UInt8(PersistentReservations.relativeTargetPort)])
        append(type: 0x18, codeSet: 3, padded(targetName + Array(",t,0x0001".utf8)))
        append(type: 0x28, codeSet: 3, padded(targetName))
        return designators
    }
}
