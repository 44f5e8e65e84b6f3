// An iSCSI initiator of a simulation, by an encoder and a parser of its own (RFC 7143): its session, from the login on.

import Glibc
import Support

/// One session with its only connection.
final class SimulatedInitiator: SimulatedClient {
    enum Stage {
        case login
        /// It finds out which units there are, and how large.
        case setUp
        case open
    }

    /// What an initiator knows of a command beside ``SimulatedClient/Outstanding``.
    struct Task {
        let unit: SimulatedUnit
        var purpose = Purpose.blocks
        var payload: [UInt8] = []
        /// Its data were sent, or came, up to here.
        var movedBytes = 0
        /// The next DataSN or R2TSN.
        var nextSN: UInt32 = 0
    }

    /// A task management function under way.
    struct Management {
        let tag: UInt32
        let function: UInt8
        let unit: SimulatedUnit
        /// What ends with it.
        let affected: Set<UInt64>
        let sentAt: UInt64
    }

    var stage = Stage.login
    /// The units that it knows.
    var units: [SimulatedUnit] = []
    /// It was told that there are others.
    var wantsInventory = false
    /// When it has last given up a command that had no answer.
    var forgottenAt = -1
    var isid: UInt64
    var tasks: [UInt64: Task] = [:]
    var management: Management?
    var commandSN: UInt32 = 1
    var maximumCommandSN: UInt32 = 1
    /// The StatSN of the next response; nil until the first one.
    var statusSN: UInt32?
    var nextTag: UInt32 = 1
    /// Cells of writes that have ended without an answer: it writes them again.
    var again: [(image: SimulatedImage, cells: Range<Int>)] = []
    /// A damaged PDU was sent, which the target rejects.
    var rejectsLeft = 0

    // Its wishes in the login; then the target's answers.
    let wantsDigests: Bool
    var hasDigests = false
    var immediateData: Bool
    var initialR2T: Bool
    var firstBurstBytes: Int
    var maxBurstBytes: Int
    let receiveBytes: Int
    var sendBytes = 8192

    /// By image: connections that were closed before it began.
    private let predecessorsOfUnits: [[UInt64: Set<Int>]]
    /// The session that it begins anew, whose connection was lost without the target's knowing.
    private var lost: SimulatedInitiator?
    private(set) var isLost = false

    override init?(_ number: Int, _ world: Simulation, _ image: SimulatedImage, path: String) {
        isid = 0x8000_0000_0000 | world.portNumber(number)
        predecessorsOfUnits = world.images.map(\.closedConnections)
        // Digests of megabytes take this client long.
        wantsDigests = world.chance(300_000) && world.profile.imageBytes <= 1 << 20
        immediateData = world.chance(700_000)
        initialR2T = world.chance(400_000)
        firstBurstBytes = [512, 4096, 65536, 262_144][Int.random(in: 0..<4, using: &world.numbers)]
        maxBurstBytes = [512, 8192, 262_144, 1 << 20][Int.random(in: 0..<4, using: &world.numbers)]
        receiveBytes = [512, 8192, 65536, 262_144][Int.random(in: 0..<4, using: &world.numbers)]
        super.init(number, world, image, path: path)
        logIn()
    }

    // MARK: What it does otherwise

    override func ask() { askUnit() }
    override func takeMessage() throws -> Bool { try takePDU() }
    override func judge(_ request: Outstanding) throws { try judgeStatus(request) }
    override var party: UInt64 { isid }

    override var canAsk: Bool {
        super.canAsk && !isLost && stage == .open && management == nil
            && Int32(bitPattern: maximumCommandSN &- commandSN) >= 0
    }
    override var events: Int32 { isLost ? 0 : super.events }

    /// After a reset a command may have no answer.
    override var waits: [(since: UInt64, what: String)] {
        outstanding.filter { !$0.image.mayBeReset }.map { ($0.sentAt, "command \($0.type)") }
            + (management.map { [($0.sentAt, "task management function \($0.function)")] } ?? [])
    }

    /// The connection of the session before is gone: its requests have been done, or never will be.
    override func noteFirstReply() {
        lost?.close()
        lost = nil
    }

    /// All units that it knows are gone; before it knows any, some unit is or was.
    override var isTurnedAway: Bool {
        guard image.logicalUnit != nil else { return super.isTurnedAway }
        guard !units.isEmpty else { return world.images.contains { $0.isEnding || openedAt < $0.servedSince } }
        return units.allSatisfy { isGone($0) }
    }

    override func knows(_ other: SimulatedImage) -> Bool {
        super.knows(other) || units.contains { $0.image === other } || outstanding.contains { $0.image === other }
    }

    override var mayBeSucceeded: Bool { world.unansweredLogins.contains(isid) }

    override func endPredecessors(at time: Int) {
        for (image, closed) in zip(world.images, predecessorsOfUnits)
        where units.contains(where: { $0.image === image }) {
            if let closed = closed[party] { image.model.endAll(of: closed, at: time) }
        }
    }

    override func close() {
        guard phase != .closed else { return }
        super.close()
        if stage == .login { world.unansweredLogins.insert(isid) }
        for request in outstanding { forget(request) }
        for unit in units { unit.image.closedConnections[party, default: []].insert(number) }
        lost?.close()
        lost = nil
    }

    /// It logs out, when nothing is under way.
    override func finish() {
        guard phase == .transmission, stage == .open, !hasFinished, !isLost, outstanding.isEmpty, outbox.isEmpty,
            management == nil
        else { return }
        say(0x46, flags: 0x80, [16: takeTag(), 24: commandSN])
        hasFinished = true
        world.note("initiator \(number) logs out")
    }

    // MARK: Lost connections

    /// Another session may take its place.
    var mayBeReplaced: Bool { phase == .transmission && stage == .open && !hasFinished && !isLost }

    /// Nothing goes either way any more, and the target does not know.
    func loseConnection() {
        isLost = true
        again = outstanding.compactMap(cellsToWriteAgain)
        for request in outstanding { forget(request) }
        outstanding = []
        outbox = []
        management = nil
        for unit in units { unit.image.closedConnections[party, default: []].insert(number) }
        world.note("initiator \(number) loses its connection")
    }

    /// It begins a session anew (6.3.5).
    func replaces(_ other: SimulatedInitiator) {
        lost = other
        isid = other.isid
        again = other.again
        outbox = []
        logIn()
        world.note("initiator \(number) begins the session of \(other.number) anew")
    }

    // MARK: Login

    private var targetName: String {
        image.logicalUnit == nil ? "iqn.2026-11.org.spindle:\(image.name)" : SimulatedImage.sharedTarget
    }

    /// Its first PDU: both stages in one, in the operational one (6.3).
    func logIn() {
        let digest = wantsDigests ? "CRC32C" : "None"
        let pairs = [
            "InitiatorName=iqn.2026-11.org.example:simulated", "TargetName=\(targetName)",
            "SessionType=Normal", "HeaderDigest=\(digest)", "DataDigest=\(digest)",
            "MaxRecvDataSegmentLength=\(receiveBytes)", "FirstBurstLength=\(firstBurstBytes)",
            "MaxBurstLength=\(maxBurstBytes)", "ImmediateData=\(immediateData ? "Yes" : "No")",
            "InitialR2T=\(initialR2T ? "Yes" : "No")",
        ]
        say(
            0x43, flags: 0x87, [8: UInt32(isid >> 16), 12: UInt32(isid & 0xFFFF) << 16, 16: takeTag(), 24: commandSN],
            pairs.flatMap { Array($0.utf8) + [0] })
    }

    func takeLogin(_ text: [UInt8]) throws {
        let status = number(at: 36, as: UInt16.self)
        guard status == 0 else {
            guard isTurnedAway || world.mayEndConnections || image.isLimited else {
                throw Violation("initiator \(number): its login was refused with \(String(status, radix: 16))")
            }
            return close()
        }
        guard number(at: 1, as: UInt8.self) & 0x87 == 0x87 else {
            throw Violation("initiator \(number): the login does not go on to the full feature phase")
        }
        for pair in text.split(separator: 0) {
            let words = String(decoding: pair, as: UTF8.self).split(separator: "=", maxSplits: 1).map(String.init)
            guard words.count == 2 else { continue }
            switch words[0] {
            case "MaxRecvDataSegmentLength": sendBytes = Int(words[1]) ?? 0
            case "FirstBurstLength": firstBurstBytes = Int(words[1]) ?? 0
            case "MaxBurstLength": maxBurstBytes = Int(words[1]) ?? 0
            case "ImmediateData": immediateData = words[1] == "Yes"
            case "InitialR2T": initialR2T = words[1] == "Yes"
            case "HeaderDigest", "DataDigest": hasDigests = words[1] == "CRC32C"
            default: break
            }
        }
        guard hasDigests == wantsDigests, sendBytes >= 512, firstBurstBytes >= 512, maxBurstBytes >= 512 else {
            throw Violation("initiator \(number): the login has settled \(String(decoding: text, as: UTF8.self))")
        }
        stage = .setUp
        guard image.logicalUnit == nil else { return askInventory() }
        units = [SimulatedUnit(image, openedAt: openedAt, event: world.event())]
        setUp(units[0])
    }

    // MARK: PDUs

    func takeTag() -> UInt32 {
        nextTag += 1
        return nextTag
    }

    /// Says a PDU (11.2): words at their offsets, data, padding, digests.
    func say(
        _ opcode: UInt8, flags: UInt8, _ words: [Int: UInt32], cdb: [UInt8] = [], _ data: some Collection<UInt8> = [],
        damages: Bool = false
    ) {
        var header = [UInt8](repeating: 0, count: 48)
        header[0] = opcode
        header[1] = flags
        for place in 0..<3 { header[5 + place] = UInt8(truncatingIfNeeded: data.count >> (16 - 8 * place)) }
        for (offset, word) in words.merging([28: statusSN ?? 0], uniquingKeysWith: { first, _ in first }) {
            for place in 0..<4 { header[offset + place] = UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * place)) }
        }
        header.replaceSubrange(32..<32 + cdb.count, with: cdb)
        outbox += header
        let hasDigests = hasDigests && stage != .login
        if hasDigests { outbox += DigestOfSimulation.of(header) }
        guard !data.isEmpty else { return }
        let segment = Array(data) + [UInt8](repeating: 0, count: -data.count & 3)
        outbox += segment
        guard hasDigests else { return }
        var digest = DigestOfSimulation.of(segment)
        if damages { digest[0] ^= 1 }
        outbox += digest
    }

    /// Takes a PDU that is there as a whole.
    private func takePDU() throws -> Bool {
        guard inboxCount >= 48 else { return false }
        let digestBytes = hasDigests && stage != .login ? 4 : 0
        let length = Int(number(at: 4, as: UInt32.self) & 0xFF_FFFF)
        let isData = number(at: 0, as: UInt8.self) == 0x25
        guard number(at: 4, as: UInt8.self) == 0, length <= (isData ? receiveBytes : 8192) else {
            throw Violation("initiator \(number): a PDU of \(length) bytes")
        }
        let start = 48 + digestBytes
        let end = start + (length + 3) & ~3
        let total = end + (length > 0 ? digestBytes : 0)
        guard inboxCount >= total else { return false }
        if digestBytes > 0 {
            try checkDigest(0..<48)
            if length > 0 { try checkDigest(start..<end) }
        }
        try take(number(at: 0, as: UInt8.self), start..<start + length)
        consume(total)
        return true
    }

    private func checkDigest(_ range: Range<Int>) throws {
        let expected = DigestOfSimulation.of(bytes(range))
        guard bytes(range.upperBound..<range.upperBound + 4) == expected else {
            throw Violation("initiator \(number): a digest does not fit")
        }
    }

    func bytes(_ range: Range<Int>) -> [UInt8] {
        Array(inbox[inboxHead + range.lowerBound..<inboxHead + range.upperBound])
    }
}

/// CRC32C by a table (13.1), in the order of the wire.
enum DigestOfSimulation {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 0 ? 0 : 0x82F6_3B78) }
    }

    static func of(_ bytes: [UInt8]) -> [UInt8] {
        var value: UInt32 = 0xFFFF_FFFF
        table.withUnsafeBufferPointer { table in
            bytes.withUnsafeBufferPointer {
                for byte in $0 { value = value >> 8 ^ table[Int((value ^ UInt32(byte)) & 0xFF)] }
            }
        }
        return (0..<4).map { UInt8(truncatingIfNeeded: ~value >> UInt32(8 * $0)) }
    }
}
