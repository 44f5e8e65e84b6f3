// An initiator that says what it likes: PDUs by hand (RFC 7143), at an iSCSI endpoint of a server.

import Support
import Testing

/// A session with one target.
final class HandMadeSession {
    let connection: RawConnection
    /// The task tag and CmdSN of the next command that ``perform(_:out:expecting:)`` sends.
    private var next: UInt32 = 2

    /// The answer to a login that was refused: Status-Class and Status-Detail (RFC 7143, 11.13.5).
    struct LoginRefused: Error, Equatable {
        let status: UInt16
    }

    /// How a command has ended.
    struct Ending: Equatable {
        var status: UInt8
        /// Of fixed or descriptor sense data: sense key, ASC, ASCQ.
        var sense: [UInt8] = []
        var data: [UInt8] = []
        /// FIELD POINTER, if it is of the command.
        var fieldPointer: Int?

        static let good = Ending(status: 0)

        init(status: UInt8, data: [UInt8] = []) {
            self.status = status
            self.data = data
        }

        init(status: UInt8, senseData: [UInt8], data: [UInt8]) {
            self.init(status: status, data: data)
            let isFixed = senseData[0] & 0x7E == 0x70
            sense = isFixed ? [senseData[2] & 0x0F, senseData[12], senseData[13]] : Array(senseData[1...3])
            if isFixed, senseData.count > 17, senseData[15] & 0xC0 == 0xC0 {
                fieldPointer = Int(senseData[16]) << 8 | Int(senseData[17])
            }
        }
    }

    /// The port of the first iSCSI endpoint that a server has announced.
    static func port(_ announcement: String) throws -> UInt16 {
        let words = announcement.split(whereSeparator: { " /:".contains($0) })
        let scheme = try #require(words.firstIndex(of: "iscsi"))
        return try #require(UInt16(words[scheme + 2]))
    }

    /// Logs in, and takes the unit attention away that a new session has.
    convenience init(
        _ announcement: String, initiator: String = "iqn.2026-11.org.example:hand", isid: UInt8 = 1,
        target: String = "iqn.2026-11.org.spindle:disk", maxRecvDataSegmentLength: Int = 8192,
        from address: UInt32 = RawConnection.loopback
    ) throws {
        try self.init(
            port: try Self.port(announcement), from: address, isid: isid,
            [
                "InitiatorName=\(initiator)", "TargetName=\(target)",
                "MaxRecvDataSegmentLength=\(maxRecvDataSegmentLength)",
            ])
        try command(number: 1, flags: 0x80, [0])
        _ = try receive()
    }

    /// A discovery session (RFC 7143, 13.21).
    static func discovery(port: UInt16, initiator: String = "iqn.2026-11.org.example:hand") throws -> HandMadeSession {
        try HandMadeSession(port: port, isid: 1, ["InitiatorName=\(initiator)", "SessionType=Discovery"])
    }

    private static func segment(_ pairs: [String]) -> (bytes: [UInt8], padding: [UInt8]) {
        let text = pairs.reduce(into: [UInt8]()) { $0 += Array($1.utf8) + [0] }
        return (text, [UInt8](repeating: 0, count: (4 - text.count % 4) % 4))
    }

    /// A Login Request (RFC 7143, 11.12).
    ///
    /// - Parameter flags: 87h asks for the end of the login, 00h stays in the security stage.
    static func login(flags: UInt8 = 0x87, isid: UInt8 = 1, _ pairs: [String]) -> [UInt8] {
        let (text, padding) = segment(pairs)
        var login = [UInt8](repeating: 0, count: 48)
        login.replaceSubrange(0..<8, with: [0x43, flags, 0, 0, 0, 0, UInt8(text.count >> 8), UInt8(text.count & 0xFF)])
        login.replaceSubrange(8..<14, with: [0x40, 0, 0, 0, 0, isid])
        login[27] = 1
        return login + text + padding
    }

    /// Logs in with these keys.
    private init(
        port: UInt16, from address: UInt32 = RawConnection.loopback, isid: UInt8, _ pairs: [String]
    ) throws {
        connection = try RawConnection(port: port, from: address)
        try connection.send(Self.login(isid: isid, pairs))
        let header = try receive().header
        try #require(header[0] == 0x23, "no Login Response: \(header)")
        guard header[36] == 0 else { throw LoginRefused(status: UInt16(header[36]) << 8 | UInt16(header[37])) }
    }

    /// Sends an immediate Text Request (RFC 7143, 11.10).
    func sendText(flags: UInt8 = 0x80, transferTag: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF], _ pairs: [String]) throws {
        let (text, padding) = Self.segment(pairs)
        var pdu = [UInt8](repeating: 0, count: 48)
        pdu.replaceSubrange(0..<8, with: [0x44, flags, 0, 0, 0, 0, UInt8(text.count >> 8), UInt8(text.count & 0xFF)])
        pdu[19] = 0xF1
        pdu.replaceSubrange(20..<24, with: transferTag)
        pdu.replaceSubrange(24..<28, with: Self.bytes(next))
        try connection.send(pdu + text + padding)
    }

    /// Negotiates a text, and asks for the rest of the answer as long as there is one (RFC 7143, 11.11.1).
    ///
    /// - Returns: the answer, and how many bytes of it each PDU had.
    func negotiateAll(_ pairs: [String]) throws -> (answer: [String], pieces: [Int]) {
        try sendText(pairs)
        var (answer, pieces): ([UInt8], [Int]) = ([], [])
        while true {
            let (header, data) = try receive()
            try #require(header[0] == 0x24, "no Text Response: \(header)")
            answer += data
            pieces.append(data.count)
            if header[1] == 0x80 { break }
            try #require(header[1] == 0x40, "neither the last piece nor one before it: \(header)")
            try sendText(transferTag: Array(header[20..<24]), [])
        }
        return (answer.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }, pieces)
    }

    /// Negotiates a text, of which the answer fits one PDU.
    func negotiate(_ pairs: [String]) throws -> [String] {
        let (answer, pieces) = try negotiateAll(pairs)
        try #require(pieces.count == 1)
        return answer
    }

    /// A command whose task tag and CmdSN are the same, unless told otherwise, with immediate data.
    func command(
        number: UInt32, tag: UInt32? = nil, flags: UInt8, expected: Int = 0, _ cdb: [UInt8], unit: UInt8 = 0,
        out: [UInt8] = []
    ) throws {
        var pdu = Self.command(number: number, flags: flags, expected: expected, cdb, unit: unit, out: out)
        if let tag { pdu.replaceSubrange(16..<20, with: Self.bytes(tag)) }
        try connection.send(pdu)
    }

    private static func command(
        number: UInt32, flags: UInt8, expected: Int, _ cdb: [UInt8], unit: UInt8, out: [UInt8]
    ) -> [UInt8] {
        var pdu = [UInt8](repeating: 0, count: 48)
        pdu[0] = 0x01
        pdu[1] = flags
        pdu.replaceSubrange(5..<8, with: (0..<3).map { UInt8(truncatingIfNeeded: out.count >> (16 - 8 * $0)) })
        pdu[9] = unit
        pdu.replaceSubrange(16..<20, with: bytes(number))
        pdu.replaceSubrange(20..<24, with: bytes(UInt32(expected)))
        pdu.replaceSubrange(24..<28, with: bytes(number))
        pdu.replaceSubrange(32..<32 + min(16, cdb.count), with: cdb.prefix(16))
        if cdb.count > 16 {
            // Extended CDB (RFC 7143, 11.2.2.3): AHSLength counts a reserved byte.
            pdu += [0, UInt8(cdb.count - 15), 1, 0] + cdb.dropFirst(16)
            pdu[4] = UInt8((cdb.count - 12) / 4)
        }
        return pdu + out + [UInt8](repeating: 0, count: (4 - out.count % 4) % 4)
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    }

    /// Sends a command that writes, and half of its immediate data.
    ///
    /// - Returns: the rest, after which the command ends.
    func beginHalfOfAWrite(_ cdb: [UInt8], _ out: [UInt8]) throws -> [UInt8] {
        let pdu = Self.command(number: next, flags: 0xA0, expected: out.count, cdb, unit: 0, out: out)
        next += 1
        try connection.send(Array(pdu.prefix(48 + out.count / 2)))
        return Array(pdu.dropFirst(48 + out.count / 2))
    }

    func receive() throws -> (header: [UInt8], data: [UInt8]) {
        let header = try connection.receive(48)
        let count = Int(header[5]) << 16 | Int(header[6]) << 8 | Int(header[7])
        return (header, Array(try connection.receive((count + 3) & ~3).prefix(count)))
    }

    /// Sends a command and waits for its end.
    func perform(_ cdb: [UInt8], unit: UInt8 = 0, out: [UInt8] = [], expecting count: Int = 0) throws -> Ending {
        try begin(cdb, unit: unit, out: out, expecting: count)
        return try end()
    }

    /// TEST UNIT READY.
    func ready(unit: UInt8) throws -> Ending { try perform([0, 0, 0, 0, 0, 0], unit: unit) }

    /// READ CAPACITY (10): the last block.
    func lastBlock(unit: UInt8) throws -> Int {
        let data = try perform([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], unit: unit, expecting: 8).data
        try #require(data.count == 8)
        return data[0..<4].reduce(0) { $0 << 8 | Int($1) }
    }

    /// REPORT LUNS: the numbers.
    func inventory(unit: UInt8 = 0) throws -> [UInt8] {
        let data = try perform([0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], unit: unit, expecting: 256).data
        try #require(data.count >= 8 && data.count == 8 + Int(data[3]))
        return stride(from: 8, to: data.count, by: 8).map { data[$0 + 1] }
    }

    /// LOGICAL UNIT NOT SUPPORTED.
    static let isAbsent: [UInt8] = [5, 0x25, 0]
    /// REPORTED LUNS DATA HAS CHANGED.
    static let hasOtherUnits: [UInt8] = [6, 0x3F, 0x0E]

    /// Sends an immediate Task Management Function Request (RFC 7143, 11.5), and waits for its Response.
    func manage(function: UInt8, unit: UInt8) throws -> UInt8 {
        var pdu = [UInt8](repeating: 0, count: 48)
        pdu[0] = 0x42
        pdu[1] = 0x80 | function
        pdu[9] = unit
        pdu[19] = 0xF0
        pdu.replaceSubrange(20..<24, with: [0xFF, 0xFF, 0xFF, 0xFF])
        pdu.replaceSubrange(24..<28, with: Self.bytes(next))
        try connection.send(pdu)
        let header = try receive().header
        try #require(header[0] == 0x22, "no Task Management Function Response: \(header)")
        return header[2]
    }

    /// Waits for an R2T (RFC 7143, 11.8).
    func receiveReadyToTransfer() throws -> [UInt8] {
        let header = try receive().header
        try #require(header[0] == 0x31, "no R2T: \(header)")
        return header
    }

    /// Sends the zeroes that an R2T asks for.
    func answer(_ readyToTransfer: [UInt8]) throws {
        func number(_ start: Int) -> Int { readyToTransfer[start..<start + 4].reduce(0) { $0 << 8 | Int($1) } }
        try sendData(
            of: UInt32(number(16)), transfer: Array(readyToTransfer[20..<24]), unit: 0, at: number(40),
            count: number(44))
    }

    /// A WRITE of zeroes with no unsolicited data.
    ///
    /// - Returns: SCSI's status.
    func writeZeroes(_ cdb: [UInt8], count: Int) throws -> UInt8 {
        try beginWrite(cdb, of: count, first: [])
        while true {
            let header = try receive().header
            guard header[0] == 0x31 else { return header[3] }
            try answer(header)
        }
    }

    /// Sends zeroes that an R2T has asked for, in one Data-Out PDU (RFC 7143, 11.7).
    func sendData(of tag: UInt32, transfer: [UInt8], unit: UInt8, at offset: Int = 0, count: Int) throws {
        var pdu = [UInt8](repeating: 0, count: 48 + count)
        pdu.replaceSubrange(0..<2, with: [0x05, 0x80])
        pdu.replaceSubrange(5..<8, with: (0..<3).map { UInt8(truncatingIfNeeded: count >> (16 - 8 * $0)) })
        pdu[9] = unit
        pdu.replaceSubrange(16..<20, with: Self.bytes(tag))
        pdu.replaceSubrange(20..<24, with: transfer)
        pdu.replaceSubrange(40..<44, with: Self.bytes(UInt32(offset)))
        try connection.send(pdu)
    }

    /// Sends a command.
    func begin(_ cdb: [UInt8], unit: UInt8 = 0, out: [UInt8] = [], expecting count: Int = 0) throws {
        let flags: UInt8 = 0x80 | (count > 0 ? 0x40 : 0) | (out.isEmpty ? 0 : 0x20)
        try command(number: next, flags: flags, expected: max(count, out.count), cdb, unit: unit, out: out)
        next += 1
    }

    /// Sends a command that writes, and the first of its data. The target asks for the rest.
    func beginWrite(_ cdb: [UInt8], of count: Int, first: [UInt8]) throws {
        try command(number: next, flags: 0xA0, expected: count, cdb, out: first)
        next += 1
    }

    /// Waits for the end of a command.
    func end() throws -> Ending { try endOfAny().ending }

    /// Waits for the end of one of several commands, which may end in any order (SAM-5 5.1).
    ///
    /// - Returns: its task tag, and how it has ended.
    func endOfAny() throws -> (tag: [UInt8], ending: Ending) {
        var read: [UInt8] = []
        while true {
            let (header, data) = try receive()
            let tag = Array(header[16..<20])
            if header[0] == 0x25 {
                read += data
                if header[1] & 1 != 0 { return (tag, Ending(status: header[3], data: read)) }
                continue
            }
            try #require(header[0] == 0x21, "no response: \(header)")
            guard data.count > 9 else { return (tag, Ending(status: header[3], data: read)) }
            return (tag, Ending(status: header[3], senseData: Array(data.dropFirst(2)), data: read))
        }
    }
}
