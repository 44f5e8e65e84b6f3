// An initiator's stream on its way through a session, cut into packets in every way, and what came of it.

import ISCSI
import Replies
import SCSI
import Testing

/// One thing that a session wants of its caller, as a value that can be compared.
enum Happening: Equatable {
    case say([UInt8])
    case authenticate(CHAPAnswer)
    case open(Int?)
    case begin(SCSITask)
    /// All data of a task that writes.
    case complete(TaskNumber, [UInt8])
    case solicit([UInt8])
    /// The response to a task, data included.
    case respond([UInt8])
    case fail(TaskNumber, DataOutFailure)
    case manage(TaskManagement)
    case end(Session.End, reason: String?, [UInt8])
}

/// What a caller answers with.
struct Script {
    var directory = [
        TargetInformation(name: "iqn.2026-11.org.example:disk", addresses: ["192.0.2.1:3260,1"]),
        TargetInformation(
            name: "iqn.2026-11.org.example:secret", addresses: ["192.0.2.1:3260,1", "[2001:db8::1]:3260,1"],
            requiresCHAP: true),
    ]
    var judge: (CHAPAnswer) -> CHAPJudgement = { _ in .accepted() }
    /// Why a target cannot be opened.
    var refusal: (LoginStatus, String)?
    /// No command moves more than there are data.
    var endings: (SCSITask) -> Ending = {
        Ending(status: .good, transferBytes: UInt64(min($0.expectedBytes, 256 << 10)))
    }
    /// How much a task wants of what its initiator sends.
    var wants: (SCSITask) -> Int = { Int($0.expectedBytes) }
    /// Tasks that write are never served: they wait to be aborted.
    var holdsWrites = false
    var response = TaskManagementResponse.functionComplete
}

/// The data that every read gives.
func pattern(_ count: Int) -> [UInt8] { Array(all[..<count]) }
private let all = (0..<256 << 10).map { UInt8(truncatingIfNeeded: $0 / 512 &+ $0) }

/// The challenge of every test.
let challenge = CHAPChallenge(identifier: 0x2A, challenge: hex("000102030405060708090a0b0c0d0e0f"))

/// Few places, so that a test fills them.
func configuration(_ change: (inout SessionConfiguration) -> Void = { _ in }) -> SessionConfiguration {
    var configuration = SessionConfiguration(tsih: 0x0102, challenge: challenge)
    configuration.queueDepth = 4
    configuration.immediateDepth = 2
    change(&configuration)
    return configuration
}

/// A session with a caller that does what it says.
struct Conversation: ~Copyable {
    var session: Session
    private(set) var happenings: [Happening] = []
    private(set) var missing = 0
    private var rest: [UInt8] = []
    private var data: [Int: [UInt8]] = [:]
    private var tasks: [Int: SCSITask] = [:]
    private let script: Script
    /// There is no place for a task when it is given for the first time.
    private let postpones: Bool
    private var wasPostponed = false

    init(_ configuration: SessionConfiguration, _ script: Script, postpones: Bool = false) {
        session = Session(configuration)
        session.directory = script.directory
        self.script = script
        self.postpones = postpones
    }

    /// Gives bytes to the session until it needs more.
    mutating func feed(_ bytes: some Sequence<UInt8>) {
        rest += bytes
        while step() {}
    }

    /// - Returns: whether the session may have more to say.
    private mutating func step() -> Bool {
        let input = rest
        let (consumed, event) = session.advance(input.span.bytes)
        #expect((0...rest.count).contains(consumed))
        rest.removeFirst(consumed)
        switch event {
        case .needMoreBytes(let count):
            #expect(count > 0 && rest.isEmpty)
            missing = count
            return false
        case .say:
            happenings.append(.say(session.takeWords()))
        case .authenticate:
            guard let answer = session.answer else { return false }
            happenings.append(.authenticate(answer))
            session.judged(script.judge(answer))
        case .open(let target):
            happenings.append(.open(target))
            if let (status, reason) = script.refusal {
                session.refuseOpening(status, reason)
            } else {
                session.opened()
            }
        case .begin(let task):
            wasPostponed = postpones && !wasPostponed
            guard !wasPostponed else { return true }
            begin(task)
        case .payload(let place):
            return move(place)
        case .solicit(let number):
            var bytes = [UInt8](repeating: 0xEE, count: ReplyLayout.headerAreaBytes)
            var span = bytes.mutableSpan
            var area = span.mutableBytes
            let count = session.encodeReadyToTransfer(of: number, into: &area)
            happenings.append(.solicit(Array(bytes[..<count])))
        case .complete(let number):
            happenings.append(.complete(number, data.removeValue(forKey: number.index) ?? []))
            if !script.holdsWrites, let task = tasks[number.index] { respond(script.endings(task), number) }
        case .fail(let number, let failure):
            data[number.index] = nil
            happenings.append(.fail(number, failure))
            respond(Ending(failure), number)
        case .manage(let management):
            happenings.append(.manage(management))
            for index in 0..<6 where session.affects(management, TaskNumber(index)) {
                data[index] = nil
                session.aborted(TaskNumber(index))
            }
            session.managed(script.response)
        case .end(let end):
            if case .end = happenings.last { return false }
            missing = 0
            if end == .loggedOut { #expect(session.confirmLogout() && !session.confirmLogout()) }
            happenings.append(.end(end, reason: session.reason, session.takeWords()))
            return false
        }
        return true
    }

    private mutating func begin(_ task: SCSITask) {
        happenings.append(.begin(task))
        tasks[task.number.index] = task
        session.accepted(dataOutBytes: script.wants(task))
        if !task.writes { respond(script.endings(task), task.number) }
    }

    private mutating func move(_ place: DataPlace) -> Bool {
        let awaitsPayload = session.awaitsPayload
        #expect(awaitsPayload)
        #expect(place.offset == data[place.task.index, default: []].count)
        let count = min(place.count, rest.count)
        missing = place.count - count
        guard count > 0 else { return false }
        let bytes = Array(rest.prefix(count))
        data[place.task.index, default: []] += bytes
        rest.removeFirst(count)
        session.payloadMoved(bytes.span.bytes)
        return true
    }

    private mutating func respond(_ ending: Ending, _ number: TaskNumber) {
        let data = pattern(Int(ending.transferBytes))
        var sent: [UInt8] = []
        while true {
            var layout = ReplyLayout()
            var bytes = [UInt8](repeating: 0xEE, count: ReplyLayout.headerAreaBytes)
            var span = bytes.mutableSpan
            var area = span.mutableBytes
            let isLast = session.encode(ending, of: number, data: data.span.bytes, at: 0, into: &area, &layout)
            var start = 0
            for index in 0..<layout.count {
                let part = layout.parts[index]
                sent += bytes[start..<start + part.headerBytes]
                sent += data[part.dataOffset..<part.dataOffset + part.dataBytes]
                start += part.headerBytes
            }
            if isLast { break }
        }
        happenings.append(.respond(sent))
    }

}

/// Gives a stream to a session whole, byte by byte, as it asks for it, and in two pieces, cut at every place. What
/// happens is always the same.
func course(
    of stream: [UInt8], _ configuration: SessionConfiguration = configuration(), _ script: Script = Script(),
    _ location: SourceLocation = #_sourceLocation
) -> [Happening] {
    func run(postpones: Bool = false, _ feed: (inout Conversation) -> Void) -> [Happening] {
        var conversation = Conversation(configuration, script, postpones: postpones)
        feed(&conversation)
        return conversation.happenings
    }
    let whole = run { $0.feed(stream) }
    #expect(run(postpones: true) { $0.feed(stream) } == whole, "with tasks postponed", sourceLocation: location)
    let bytewise = run { conversation in stream.forEach { conversation.feed([$0]) } }
    #expect(bytewise == whole, "byte by byte", sourceLocation: location)
    let asked = run { conversation in
        var rest = stream[...]
        conversation.feed([])
        while !rest.isEmpty {
            let count = max(1, conversation.missing)
            conversation.feed(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
    }
    #expect(asked == whole, "as it is asked for", sourceLocation: location)
    for place in stride(from: 1, to: stream.count, by: 1 + stream.count / 500) {
        let cut = run(postpones: place % 2 == 0) {
            $0.feed(stream[..<place])
            $0.feed(stream[place...])
        }
        guard cut == whole else {
            Issue.record("cut at \(place): \(cut) instead of \(whole)", sourceLocation: location)
            break
        }
    }
    return whole
}

/// A PDU with its data, padded.
func pdu(_ value: some ProtocolDataUnit, _ data: [UInt8] = []) -> [UInt8] {
    var value = value
    value.dataSegmentLength = UInt32(data.count)
    return value.bytes + data + [UInt8](repeating: 0, count: -data.count & 3)
}

/// A Login Request with its text.
func loginRequest(
    _ stage: UInt8, to next: UInt8? = nil, _ text: String, continues: Bool = false,
    _ change: (inout LoginRequestPDU) -> Void = { _ in }
) -> [UInt8] {
    var request = LoginRequestPDU()
    request.currentStage = stage
    request.transits = next != nil
    request.nextStage = next ?? 0
    request.continues = continues
    request.isid = ISID(rawValue: 0x8000_0000_0001)
    request.initiatorTaskTag = 0x10
    request.connectionID = 1
    request.commandSN = 0x100
    request.expectedStatusSN = 0x200
    change(&request)
    return pdu(request, Array(text.utf8))
}

/// A login to the first target, with keys for the operational stage.
func login(_ keys: String = "") -> [UInt8] {
    loginRequest(
        1, to: 3, "InitiatorName=iqn.2026-11.org.example:i\0TargetName=iqn.2026-11.org.example:disk\0" + keys)
}

/// A discovery session.
let discovery = loginRequest(1, to: 3, "InitiatorName=iqn.2026-11.org.example:i\0SessionType=Discovery\0")

/// The PDUs of a stream without digests: 48 bytes and the data of each.
func divide(_ stream: [UInt8]) -> [(header: [UInt8], data: [UInt8])] {
    var rest = stream[...]
    var pdus: [(header: [UInt8], data: [UInt8])] = []
    while rest.count >= 48 {
        let header = Array(rest.prefix(48))
        let count = Int(BasicHeaderSegment(header.span.bytes).dataSegmentLength)
        pdus.append((header, Array(rest.dropFirst(48).prefix(count))))
        rest = rest.dropFirst(48 + count + (-count & 3))
    }
    #expect(rest.isEmpty)
    return pdus
}

extension [Happening] {
    /// All that was sent, PDU by PDU.
    var sent: [(header: [UInt8], data: [UInt8])] {
        flatMap { happening in
            switch happening {
            case .say(let bytes), .solicit(let bytes), .respond(let bytes), .end(_, _, let bytes): return divide(bytes)
            default: return []
            }
        }
    }

    /// What was sent of one kind.
    func all<PDU: ProtocolDataUnit>(_ type: PDU.Type) -> [PDU] {
        sent.filter { $0.header[0] & 0x3F == PDU.opcode.rawValue }.map { PDU($0.header.span.bytes) }
    }

    /// The texts of what was sent of one kind.
    func texts(_ opcode: Opcode) -> [String] {
        sent.filter { $0.header[0] & 0x3F == opcode.rawValue }
            .map { String(decoding: $0.data, as: UTF8.self).replacingOccurrences("\0", " ") }
    }
}

extension String {
    fileprivate func replacingOccurrences(_ old: Character, _ new: Character) -> String {
        String(map { $0 == old ? new : $0 })
    }
}
