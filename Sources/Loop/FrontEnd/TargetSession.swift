// A session of iSCSI, and its tasks as its loop has them.

import ISCSI
import Synchronization
import Units

/// A task of a session, as its loop has it.
struct TargetTask: Sendable {
    /// The loop's next step with it once it has memory, and no encoded bytes for it wait to be sent.
    enum Next: Sendable {
        /// It waits for data of the initiator.
        case nothing
        /// Its data are there.
        case begin
        /// More data have to be asked for.
        case solicit
        /// Its data are wrong.
        case fail(DataOutFailure)
        /// There is more of its response.
        case respond
    }

    /// Where the loop has it; nil: there is no such task.
    var place: RequestPlace?
    /// Its data have no memory yet, and do not wait for any: none have come, or an R2T has to be answered first.
    var isUnplaced = false
    /// Data are still to come: it has not begun.
    var isArriving = false
    /// When it began, or its last R2T was made, in the loop's seconds.
    var lastProgress = 0
    /// It waits for memory.
    var isWaiting = false
    /// So many bytes have come all the same: they are at its landing place.
    var landedBytes = 0
    /// All landing places are taken, or its data come too late: they are thrown away, no more are asked for, and it is
    /// refused.
    var isTurnedAway = false
    /// An R2T, or a part of its response, waits to be sent.
    var isInQueue = false
    var next = Next.nothing
    /// It was aborted, and what is under way for it is waited for.
    var isAborted = false
    /// It ends like this, without its unit.
    var refusal: Ending?
}

/// A logical unit as a session has it. Its number is that of the session's requests to it.
struct SessionUnit: Sendable {
    let logicalUnit: UInt8
    let export: ExportNumber
    /// The unit's number for the session.
    let nexus: NexusNumber
    /// It goes, at the latest when the loop is so many seconds old: no command reaches it any more.
    var leavesAt: Int?
}

/// A session of iSCSI of one connection.
struct TargetSession: ~Copyable, Sendable {
    var session: Session
    /// By the numbers that the session gives them.
    var tasks: [TargetTask]
    /// Tasks that wait for memory, in their order. The stream behind them is read all the same: it has the data of
    /// others. A task whose R2T has still to leave goes through a list of requests meanwhile, so this is none.
    var waiting: [RequestPlace] = []
    /// The facts of the initiator, once its login is at its end.
    var facts = InitiatorFacts.unknown
    /// The address that the initiator is told of all targets (RFC 7143, 13.8).
    let portal: String?
    /// When its answer to the challenge is judged; nil: at once.
    var judgedAt: UInt64?
    /// It is one of many from its address that have failed.
    var isSlow = false
    /// The export that it has asked for by the name of a target that is not there yet.
    var askedExport = ""
    /// It was told which targets there were in this version of the exports.
    var knownVersion: Int?
    /// Those of its target that are to be opened behind the first one.
    var further: [ExportEntry] = []
    /// The logical units that it has open, by their numbers.
    var units: [SessionUnit] = []
    /// The task management function that is being done, and how many tasks have to end for it.
    var managed: TaskManagementFunction?
    var abortsLeft = 0
    /// Its initiator has answered an R2T, and kept no memory from others by not answering one since.
    var answers = false
    /// When data of a task came last, in the loop's seconds.
    var lastProgress = 0
    /// At least a second of silence in whole seconds of the loop.
    static let patienceSeconds = 2
    /// A task has at most so many bytes of unsolicited data.
    static let unsolicitedBytes = Int(TargetLimits().firstBurstLength)
    /// The size of a landing place. Each task has one, for its unsolicited data while it waits for memory, and a page
    /// of solicited ones.
    static let landingBytes = unsolicitedBytes + PageArena.pageBytes
    static let landingPages = landingBytes / PageArena.pageBytes
    private let handle: SessionHandle

    init(_ handle: consuming SessionHandle, portal: String?, requiresCHAP: Bool) {
        var configuration = SessionConfiguration(tsih: handle.number, challenge: .random())
        configuration.discoveryRequiresCHAP = requiresCHAP
        session = Session(configuration)
        self.portal = portal
        tasks = [TargetTask](repeating: TargetTask(), count: configuration.places)
        waiting.reserveCapacity(configuration.places)
        self.handle = handle
    }

    /// The unit that a command is for. The first unit that stays answers for those that the initiator has no access to:
    /// one that goes knows no more which units there are, and nothing new may keep it.
    func unit(_ number: LogicalUnitNumber) -> (unit: SessionUnit, isPresent: Bool) {
        var first: SessionUnit?
        for unit in units where unit.leavesAt == nil {
            if number.number == Int(unit.logicalUnit) { return (unit, true) }
            if first == nil { first = unit }
        }
        return (first ?? units[0], false)
    }
}

/// A TSIH, which no other session of the server has while this one is there (RFC 7143, 11.12.6).
struct SessionHandle: ~Copyable, Sendable {
    let number: UInt16
    private let handles: SessionHandles

    fileprivate init(_ number: UInt16, of handles: SessionHandles) {
        self.number = number
        self.handles = handles
    }

    deinit { handles.giveBack(number) }
}

/// The TSIHs of a server. No request asks.
final class SessionHandles: Sendable {
    private struct State {
        var last: UInt16 = 0
        var used: Set<UInt16> = []
    }
    private let state = Mutex(State())

    /// A handle that is free. There are more of them than connections.
    func take() -> SessionHandle {
        let number = state.withLock { state in
            repeat { state.last &+= 1 } while state.last == 0 || state.used.contains(state.last)
            state.used.insert(state.last)
            return state.last
        }
        return SessionHandle(number, of: self)
    }

    fileprivate func giveBack(_ number: UInt16) {
        state.withLock { _ = $0.used.remove(number) }
    }
}
