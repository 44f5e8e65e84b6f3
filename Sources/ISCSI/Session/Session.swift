// One iSCSI session with its only connection as a state machine: bytes in, events out (RFC 7143). The login stands in
// Session+Login.swift, commands and their data in Session+Commands.swift and Session+DataOut.swift, responses in
// Session+Responses.swift, all other requests in Session+Requests.swift.

import Replies
import SCSI

/// A session knows this before its first byte.
public struct SessionConfiguration: Equatable, Sendable {
    /// The limits of the target.
    public var limits = TargetLimits()
    /// How many commands an initiator may have under way: the CmdSN window.
    public var queueDepth = 64
    /// How many immediate ones beside them.
    public var immediateDepth = 4
    /// The session's name by its target, which no other session of the server has; never 0.
    public var tsih: UInt16
    /// The question of CHAP to this initiator, from a source that nobody can guess.
    public var challenge: CHAPChallenge
    /// Initiators need CHAP even to find targets.
    public var discoveryRequiresCHAP = false

    /// The configuration of one session.
    public init(tsih: UInt16, challenge: CHAPChallenge) {
        self.tsih = tsih
        self.challenge = challenge
    }

    /// How many tasks there can be at once.
    public var places: Int { queueDepth + immediateDepth }
}

/// A SCSI command that was judged sound.
public struct SCSITask: Equatable, Sendable {
    /// Its place in the session, until its response is encoded.
    public let number: TaskNumber
    /// The initiator's name for it.
    public let initiatorTaskTag: UInt32
    /// The logical unit, which may not exist.
    public let logicalUnit: LogicalUnitNumber
    /// Task attribute, which may be no ``TaskAttribute``.
    public let attribute: UInt8
    /// The first 16 bytes of the CDB.
    public let cdb: CommandDescriptorBlock
    /// The next 16 bytes, and how many of them there are.
    public let extendedCDB: ExtendedCDB
    /// Expected Data Transfer Length.
    public let expectedBytes: UInt32
    /// Data go to the initiator.
    public let reads: Bool
    /// Data come from the initiator: the command begins with ``Session/Event/complete(_:)``.
    public let writes: Bool
}

/// Bytes 16 to 31 of a long CDB (11.2.2.3).
public struct ExtendedCDB: Equatable, Sendable {
    /// Bytes 16 to 23.
    public var high: UInt64 = 0
    /// Bytes 24 to 31.
    public var low: UInt64 = 0
    /// How many of the bytes there are.
    public var byteCount = 0
}

/// Where a piece of the stream belongs.
public struct DataPlace: Equatable, Sendable {
    /// The task.
    public let task: TaskNumber
    /// Where in the task's data the next byte belongs.
    public let offset: Int
    /// How many bytes are still to come.
    public let count: Int
}

/// A task management function that was judged sound (11.5).
public struct TaskManagement: Equatable, Sendable {
    /// The task management function that is asked for.
    public let function: TaskManagementFunction
    /// The logical unit, which may not exist.
    public let logicalUnit: LogicalUnitNumber
    /// The task of ABORT TASK.
    public let task: TaskNumber?
}

/// The target's side of one session, from the first Login Request to the logout.
///
/// The caller gives received bytes to ``advance(_:)``, drops the consumed ones, does what the event says, and calls
/// again until more bytes are needed. Where packets end does not matter.
///
/// StatSN is counted as responses are encoded, so they leave in that order.
public struct Session: ~Copyable, Sendable {
    /// The caller's next task.
    public enum Event: Equatable, Sendable {
        /// Nothing happens before so many more bytes have come. All that were given are consumed.
        case needMoreBytes(Int)
        /// Send ``takeWords()``.
        case say
        /// Judge the ``answer`` to the challenge, then call ``judged(_:)``. Until then this is the answer to every
        /// call.
        case authenticate
        /// Open the target at this place of the ``directory``, or nothing for a discovery session; then call
        /// ``opened()`` or ``refuseOpening(_:_:)``. Until then this is the answer to every call.
        case open(target: Int?)
        /// Find a place for the task and call ``accepted(dataOutBytes:)``. Until then this is the answer to every call.
        /// A task that does not write begins now.
        case begin(SCSITask)
        /// The next bytes of the stream, none of which were consumed, belong to a task: move what there is of them and
        /// call ``payloadMoved(_:)``.
        case payload(DataPlace)
        /// Send the R2T that ``encodeReadyToTransfer(of:upTo:into:)`` gives.
        case solicit(TaskNumber)
        /// All data of a task that writes are there: it begins now.
        case complete(TaskNumber)
        /// The data of a task are wrong: it has not begun, and ends with this failure.
        case fail(TaskNumber, DataOutFailure)
        /// Do the function, call ``aborted(_:)`` for each task that is gone, then ``managed(_:)``. Until then this is
        /// the answer to every call.
        case manage(TaskManagement)
        /// Nothing more is read. There may be ``takeWords()`` to send, and a ``reason`` to log.
        case end(End)
    }

    /// The ways in which a session ends.
    public enum End: Equatable, Sendable {
        /// Logout: when all else is said, ``Session/confirmLogout()`` says the response.
        case loggedOut
        /// The login failed, and its response says so.
        case loginFailed
        /// The stream cannot be trusted any more: close at once.
        case violation
    }

    /// The next piece of the stream.
    enum Phase: Sendable {
        /// A header, with its additional segments and its digest.
        case header
        /// A data segment that the session reads itself.
        case segment
        /// A data segment of a task, or the part of one that the task wants.
        case payload
        /// The rest of a data segment. Nobody wants it.
        case discarding
        /// The padding of a data segment, and its digest.
        case trailer
        /// The caller has to do something first.
        case waiting(Event)
        case ended(End)
    }

    /// The request whose data segment is on its way.
    enum Current: Sendable {
        /// The session throws it away, and sends a Reject at its end if there is a reason.
        case discarded(RejectReason?)
        case login(LoginRequestPDU)
        case text(TextRequestPDU)
        case nop(NOPOutPDU)
        case logout(LogoutRequestPDU)
        case management(TaskManagementRequestPDU)
        /// A command's immediate data.
        case command(TaskNumber)
        /// F: the sequence ends with it.
        case dataOut(TaskNumber, isFinal: Bool)
    }

    /// The longest data segment that the session itself reads: text, and the data of a NOP-Out, which go back.
    public static let maximumSegmentBytes = 64 << 10

    /// The targets as this initiator may see them.
    public var directory: [TargetInformation] = []
    let configuration: SessionConfiguration
    var phase = Phase.header
    var current = Current.discarded(nil)
    /// The event that follows when the words are sent.
    var next: Event?
    var words: [UInt8] = []
    /// The reason of a session's end, in words; nil when nothing is wrong.
    public internal(set) var reason: String?

    // The PDU that is being received
    /// A header as far as it has come: 48 bytes, at most 1020 of additional segments, a digest.
    var header = [UInt8](repeating: 0, count: BasicHeaderSegment.byteCount + 255 * 4 + 4)
    var headerCount = 0
    var segment: [UInt8] = []
    /// Bytes of the data segment that are still to come: for its task, and for nobody.
    var payloadLeft = 0
    var discardLeft = 0
    var trailer = InlineArray<8, UInt8>(repeating: 0)
    var trailerCount = 0
    var trailerLength = 0
    var digest = CRC32C()

    // The login, and its results
    var login: Login
    var isFullFeature = false
    var parameters = SessionParameters()
    var isShuttingDown = false

    // Numbers
    /// The StatSN of the next response.
    var statusSN: UInt32 = 0
    var expectedCommandSN: UInt32 = 0

    // Full Feature Phase
    var tasks: TaskTable
    /// A task was aborted whose data may still come.
    var mayHaveLateData = false
    var managementRequest = TaskManagementRequestPDU()
    /// The logout that has ended the session, if one has, until it is answered.
    var logout: LogoutRequestPDU?
    /// A text that goes on.
    var text: [UInt8] = []
    /// The part of a text's answer that was not sent yet.
    var textAnswer: ArraySlice<UInt8> = []
    /// The targets that it names behind that.
    var targetsToSay: ArraySlice<TargetInformation> = []
    var textTag: UInt32 = 0
    var isInText = false
    var pingTag: UInt32 = 0
    /// A NOP-In was not answered yet.
    public internal(set) var isPinged = false

    /// A connection that was just accepted.
    public init(_ configuration: SessionConfiguration) {
        precondition(configuration.tsih != 0, "0 is the TSIH of no session")
        precondition(
            configuration.queueDepth > 0 && configuration.places < 0xFFFF, "a number of tasks that has no names")
        self.configuration = configuration
        login = Login(
            requiresCHAP: configuration.discoveryRequiresCHAP, challenge: configuration.challenge,
            limits: configuration.limits)
        tasks = TaskTable(capacity: configuration.places)
    }

    /// Consumes input up to the next event.
    public mutating func advance(_ input: RawSpan) -> (consumed: Int, event: Event) {
        var consumed = 0
        while true {
            // Words leave before the session reads on, so that an initiator cannot make them grow.
            if case .ended(let end) = phase { return (input.byteCount, .end(end)) }
            guard words.isEmpty else { return (consumed, .say) }
            if let event = next {
                next = nil
                return (consumed, event)
            }
            switch phase {
            case .waiting(let event): return (consumed, event)
            case .header:
                let missing = gatherHeader(input, &consumed)
                guard missing == 0 else { return (consumed, .needMoreBytes(missing)) }
                if let event = judgeHeader() { return (consumed, event) }
            case .segment:
                let count = min(payloadLeft, input.byteCount - consumed)
                take(input.extracting(consumed..<consumed + count))
                consumed += count
                guard payloadLeft == 0 else { return (consumed, .needMoreBytes(payloadLeft)) }
                phase = .trailer
            case .payload:
                guard payloadLeft == 0 else { return (consumed, .payload(place)) }
                phase = .discarding
            case .discarding:
                let count = min(discardLeft, input.byteCount - consumed)
                if parameters.hasDataDigest { digest.update(input.extracting(consumed..<consumed + count)) }
                discardLeft -= count
                consumed += count
                guard discardLeft == 0 else { return (consumed, .needMoreBytes(discardLeft)) }
                phase = .trailer
            case .trailer:
                let missing = gatherTrailer(input, &consumed)
                guard missing == 0 else { return (consumed, .needMoreBytes(missing)) }
                if let event = endPDU() { return (consumed, event) }
            case .ended: preconditionFailure("that is told above")
            }
        }
    }

    /// Takes the words that are to be sent, beside responses to commands.
    public mutating func takeWords() -> [UInt8] {
        defer { words = [] }
        return words
    }

    /// The next bytes belong to a task, not to this state machine.
    public var awaitsPayload: Bool {
        if case .payload = phase { payloadLeft > 0 } else { false }
    }

    /// A command has come that has no place yet.
    public var isHeld: Bool {
        if case .waiting(.begin) = phase { true } else { false }
    }

    /// A request has arrived in part: if nothing more comes, it has not happened.
    public var isInsideRequest: Bool {
        switch phase {
        case .header: headerCount > 0
        case .segment, .payload, .discarding, .trailer: true
        case .waiting, .ended: false
        }
    }

    /// The initiator that has logged in.
    public var initiator: Initiator { login.initiator }
    /// The kind of the session.
    public var sessionType: SessionType { login.sessionType }
    /// A discovery session, whose login is over.
    public var isDiscovering: Bool { isFullFeature && sessionType == .discovery }
    /// The parameters that the login has settled.
    public var settled: SessionParameters { parameters }

    /// The last CmdSN that may come (4.2.2.1): there is a place for each.
    var maximumCommandSN: UInt32 {
        expectedCommandSN &+ UInt32(configuration.queueDepth - tasks.windowUse) &- 1
    }

    /// Gives a PDU its sequence numbers (4.2.2). One that takes no StatSN shows the next one.
    mutating func giveSequenceNumbers(
        to pdu: inout some TargetProtocolDataUnit, takesStatusSN: Bool = true
    ) {
        pdu.statusSN = takesStatusSN ? takeStatusSN() : statusSN
        pdu.expectedCommandSN = expectedCommandSN
        pdu.maximumCommandSN = maximumCommandSN
    }

    /// Ends the session. Nobody reads further bytes.
    mutating func end(_ end: End, _ reason: String? = nil) -> Event {
        phase = .ended(end)
        self.reason = reason
        return .end(end)
    }

    /// Says a PDU with its data, padding and digests.
    mutating func say<PDU: ProtocolDataUnit>(_ pdu: PDU, _ data: some Collection<UInt8> = []) {
        var pdu = pdu
        pdu.dataSegmentLength = UInt32(data.count)
        let header = pdu.bytes
        words += header
        if parameters.hasHeaderDigest { say(unsafe CRC32C.of(header.span.bytes)) }
        guard !data.isEmpty else { return }
        let segment = Array(data) + [UInt8](repeating: 0, count: paddingBytes(data.count))
        words += segment
        if parameters.hasDataDigest { say(unsafe CRC32C.of(segment.span.bytes)) }
    }

    private mutating func say(_ digest: CRC32C) {
        for shift in [24, 16, 8, 0] as [UInt32] { words.append(UInt8(truncatingIfNeeded: digest.wireValue >> shift)) }
    }

    /// Takes the StatSN of a response.
    mutating func takeStatusSN() -> UInt32 {
        defer { statusSN &+= 1 }
        return statusSN
    }

    /// Rejects the PDU in ``header`` (11.17). Its CmdSN counts as not received.
    mutating func reject(_ reason: RejectReason) {
        var pdu = RejectPDU()
        pdu.reason = reason
        giveSequenceNumbers(to: &pdu)
        say(pdu, header[..<BasicHeaderSegment.byteCount])
    }
}
