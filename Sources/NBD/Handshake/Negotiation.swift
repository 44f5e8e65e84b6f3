// The handshake as a state machine: bytes in, steps out (NBD protocol, "Newstyle negotiation", "Fixed newstyle
// negotiation"). This file frames: client flags, option headers, option data. Negotiation+Options.swift handles each
// option.

/// The server's side of one handshake, from the client flags to the beginning of transmission.
///
/// The caller sends `greeting` first. Then it hands all unconsumed bytes to `advance`, performs the event, drops the
/// consumed bytes, and calls again until the event is `needMoreBytes`; only then it has to receive. It never has to
/// keep more than `maximumBufferedBytes`.
public struct Negotiation: Sendable {
    /// The first 18 bytes of a connection: both magic numbers and the handshake flags.
    public static let greeting: [UInt8] = {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: Magic.greeting)
        bytes.append(bigEndian: Magic.option)
        bytes.append(bigEndian: HandshakeFlags([.fixedNewstyle, .noZeroes]).rawValue)
        return bytes
    }()

    /// The longest option data that are looked at: a name of 4,096 bytes leaves INFO and GO room for two thousand
    /// information requests, and there are four; it leaves metadata queries room for some hundred names of contexts.
    /// Longer data are skipped and refused.
    public static let optionDataLimitBytes = 8192

    /// The longest option data that are skipped. A client with many metadata queries may come near, an honest one will
    /// not pass it; skipping more would only feed an attacker, so the connection is closed.
    public static let drainLimitBytes = 65536

    /// How many options a handshake may have if nobody says otherwise. Clients send about five; one that lists all
    /// exports asks two or three options about each (`qemu-nbd --list`), so every export adds four to any limit.
    public static let standardOptionLimit = 32

    /// How many unconsumed bytes the caller may have to keep until more arrive.
    public static let maximumBufferedBytes = optionDataLimitBytes

    /// The caller's next task.
    public enum Event: Equatable, Sendable {
        /// Nothing more can be done with these bytes: receive some, and keep the unconsumed.
        case needMoreBytes
        /// Send the bytes and go on. With a refusal, they say no to an option.
        case reply([UInt8], refusal: OptionRefusal? = nil)
        /// Send the reply; the bytes that follow are requests to the export with this index, judged by these
        /// parameters. Or the export cannot be opened now: then ``Negotiation/refuseOpening(_:)`` says what to do
        /// instead.
        case transmission(reply: [UInt8], export: Int, parameters: TransmissionParameters)
        /// Send the reply, in the clear; the bytes that follow are a TLS handshake, and options inside of it.
        case startTLS(reply: [UInt8])
        /// Send the reply, if any, and close.
        case close(reply: [UInt8], reason: CloseReason)
    }

    enum State {
        case clientFlags
        case optionHeader
        /// The data of an option that fits `optionDataLimitBytes` and is worth reading.
        case optionData(OptionType, bytes: Int)
        /// The data of an option that are not looked at, `remaining` of them still to come.
        case skipping(option: UInt32, bytes: UInt32, remaining: Int)
        /// The reply to LIST is handed out in pieces, so that memory does not grow with the exports.
        case listing(nextExport: Int)
        case transmission
        case closing
    }

    /// The use of the input by one step.
    enum Step {
        case needMoreBytes
        case consumed(Int)
        case event(Event, consumed: Int)
    }

    var state = State.clientFlags
    var clientFlags: ClientFlags = []
    var messages = MessageStyle.simple
    /// The export for which the last SET_META_CONTEXT has selected contexts.
    var exportWithContext: ChosenExport?
    var isShuttingDown = false
    let tls: TLSPolicy
    /// STARTTLS was answered with ACK.
    var isEncrypted = false
    private let optionLimit: Int
    private var optionCount = 0
    /// The option that began transmission.
    var opening = OptionType.go
    /// The name of the export that it chose: another one than that of its facts if these stand for several.
    private(set) var chosenName: [UInt8] = []

    /// Creates the state after the greeting was sent; `optionLimit` does not count what every export adds.
    public init(tls: TLSPolicy = .unavailable, optionLimit: Int = Self.standardOptionLimit) {
        self.tls = tls
        self.optionLimit = optionLimit
    }

    /// Options are answered with ERR_TLS_REQD.
    var mustEncrypt: Bool {
        tls == .required && !isEncrypted
    }

    /// Answers every further option but ABORT with ERR_SHUTDOWN ("Termination of the session during option haggling").
    public mutating func beginShutdown() {
        isShuttingDown = true
    }

    /// How many bytes the next step takes; of data that are skipped, how many are left.
    var neededBytes: Int {
        switch state {
        case .clientFlags: 4
        case .optionHeader: 16
        case .optionData(_, let bytes): bytes
        case .skipping(_, _, let remaining): remaining
        case .listing, .transmission, .closing: 0
        }
    }

    /// Transmission begins, if the export can be opened.
    mutating func begin(with option: OptionType, _ chosen: ChosenExport) {
        state = .transmission
        opening = option
        chosenName = chosen.information.name
    }

    /// Consumes input up to the next event. Where packets begin and end does not matter.
    public mutating func advance(
        _ input: RawSpan, exports: [ExportInformation]
    ) -> (consumed: Int, event: Event) {
        var total = 0
        while true {
            switch step(input.extracting(droppingFirst: total), exports) {
            case .needMoreBytes: return (total, .needMoreBytes)
            case .consumed(let count): total += count
            case .event(let event, let count): return (total + count, event)
            }
        }
    }

    private mutating func step(_ input: RawSpan, _ exports: [ExportInformation]) -> Step {
        switch state {
        case .clientFlags:
            guard input.byteCount >= 4 else { return .needMoreBytes }
            return begin(clientFlags: input.loadBigEndian(at: 0, as: UInt32.self))
        case .optionHeader:
            guard input.byteCount >= 16 else { return .needMoreBytes }
            return beginOption(
                magic: input.loadBigEndian(at: 0, as: UInt64.self),
                option: input.loadBigEndian(at: 8, as: UInt32.self),
                bytes: input.loadBigEndian(at: 12, as: UInt32.self),
                optionLimit: optionLimit + 4 * exports.count)
        case .optionData(let option, let bytes):
            guard input.byteCount >= bytes else { return .needMoreBytes }
            state = .optionHeader
            return .event(answer(option, input.extracting(first: bytes), exports), consumed: bytes)
        case .skipping(let option, let bytes, let remaining):
            let skipped = min(remaining, input.byteCount)
            if skipped < remaining {
                state = .skipping(option: option, bytes: bytes, remaining: remaining - skipped)
                return skipped == 0 ? .needMoreBytes : .consumed(skipped)
            }
            state = .optionHeader
            return .event(answerSkipped(option, bytes: bytes, exports), consumed: skipped)
        case .listing(let nextExport):
            return .event(list(exports, from: nextExport), consumed: 0)
        case .transmission:
            // The bytes are requests now, and not for this state machine.
            return .needMoreBytes
        case .closing:
            // The client may send more, but nobody will answer it.
            return input.byteCount == 0 ? .needMoreBytes : .consumed(input.byteCount)
        }
    }

    /// The client flags. A client without FIXED_NEWSTYLE is served all the same, as the document allows: an option it
    /// could not know it will not send.
    private mutating func begin(clientFlags flags: UInt32) -> Step {
        guard ClientFlags(rawValue: flags).isSubset(of: [.fixedNewstyle, .noZeroes]) else {
            return close(.clientFlags(flags), consumed: 4)
        }
        clientFlags = ClientFlags(rawValue: flags)
        state = .optionHeader
        return .consumed(4)
    }

    private mutating func beginOption(magic: UInt64, option: UInt32, bytes: UInt32, optionLimit: Int) -> Step {
        guard magic == Magic.option else {
            return close(.optionMagic(magic), consumed: 16)
        }
        optionCount += 1
        guard optionCount <= optionLimit else {
            return close(.tooManyOptions(limit: optionLimit), consumed: 16)
        }
        guard bytes <= Self.drainLimitBytes else {
            return close(.optionTooLong(option: option, bytes: bytes), consumed: 16)
        }
        switch OptionType(rawValue: option) {
        case .exportName where mustEncrypt:
            return close(.tlsRequired, consumed: 16)
        case _ where mustEncrypt:
            state = .skipping(option: option, bytes: bytes, remaining: Int(bytes))
        case .exportName:
            guard bytes <= ExportInformation.maximumStringBytes else {
                return close(.exportNameTooLong(bytes: bytes), consumed: 16)
            }
            state = .optionData(.exportName, bytes: Int(bytes))
        case let type? where type.hasData && bytes <= Self.optionDataLimitBytes:
            state = .optionData(type, bytes: Int(bytes))
        default:
            state = .skipping(option: option, bytes: bytes, remaining: Int(bytes))
        }
        return .consumed(16)
    }

    private mutating func close(_ reason: CloseReason, consumed: Int) -> Step {
        state = .closing
        return .event(.close(reply: [], reason: reason), consumed: consumed)
    }
}
