// One NBD connection as a state machine: bytes in, events out (NBD protocol, from "Newstyle negotiation" to the end of
// "Transmission"). The handshake's part stands in Session+Handshake.swift, that of requests in Session+Requests.swift,
// that of replies in Session+Replies.swift.

/// The server's side of one connection, from the greeting to DISC.
///
/// The caller says ``takeWords()`` to the client. Then it gives received bytes to ``advance(_:)``, drops the consumed
/// ones, does what the event says, and calls again until more bytes are needed. Where packets end does not matter.
///
/// An event holds no references, so a request costs none. Words for the client and reasons for the log stay here until
/// the caller takes them.
public struct Session: ~Copyable, Sendable {
    /// The next thing for the caller to do.
    public enum Event: Sendable {
        /// Nothing happens before so many more bytes have come. All that were given are consumed.
        case needMoreBytes(Int)
        /// Send ``takeWords()``. With ``takeRefusal()`` they say no to an option.
        case say
        /// Send ``takeWords()``, in the clear. The bytes that follow are a TLS handshake, and the session inside of it.
        case startTLS
        /// Open the unit at this place of the ``directory``, then call ``opened(as:)`` or ``refuseOpening(_:)``. Until
        /// then this is the answer to every call.
        case open(unit: Int)
        /// Serve the request. If it has a payload, that comes next. Without a place for it, call ``postpone()``.
        case begin(Request)
        /// So many bytes of the stream, none of which were consumed, belong to the request that began last: move what
        /// there is of them to their place and call ``payloadMoved(_:)``.
        case payload(Int)
        /// Answer the request with an error. Without a place for it, call ``postpone()``.
        case refuse(Refusal)
        /// Nothing more is read. There may be ``takeWords()`` to send, and a ``reason`` to log.
        case end(End)
    }

    /// The ways in which a session ends.
    public enum End: Equatable, Sendable {
        /// DISC: requests in flight are finished first.
        case disconnected
        /// ABORT, and it was acknowledged: the client closes.
        case aborted
        /// EXPORT_NAME while the server is stopping.
        case shuttingDown
        /// EXPORT_NAME for an export that the caller has refused to open.
        case openingRefused
        /// The handshake cannot go on.
        case handshakeFailed
        /// The stream of requests cannot be trusted any more: close at once.
        case violation
    }

    @usableFromInline enum Phase: Sendable {
        case handshake
        /// The client has chosen a unit that is not open yet.
        case opening
        /// A request header comes next.
        case header
        /// The payload of the BLOCK_STATUS in ``header`` comes next.
        case statusPayload
        /// A payload comes next.
        case payload
        /// A payload comes next that nobody wants.
        case discarding
        /// There was no place for a request.
        case held
        case ended
    }

    /// The part by which the last request was judged.
    enum Judged {
        case header
        case statusPayload
        /// The payload of a refused request is over.
        case refusal
    }

    @usableFromInline var phase = Phase.handshake
    var isShuttingDown = false

    // Handshake
    /// The units as this client may see them; nobody looks at them once one is open.
    public var directory: [ExportInformation] = []
    var negotiation: Negotiation
    /// A piece of the handshake that did not arrive at once.
    var option: [UInt8] = []
    var words = Negotiation.greeting
    var refusedOption: OptionRefusal?
    /// The unit that is to be opened, and what is said when it is.
    var chosen = 0
    var openingWords: [UInt8] = []
    var closeReason: CloseReason?

    // Transmission
    var parameters: TransmissionParameters?
    /// The number of the open unit.
    var unit: Int32 = -1
    /// The header of the last request.
    var header = RequestHeader(type: 0)
    /// A header, or the payload of a BLOCK_STATUS, that did not arrive at once.
    var piece = InlineArray<32, UInt8>(repeating: 0)
    @usableFromInline var pieceCount = 0
    /// The rest of a payload that is still to come.
    @usableFromInline var payloadLeft = 0
    var judged = Judged.header
    /// The request whose payload is thrown away.
    var refusal: Refusal?
    var violation: RequestViolation?
    /// How it has ended.
    var ending = End.disconnected

    /// How many options a handshake may have if nobody says otherwise.
    public static let standardOptionLimit = Negotiation.standardOptionLimit

    /// A connection that was just accepted; `optionLimit` does not count what every export adds.
    public init(tls: TLSPolicy = .unavailable, optionLimit: Int = Self.standardOptionLimit) {
        negotiation = Negotiation(tls: tls, optionLimit: optionLimit)
    }

    /// Consumes input up to the next event.
    public mutating func advance(_ input: RawSpan) -> (consumed: Int, event: Event) {
        // The usual case first: a request header in one piece.
        if phase == .header { return advanceTransmission(input) }
        return switch phase {
        case .handshake: advanceHandshake(input)
        case .opening: (0, .open(unit: chosen))
        case .ended: (input.byteCount, .end(ending))
        case .header, .statusPayload, .payload, .discarding, .held: advanceTransmission(input)
        }
    }

    /// Refuses whatever comes from now on, but ABORT and DISC, with ESHUTDOWN.
    public mutating func beginShutdown() {
        isShuttingDown = true
        negotiation.beginShutdown()
        parameters?.isShuttingDown = true
    }

    /// Ends it; later bytes are nobody's.
    mutating func end(_ ending: End) -> Event {
        phase = .ended
        self.ending = ending
        return .end(ending)
    }

    /// The name of the unit that is to be opened: one of several that the unit's facts stand for, or its own.
    public var chosenName: [UInt8] { negotiation.chosenName }

    /// Why the session has ended, in words; nil when nothing is wrong.
    public var reason: String? {
        closeReason?.description ?? violation?.description
    }

    /// Takes what is to be sent beside replies.
    public mutating func takeWords() -> [UInt8] {
        defer { words = [] }
        return words
    }
}
