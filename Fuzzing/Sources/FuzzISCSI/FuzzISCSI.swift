// An initiator's bytes: the login, then commands with their data (RFC 7143).

import ISCSI
import Replies
import SCSI

/// The first byte says where the rest is cut into two pieces; where packets end must not matter. The second has the
/// caller postpone, and want less of a write than its initiator sends. What follows is a connection.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count >= 2 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: data + 2, count: count - 2))
    var target = Target(isReluctant: false, holdsBack: data[1] & 2 != 0)
    target.receive(bytes)
    let cut = bytes.count * Int(data[0]) / 256
    var other = Target(isReluctant: data[1] & 1 != 0, holdsBack: data[1] & 2 != 0)
    other.receive(Array(bytes[..<cut]))
    other.receive(Array(bytes[cut...]))
    precondition(target.outcome == other.outcome, "the outcome depends on where a packet ends")
    return 0
}

/// What a connection has come to.
struct Outcome: Equatable {
    var sent: [UInt8] = []
    var begun: [SCSITask] = []
    var moved: [UInt8] = []
    var managed: [TaskManagement] = []
    var end: Session.End?
}

/// The target's side of one connection, with one target that wants CHAP and one that does not.
struct Target: ~Copyable {
    var session: Session
    var outcome = Outcome()
    /// Every task is postponed once.
    let isReluctant: Bool
    /// Half of each write is not wanted.
    let holdsBack: Bool
    private var wasPostponed = false

    init(isReluctant: Bool, holdsBack: Bool) {
        var configuration = SessionConfiguration(
            tsih: 1, challenge: CHAPChallenge(identifier: 1, challenge: [UInt8](repeating: 7, count: 16)))
        configuration.queueDepth = 4
        session = Session(configuration)
        session.directory = [
            TargetInformation(name: "iqn.2026-11.org.example:disk", addresses: ["192.0.2.1:3260,1"]),
            TargetInformation(name: "iqn.2026-11.org.example:secret", requiresCHAP: true),
        ]
        self.isReluctant = isReluctant
        self.holdsBack = holdsBack
    }

    /// Takes a packet, all of it.
    mutating func receive(_ bytes: [UInt8]) {
        var rest = bytes
        while outcome.end == nil {
            let (consumed, event) = session.advance(rest.span.bytes)
            precondition(consumed <= rest.count, "more was consumed than was given")
            rest.removeFirst(consumed)
            switch event {
            case .needMoreBytes(let count):
                precondition(count > 0 && rest.isEmpty, "nothing is left while more is needed")
                return
            case .say: outcome.sent += session.takeWords()
            case .authenticate: session.judged((session.answer?.response.first ?? 0) & 1 == 0 ? .accepted() : .refused)
            case .open: session.opened()
            case .begin(let task): begin(task)
            case .payload(let place):
                guard !rest.isEmpty else { return }
                precondition(place.count > 0 && place.offset + place.count <= 256 << 10, "outside of the data")
                let bytes = Array(rest.prefix(place.count))
                session.payloadMoved(bytes.span.bytes)
                rest.removeFirst(bytes.count)
                outcome.moved += bytes
            case .solicit(let number):
                var area = [UInt8](repeating: 0, count: ReplyLayout.headerAreaBytes)
                var span = area.mutableSpan
                var bytes = span.mutableBytes
                let count = session.encodeReadyToTransfer(of: number, into: &bytes)
                outcome.sent += area[..<count]
            case .complete(let number): respond(Ending(status: .good, transferBytes: 512), number)
            case .fail(let number, let failure): respond(Ending(failure), number)
            case .manage(let management):
                outcome.managed.append(management)
                for index in 0..<8 where session.affects(management, TaskNumber(index)) {
                    session.aborted(TaskNumber(index))
                }
                session.managed(.functionComplete)
            case .end(let end):
                outcome.sent += session.takeWords()
                outcome.end = end
            }
        }
    }

    private mutating func begin(_ task: SCSITask) {
        wasPostponed = isReluctant && !wasPostponed
        guard !wasPostponed else { return }
        outcome.begun.append(task)
        let wanted = min(Int(task.expectedBytes), 256 << 10)
        session.accepted(dataOutBytes: holdsBack ? wanted / 2 : wanted)
        guard !task.writes else { return }
        let sense = SenseData(.illegalRequest, AdditionalSenseCode(0x20, 0x00), format: .fixed)
        respond(
            task.cdb[0] & 1 == 0
                ? Ending(status: .good, transferBytes: UInt64(wanted))
                : Ending(status: .checkCondition, sense: sense, transferBytes: UInt64(wanted / 2)), task.number)
    }

    private mutating func respond(_ ending: Ending, _ number: TaskNumber) {
        let data = [UInt8](repeating: 0x5A, count: Int(ending.transferBytes))
        while true {
            var area = [UInt8](repeating: 0, count: ReplyLayout.headerAreaBytes)
            var span = area.mutableSpan
            var bytes = span.mutableBytes
            var layout = ReplyLayout()
            let isLast = session.encode(ending, of: number, data: data.span.bytes, at: 0, into: &bytes, &layout)
            var start = 0
            for index in 0..<layout.count {
                let part = layout.parts[index]
                precondition(part.dataOffset + part.dataBytes <= data.count, "data that are not there")
                outcome.sent += area[start..<start + part.headerBytes]
                start += part.headerBytes
            }
            if isLast { return }
        }
    }
}
