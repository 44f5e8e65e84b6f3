// Every PDU of section 11 against its bytes, written down from the figures of RFC 7143, both ways.

import ISCSI
import SCSI
import Testing

/// The bytes are the value's, and the value is theirs.
private func check<PDU: ProtocolDataUnit>(_ pdu: PDU, _ text: String, _ location: SourceLocation = #_sourceLocation) {
    let bytes = hex(text)
    #expect(bytes.count == 48, sourceLocation: location)
    #expect(pdu.bytes == bytes, sourceLocation: location)
    #expect(PDU(bytes.span.bytes) == pdu, sourceLocation: location)
    let header = BasicHeaderSegment(bytes.span.bytes)
    #expect(header.opcode == PDU.opcode.rawValue, sourceLocation: location)
    #expect(header.dataSegmentLength == pdu.dataSegmentLength, sourceLocation: location)
}

@Test func scsiCommand() {
    // 11.3: READ (10) of one block, SIMPLE, R.
    var pdu = SCSICommandPDU(cdb: .read10(logicalBlockAddress: 0x0102_0304, transferLength: 1))
    pdu.reads = true
    pdu.initiatorTaskTag = 0x1122_3344
    pdu.expectedDataTransferLength = 512
    pdu.commandSN = 7
    pdu.expectedStatusSN = 9
    check(
        pdu,
        """
        01c10000 00000000 0000000000000000 11223344 00000200 00000007 00000009 28000102 03040000 01000000 00000000
        """)
    // WRITE (10), ORDERED, immediate, more data to come, LUN 5.
    var write = SCSICommandPDU(cdb: CommandDescriptorBlock(parsing: hex("2a00000000050000020000000000000b").span.bytes))
    write.isImmediate = true
    write.isFinal = false
    write.writes = true
    write.attribute = TaskAttribute.ordered.rawValue
    write.dataSegmentLength = 0x10203
    write.logicalUnit = LogicalUnitNumber(5)
    write.expectedDataTransferLength = 1024
    check(
        write,
        """
        41220000 00010203 0005000000000000 00000000 00000400 00000000 00000000 2a000000 00050000 02000000 0000000b
        """)
}

@Test func scsiResponse() {
    // 11.4: CHECK CONDITION with sense data, 512 bytes fewer than expected.
    var pdu = SCSIResponsePDU()
    pdu.status = 0x02
    pdu.residual = .underflow(512)
    pdu.dataSegmentLength = 20
    pdu.initiatorTaskTag = 0xA1
    pdu.statusSN = 1
    pdu.expectedCommandSN = 2
    pdu.maximumCommandSN = 3
    pdu.expectedDataSN = 4
    check(
        pdu,
        """
        21820002 00000014 0000000000000000 000000a1 00000000 00000001 00000002 00000003 00000004 00000000 00000200
        """)
    var overflow = SCSIResponsePDU()
    overflow.residual = .overflow(1)
    overflow.bidirectionalReadResidual = .underflow(2)
    overflow.response = 1
    overflow.snackTag = 5
    check(
        overflow,
        """
        218c0100 00000000 0000000000000000 00000000 00000005 00000000 00000000 00000000 00000000 00000002 00000001
        """)
}

@Test func dataPDUs() {
    // 11.7: solicited data, the second PDU of its sequence.
    var out = DataOutPDU()
    out.isFinal = false
    out.dataSegmentLength = 8192
    out.logicalUnit = LogicalUnitNumber(1)
    out.initiatorTaskTag = 0x77
    out.targetTransferTag = 0x10002
    out.expectedStatusSN = 5
    out.dataSN = 1
    out.bufferOffset = 0x12000
    check(
        out,
        """
        05000000 00002000 0001000000000000 00000077 00010002 00000000 00000005 00000000 00000001 00012000 00000000
        """)
    // The last Data-In, with GOOD and a residual.
    var last = DataInPDU()
    last.hasStatus = true
    last.residual = .underflow(16)
    last.dataSegmentLength = 36
    last.initiatorTaskTag = 0x78
    last.statusSN = 6
    last.expectedCommandSN = 7
    last.maximumCommandSN = 8
    last.dataSN = 2
    last.bufferOffset = 512
    check(
        last,
        """
        25830000 00000024 0000000000000000 00000078 ffffffff 00000006 00000007 00000008 00000002 00000200 00000010
        """)
    var acknowledged = DataInPDU()
    acknowledged.isFinal = false
    acknowledged.asksForAcknowledge = true
    acknowledged.targetTransferTag = 3
    check(
        acknowledged,
        """
        25400000 00000000 0000000000000000 00000000 00000003 00000000 00000000 00000000 00000000 00000000 00000000
        """)
    // 11.8.
    var ready = ReadyToTransferPDU()
    ready.initiatorTaskTag = 0x79
    ready.targetTransferTag = 0x2_0001
    ready.statusSN = 9
    ready.expectedCommandSN = 10
    ready.maximumCommandSN = 11
    ready.readyToTransferSN = 1
    ready.bufferOffset = 0x40000
    ready.desiredDataTransferLength = 0x1000
    check(
        ready,
        """
        31800000 00000000 0000000000000000 00000079 00020001 00000009 0000000a 0000000b 00000001 00040000 00001000
        """)
}

@Test func taskManagementPDUs() {
    // 11.5: ABORT TASK.
    var request = TaskManagementRequestPDU()
    request.function = TaskManagementFunction.abortTask.rawValue
    request.initiatorTaskTag = 0x50
    request.referencedTaskTag = 0x4F
    request.commandSN = 3
    request.expectedStatusSN = 4
    request.referencedCommandSN = 2
    check(
        request,
        """
        42810000 00000000 0000000000000000 00000050 0000004f 00000003 00000004 00000002 00000000 00000000 00000000
        """)
    // 11.6.
    var response = TaskManagementResponsePDU()
    response.response = .taskDoesNotExist
    response.initiatorTaskTag = 0x50
    response.statusSN = 4
    response.expectedCommandSN = 3
    response.maximumCommandSN = 34
    check(
        response,
        """
        22800100 00000000 0000000000000000 00000050 00000000 00000004 00000003 00000022 00000000 00000000 00000000
        """)
}

@Test func loginPDUs() {
    // 11.12: from the operational stage to Full Feature Phase.
    var request = LoginRequestPDU()
    request.transits = true
    request.currentStage = 1
    request.nextStage = 3
    request.dataSegmentLength = 395
    request.isid = ISID(rawValue: 0x8018_8C51_0000)
    request.initiatorTaskTag = 0x59DD_1BD5
    request.connectionID = 1
    request.commandSN = 0x40DB_2A1A
    request.expectedStatusSN = 1
    check(
        request,
        """
        43870000 0000018b 80188c51 00000000 59dd1bd5 00010000 40db2a1a 00000001 00000000 00000000 00000000 00000000
        """)
    var going = LoginRequestPDU()
    going.continues = true
    going.versionMaximum = 1
    going.tsih = 0x203
    check(
        going,
        """
        43400100 00000000 00000000 00000203 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        """)
    // 11.13.
    var response = LoginResponsePDU()
    response.transits = true
    response.currentStage = 1
    response.nextStage = 3
    response.isid = ISID(rawValue: 0x8018_8C51_0000)
    response.tsih = 1
    response.initiatorTaskTag = 0x59DD_1BD5
    response.statusSN = 1
    response.expectedCommandSN = 0x40DB_2A1A
    response.maximumCommandSN = 0x40DB_2A59
    check(
        response,
        """
        23870000 00000000 80188c51 00000001 59dd1bd5 00000000 00000001 40db2a1a 40db2a59 00000000 00000000 00000000
        """)
    response = LoginResponsePDU()
    response.status = .authenticationFailure
    check(
        response,
        """
        23000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 02010000 00000000 00000000
        """)
}

@Test func textAndNOPs() {
    // 11.10, 11.11.
    var request = TextRequestPDU()
    request.isImmediate = true
    request.dataSegmentLength = 16
    request.initiatorTaskTag = 2
    request.commandSN = 1
    check(
        request,
        """
        44800000 00000010 0000000000000000 00000002 ffffffff 00000001 00000000 00000000 00000000 00000000 00000000
        """)
    var response = TextResponsePDU()
    response.isFinal = false
    response.continues = true
    response.dataSegmentLength = 8192
    response.initiatorTaskTag = 2
    response.targetTransferTag = 1
    response.statusSN = 3
    response.expectedCommandSN = 4
    response.maximumCommandSN = 5
    check(
        response,
        """
        24400000 00002000 0000000000000000 00000002 00000001 00000003 00000004 00000005 00000000 00000000 00000000
        """)
    // 11.18, 11.19.
    var out = NOPOutPDU()
    out.dataSegmentLength = 4
    out.initiatorTaskTag = 9
    out.commandSN = 1
    out.expectedStatusSN = 2
    check(
        out,
        """
        40800000 00000004 0000000000000000 00000009 ffffffff 00000001 00000002 00000000 00000000 00000000 00000000
        """)
    var answer = NOPInPDU()
    answer.dataSegmentLength = 4
    answer.initiatorTaskTag = 9
    answer.statusSN = 2
    answer.expectedCommandSN = 1
    answer.maximumCommandSN = 40
    check(
        answer,
        """
        20800000 00000004 0000000000000000 00000009 ffffffff 00000002 00000001 00000028 00000000 00000000 00000000
        """)
}

@Test func connectionPDUs() {
    // 11.14, 11.15.
    var request = LogoutRequestPDU()
    request.reason = LogoutReason.closeConnection.rawValue
    request.initiatorTaskTag = 3
    request.connectionID = 0x102
    request.commandSN = 4
    request.expectedStatusSN = 5
    check(
        request,
        """
        46810000 00000000 0000000000000000 00000003 01020000 00000004 00000005 00000000 00000000 00000000 00000000
        """)
    var response = LogoutResponsePDU()
    response.response = .recoveryNotSupported
    response.initiatorTaskTag = 3
    response.statusSN = 5
    response.expectedCommandSN = 4
    response.maximumCommandSN = 6
    response.time2Wait = 2
    response.time2Retain = 20
    check(
        response,
        """
        26800200 00000000 0000000000000000 00000003 00000000 00000005 00000004 00000006 00000000 00020014 00000000
        """)
    // 11.16: R2T 1 and 2.
    var snack = SNACKRequestPDU()
    snack.initiatorTaskTag = 8
    snack.expectedStatusSN = 1
    snack.beginRun = 1
    snack.runLength = 2
    check(
        snack,
        """
        10800000 00000000 0000000000000000 00000008 ffffffff 00000000 00000001 00000000 00000000 00000001 00000002
        """)
    // 11.9: log out within 30 seconds.
    var message = AsynchronousMessagePDU()
    message.statusSN = 1
    message.expectedCommandSN = 2
    message.maximumCommandSN = 3
    message.parameter3 = 30
    check(
        message,
        """
        32800000 00000000 0000000000000000 ffffffff 00000000 00000001 00000002 00000003 01000000 0000001e 00000000
        """)
    // 11.17.
    var reject = RejectPDU()
    reject.reason = .invalidPDUField
    reject.dataSegmentLength = 48
    reject.statusSN = 1
    reject.expectedCommandSN = 2
    reject.maximumCommandSN = 3
    check(
        reject,
        """
        3f800900 00000030 0000000000000000 ffffffff 00000000 00000001 00000002 00000003 00000000 00000000 00000000
        """)
}

@Test func logicalUnitNumbers() {
    #expect(LogicalUnitNumber(5).rawValue == 0x0005_0000_0000_0000)
    #expect(LogicalUnitNumber(300).rawValue == 0x412C_0000_0000_0000)
    for number in [0, 1, 255, 256, 16383] { #expect(LogicalUnitNumber(number).number == number) }
    // A second level, another bus, the extended method.
    for rawValue: UInt64 in [0x0001_0001_0000_0000, 0x0101_0000_0000_0000, 0xC101_0000_0000_0000] {
        #expect(LogicalUnitNumber(rawValue: rawValue).number == nil)
    }
}

@Test func residuals() {
    #expect(Residual(expected: 512, actual: 512) == .none)
    #expect(Residual(expected: 512, actual: 36) == .underflow(476))
    #expect(Residual(expected: 512, actual: 1024) == .overflow(512))
    #expect(Residual(expected: 0, actual: .max) == .overflow(.max))
}
