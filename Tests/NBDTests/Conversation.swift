// A client's stream on its way through a session, cut into packets in every way, and what came of it.

import NBD
import Testing

/// One thing that a session wants of its caller, as a value that can be compared.
enum Happening: Equatable {
    /// With the type of the error reply that it is, if it says no.
    case say([UInt8], refusing: UInt32? = nil)
    case startTLS([UInt8])
    case open(Int)
    case begin(Request)
    /// All of a payload.
    case payload([UInt8])
    case refuse(cookie: UInt64, error: UInt32)
    case end(Session.End, [UInt8] = [])
}

/// What the caller does when a unit is to be opened.
enum Opening {
    case opened
    /// Not now: it is asked again with the next bytes.
    case held
    case refused(String)
}

/// A stream's course, once all of it was given.
struct Course: Equatable {
    var happenings: [Happening] = []
    /// How many bytes the next step still needs.
    var missing = 0
    var isInsideRequest = false
    var owesReply = false
}

/// A session with a caller that does what it says.
struct Conversation: ~Copyable {
    private var session: Session
    private(set) var course = Course()
    private var rest: [UInt8] = []
    private var payload: [UInt8] = []
    private var openings: ArraySlice<Opening>
    private var hasChosen = false
    /// There is no place for a request when it is given for the first time.
    private let postpones: Bool
    private var wasPostponed = false
    private let location: SourceLocation

    init(
        _ directory: [ExportInformation], tls: TLSPolicy, openings: [Opening], postpones: Bool,
        _ location: SourceLocation
    ) {
        session = Session(tls: tls)
        session.directory = directory
        let greeting = session.takeWords()
        #expect(greeting == Negotiation.greeting, sourceLocation: location)
        self.openings = openings[...]
        self.postpones = postpones
        self.location = location
    }

    /// Gives bytes to the session until it needs more.
    mutating func feed(_ bytes: some Sequence<UInt8>) {
        rest += bytes
        while step() {}
        course.isInsideRequest = session.isInsideRequest
        course.owesReply = session.owesReply
    }

    mutating func beginShutdown() { session.beginShutdown() }

    mutating func resize(_ sizeBytes: UInt64) { session.resize(sizeBytes) }

    /// - Returns: whether the session may have more to say.
    private mutating func step() -> Bool {
        let hasPayload = session.payloadBytesLeft > 0 && !session.owesReply
        #expect(session.awaitsPayload == hasPayload, sourceLocation: location)
        let input = rest
        let (consumed, event) = session.advance(input.span.bytes)
        #expect((0...rest.count).contains(consumed), sourceLocation: location)
        rest.removeFirst(consumed)
        switch event {
        case .needMoreBytes(let count):
            #expect(count > 0 && rest.isEmpty, sourceLocation: location)
            course.missing = count
            return false
        case .say:
            let refusal = session.takeRefusal()
            course.happenings.append(.say(session.takeWords(), refusing: refusal?.type.rawValue))
        case .startTLS: course.happenings.append(.startTLS(session.takeWords()))
        case .open(let unit): return open(unit)
        case .begin(let request):
            if postpone() { return true }
            course.happenings.append(.begin(request))
        case .payload(let left): return move(left)
        case .refuse(let refusal):
            if postpone() { return true }
            #expect((1...128).contains(refusal.message.utf8CodeUnitCount), sourceLocation: location)
            course.happenings.append(.refuse(cookie: refusal.request.cookie, error: refusal.error.rawValue))
        case .end(let end):
            course.missing = 0
            if case .end = course.happenings.last { return false }
            course.happenings.append(.end(end, session.takeWords()))
            return false
        }
        return true
    }

    private mutating func postpone() -> Bool {
        wasPostponed = postpones && !wasPostponed
        if wasPostponed {
            session.postpone()
            #expect(session.isHeld && session.owesReply && !session.isInsideRequest, sourceLocation: location)
        }
        return wasPostponed
    }

    private mutating func open(_ unit: Int) -> Bool {
        if !hasChosen { course.happenings.append(.open(unit)) }
        hasChosen = true
        switch openings.popFirst() ?? .opened {
        case .held:
            return false
        case .opened:
            session.opened(as: Int32(unit + 100))
            course.happenings.append(.say(session.takeWords()))
        case .refused(let reason):
            hasChosen = false
            switch session.refuseOpening(reason) {
            case .say: course.happenings.append(.say(session.takeWords()))
            case .end(let end):
                course.happenings.append(.end(end, session.takeWords()))
                return false
            default: Issue.record("a refused opening is said or ends the session", sourceLocation: location)
            }
            #expect(session.takeRefusal() == nil, sourceLocation: location)
        }
        return true
    }

    private mutating func move(_ left: Int) -> Bool {
        let count = min(left, rest.count)
        course.missing = left - count
        guard count > 0 else { return false }
        payload += rest.prefix(count)
        rest.removeFirst(count)
        session.payloadMoved(count)
        if course.missing == 0 {
            course.happenings.append(.payload(payload))
            payload = []
        }
        return true
    }
}

/// Gives a stream to a session whole, byte by byte, as it asks for it, and in two pieces, cut at every place. The
/// course is always the same.
func course(
    of stream: [UInt8], _ directory: [ExportInformation] = exports, tls: TLSPolicy = .unavailable,
    openings: [Opening] = [], _ location: SourceLocation = #_sourceLocation
) -> Course {
    func run(postpones: Bool = false, _ feed: (inout Conversation) -> Void) -> Course {
        var conversation = Conversation(
            directory, tls: tls, openings: openings, postpones: postpones, location)
        feed(&conversation)
        // What was held is tried again.
        for _ in openings { conversation.feed([]) }
        return conversation.course
    }
    let whole = run { $0.feed(stream) }
    #expect(run(postpones: true) { $0.feed(stream) } == whole, "with requests postponed", sourceLocation: location)
    let bytewise = run { conversation in stream.forEach { conversation.feed([$0]) } }
    #expect(bytewise == whole, "byte by byte", sourceLocation: location)
    let asked = run { conversation in
        var rest = stream[...]
        conversation.feed([])
        while !rest.isEmpty {
            let count = max(1, conversation.course.missing)
            conversation.feed(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
    }
    #expect(asked == whole, "as it is asked for", sourceLocation: location)
    // Of a stream with a long piece in it, at a few hundred.
    for place in stride(from: 1, to: stream.count, by: 1 + stream.count / 1000) {
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

/// A compact request.
func compact(
    _ type: UInt64, flags: UInt64 = 0, cookie: UInt64 = 1, offset: UInt64 = 0, length: UInt64 = 0
) -> [UInt8] {
    hex("25609513") + bigEndian(flags, bytes: 2) + bigEndian(type, bytes: 2) + bigEndian(cookie, bytes: 8)
        + bigEndian(offset, bytes: 8) + bigEndian(length, bytes: 4)
}

/// An extended request.
func extended(
    _ type: UInt64, flags: UInt64 = 0, cookie: UInt64 = 1, offset: UInt64 = 0, length: UInt64 = 0
) -> [UInt8] {
    hex("21e41c71") + bigEndian(flags, bytes: 2) + bigEndian(type, bytes: 2) + bigEndian(cookie, bytes: 8)
        + bigEndian(offset, bytes: 8) + bigEndian(length, bytes: 8)
}

/// A request as a session gives it to be served.
func request(
    _ command: Command, flags: CommandFlags = [], cookie: UInt64 = 1, offset: UInt64 = 0, length: UInt64 = 0,
    isExtended: Bool = false, unit: Int32 = 100
) -> Request {
    let header = RequestHeader(
        type: command.rawValue, flags: flags, cookie: cookie, offsetBytes: offset, lengthBytes: length,
        magic: isExtended ? 0x21e4_1c71 : 0x2560_9513)
    return Request(header, as: command, unit: unit)
}
