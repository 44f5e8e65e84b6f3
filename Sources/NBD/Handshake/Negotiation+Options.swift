// The handling of each option (NBD protocol, "Option types").

extension Negotiation {
    /// The export that a name chooses: the one that has it, or the first for the empty name, which stands for the
    /// default export; else the facts that stand for it.
    private static func export(named name: [UInt8], _ exports: [ExportInformation]) -> ChosenExport? {
        let present =
            exports.firstIndex { $0.pattern == nil && $0.name == name }
            ?? (name.isEmpty ? exports.firstIndex { $0.pattern == nil } : nil)
        if let present { return ChosenExport(index: present, information: exports[present]) }
        guard let index = exports.firstIndex(where: { $0.pattern?.matches(name) == true }) else { return nil }
        return ChosenExport(index: index, information: exports[index].named(name))
    }

    /// The export that an option names, or why there is none.
    func find(_ name: [UInt8], _ exports: [ExportInformation]) throws(ExportNameError) -> ChosenExport {
        guard Self.isString(name) else { throw .invalid(name) }
        guard let chosen = Self.export(named: name, exports) else { throw .unknown(name) }
        guard isEncrypted || !chosen.information.requiresTLS else {
            throw clientFlags.contains(.fixedNewstyle) ? .tlsRequired(name) : .tlsImpossible(name)
        }
        guard !chosen.information.isForbidden else { throw .forbidden(name) }
        return chosen
    }

    /// Names are strings: UTF-8 without NUL ("Conventions").
    private static func isString(_ bytes: [UInt8]) -> Bool {
        !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil
    }

    /// Answers an option whose data were read.
    mutating func answer(_ option: OptionType, _ data: RawSpan, _ exports: [ExportInformation]) -> Event {
        if option == .exportName {
            return answerExportName(data.bytes(), exports)
        }
        if isShuttingDown {
            return Self.shutdownError(option.rawValue)
        }
        switch option {
        case .listMetaContext, .setMetaContext: return answerMetaContext(option, data, exports)
        default: return answerInfo(option, data, exports)
        }
    }

    /// Answers an option whose data were skipped: either it has none, or it is refused.
    mutating func answerSkipped(_ option: UInt32, bytes: UInt32, _ exports: [ExportInformation]) -> Event {
        let type = OptionType(rawValue: option)
        if isShuttingDown, type != .abort {
            return Self.shutdownError(option)
        }
        if mustEncrypt, type != .abort, type != .startTLS {
            // ERR_TLS_REQD would be against the protocol: to a client without FIXED_NEWSTYLE no server has TLS.
            guard clientFlags.contains(.fixedNewstyle) else {
                return Self.error(.errorPolicy, option, "this server wants TLS, which only fixed newstyle can begin")
            }
            return Self.error(.errorTLSRequired, option, "this server wants TLS: send STARTTLS first")
        }
        switch type {
        case .abort:
            state = .closing
            var reply: [UInt8] = []
            reply.append(replyTo: option, .ack)
            return .close(reply: reply, reason: .aborted)
        case .list:
            guard bytes == 0 else { return Self.unexpectedData("LIST", option, bytes: bytes) }
            return list(exports, from: 0)
        case .structuredReply:
            guard bytes == 0 else { return Self.unexpectedData("STRUCTURED_REPLY", option, bytes: bytes) }
            return setMessages(.structured, option)
        case .extendedHeaders:
            guard bytes == 0 else { return Self.unexpectedData("EXTENDED_HEADERS", option, bytes: bytes) }
            return setMessages(.extended, option)
        case .info, .go, .listMetaContext, .setMetaContext:
            if type == .setMetaContext { exportWithContext = nil }
            return Self.error(
                .errorTooBig, option,
                "the option has \(bytes) bytes of data; at most \(Self.optionDataLimitBytes) are looked at")
        case .startTLS:
            return startTLS(option, bytes: bytes)
        case .exportName, .peekExport, nil:
            return Self.error(.errorUnsupported, option, "option \(option) is not supported")
        }
    }

    /// STARTTLS. Others may have written to the line before it: all earlier agreements are forgotten.
    private mutating func startTLS(_ option: UInt32, bytes: UInt32) -> Event {
        guard tls != .unavailable else { return Self.error(.errorUnsupported, option, "this server has no TLS") }
        guard clientFlags.contains(.fixedNewstyle) else {
            return Self.error(.errorPolicy, option, "only fixed newstyle can begin TLS")
        }
        guard bytes == 0 else { return Self.unexpectedData("STARTTLS", option, bytes: bytes) }
        guard !isEncrypted else { return Self.error(.errorInvalid, option, "this is inside of TLS already") }
        isEncrypted = true
        messages = .simple
        exportWithContext = nil
        var reply: [UInt8] = []
        reply.append(replyTo: option, .ack)
        return .startTLS(reply: reply)
    }

    /// STRUCTURED_REPLY and EXTENDED_HEADERS. The latter stays.
    private mutating func setMessages(_ style: MessageStyle, _ option: UInt32) -> Event {
        if style == .structured, messages == .extended {
            return Self.error(
                .errorExtendedHeadersRequired, option, "extended headers were agreed on, and have chunks of their own")
        }
        messages = style
        var reply: [UInt8] = []
        reply.append(replyTo: option, .ack)
        return .reply(reply)
    }

    /// EXPORT_NAME: there is no way to say no but closing.
    private mutating func answerExportName(_ name: [UInt8], _ exports: [ExportInformation]) -> Event {
        state = .closing
        if isShuttingDown {
            return .close(reply: [], reason: .shuttingDown)
        }
        guard messages != .extended else {
            return .close(reply: [], reason: .exportNameWithExtendedHeaders)
        }
        guard Self.isString(name) else {
            return .close(reply: [], reason: .exportNameInvalid(name))
        }
        guard let chosen = Self.export(named: name, exports) else {
            return .close(reply: [], reason: .exportNameUnknown(name))
        }
        guard isEncrypted || !chosen.information.requiresTLS else {
            return .close(reply: [], reason: .tlsRequired)
        }
        guard !chosen.information.isForbidden else {
            return .close(reply: [], reason: .exportNameForbidden(name))
        }
        begin(with: .exportName, chosen)
        let parameters = parameters(of: chosen, blockSizeAdvertised: false)
        var reply: [UInt8] = []
        reply.append(bigEndian: parameters.sizeBytes)
        reply.append(bigEndian: parameters.flags.rawValue)
        if !clientFlags.contains(.noZeroes) {
            reply.append(contentsOf: repeatElement(0, count: 124))
        }
        return .transmission(reply: reply, export: chosen.index, parameters: parameters)
    }

    /// INFO and GO: the same question and the same answer, but after GO transmission begins.
    private mutating func answerInfo(_ option: OptionType, _ data: RawSpan, _ exports: [ExportInformation]) -> Event {
        let request: InfoRequest
        do {
            request = try InfoRequest(data)
        } catch {
            return Self.error(.errorInvalid, option.rawValue, error.description)
        }
        let chosen: ChosenExport
        do {
            chosen = try find(request.name, exports)
        } catch {
            return Self.error(error.type, option.rawValue, error.description)
        }
        let export = chosen.information
        let parameters = parameters(of: chosen, blockSizeAdvertised: request.types.contains(.blockSize))
        var reply: [UInt8] = []
        for type in InfoType.allCases where type == .export || request.types.contains(type) {
            if type == .description, export.description.isEmpty {
                continue
            }
            reply.append(info: type, of: export, replyTo: option.rawValue, flags: parameters.flags)
        }
        reply.append(replyTo: option.rawValue, .ack)
        guard option == .go else { return .reply(reply) }
        begin(with: .go, chosen)
        return .transmission(reply: reply, export: chosen.index, parameters: parameters)
    }

    /// The export of the last ``Event/transmission(reply:export:parameters:)`` cannot be opened now, for a reason that
    /// may pass: the event below takes its place, and the handshake goes on if the protocol lets it.
    public mutating func refuseOpening(_ reason: String) -> Event {
        guard opening == .go else {
            state = .closing
            return .close(reply: [], reason: .openingRefused(reason))
        }
        state = .optionHeader
        return Self.error(.errorPolicy, OptionType.go.rawValue, reason)
    }

    /// The parameters of transmission if it began now. Contexts that were selected for another export do not count.
    private func parameters(of export: ChosenExport, blockSizeAdvertised: Bool) -> TransmissionParameters {
        TransmissionParameters(
            export: export.information, messages: messages, hasAllocationContext: exportWithContext == export,
            blockSizeAdvertised: blockSizeAdvertised)
    }

    /// LIST, or the next piece of it: about 64 KiB of REP_SERVER, and after the last the ACK.
    mutating func list(_ exports: [ExportInformation], from first: Int) -> Event {
        var reply: [UInt8] = []
        var next = first
        while next < exports.count, reply.count < 65536 {
            // An eavesdropper need not know the names of exports that only TLS opens.
            let isOpen = isEncrypted || !exports[next].requiresTLS
            if isOpen, !exports[next].isForbidden, exports[next].pattern == nil {
                reply.append(serverReplyFor: exports[next])
            }
            next += 1
        }
        if next < exports.count {
            state = .listing(nextExport: next)
        } else {
            state = .optionHeader
            reply.append(replyTo: OptionType.list.rawValue, .ack)
        }
        return .reply(reply)
    }

    private static func unexpectedData(_ name: String, _ option: UInt32, bytes: UInt32) -> Event {
        error(.errorInvalid, option, "\(name) has no data, but \(bytes) bytes were sent")
    }

    private static func shutdownError(_ option: UInt32) -> Event {
        error(.errorShutdown, option, "the server is shutting down")
    }

    /// An error reply with its message, which is far shorter than the 4,096 bytes of a string.
    static func error(_ type: OptionReplyType, _ option: UInt32, _ message: String) -> Event {
        var reply: [UInt8] = []
        reply.append(replyTo: option, type, data: Array(message.utf8))
        return .reply(reply, refusal: OptionRefusal(option: option, type: type, reason: message))
    }
}

/// The export that a name has chosen.
struct ChosenExport: Equatable {
    /// Its place in the directory.
    let index: Int
    /// Its facts, with its own name.
    let information: ExportInformation
}

/// An option that was answered with an error, for the log.
public struct OptionRefusal: Equatable, Sendable {
    /// Its number, which may be anything.
    public let option: UInt32
    /// The error.
    public let type: OptionReplyType
    /// In words, for the client. The client's bytes are quoted with control characters escaped.
    public let reason: String
}

/// A mistake in the name of an export, in an option that can report it.
enum ExportNameError: Error, CustomStringConvertible {
    case invalid([UInt8])
    case unknown([UInt8])
    case tlsRequired([UInt8])
    /// To a client without FIXED_NEWSTYLE, which cannot begin TLS.
    case tlsImpossible([UInt8])
    case forbidden([UInt8])

    var type: OptionReplyType {
        switch self {
        case .invalid: .errorInvalid
        case .unknown: .errorUnknown
        case .tlsRequired: .errorTLSRequired
        case .tlsImpossible, .forbidden: .errorPolicy
        }
    }

    var description: String {
        switch self {
        case .invalid(let name): "the name \(quoted(name)) is no UTF-8 without NUL"
        case .unknown(let name): "the export \(quoted(name)) does not exist"
        case .tlsRequired(let name): "the export \(quoted(name)) wants TLS: send STARTTLS first"
        case .forbidden(let name): "this client may not open the export \(quoted(name))"
        case .tlsImpossible(let name): "the export \(quoted(name)) wants TLS, which only fixed newstyle can begin"
        }
    }
}

/// The data of INFO and GO: length of the name, name, number of information requests, information requests.
struct InfoRequest {
    let name: [UInt8]
    /// The information types asked for. Those that this server does not know are left out, as the document demands, and
    /// one that is asked for twice is answered once.
    let types: Set<InfoType>

    init(_ data: RawSpan) throws(InfoRequestError) {
        guard data.byteCount >= 6 else { throw .tooShort(bytes: data.byteCount) }
        let nameBytes = Int(data.loadBigEndian(at: 0, as: UInt32.self))
        guard nameBytes <= data.byteCount - 6 else {
            throw .nameOutsideData(nameBytes: nameBytes, bytes: data.byteCount)
        }
        guard nameBytes <= ExportInformation.maximumStringBytes else { throw .nameTooLong(bytes: nameBytes) }
        let count = Int(data.loadBigEndian(at: 4 + nameBytes, as: UInt16.self))
        let start = 6 + nameBytes
        guard data.byteCount - start == 2 * count else {
            throw .requestCount(count, bytes: data.byteCount - start)
        }
        name = data.extracting(4..<4 + nameBytes).bytes()
        types = Set(
            (0..<count).compactMap { InfoType(rawValue: data.loadBigEndian(at: start + 2 * $0, as: UInt16.self)) })
    }
}

/// A mistake in the data of INFO or GO.
enum InfoRequestError: Error, CustomStringConvertible {
    case tooShort(bytes: Int)
    case nameOutsideData(nameBytes: Int, bytes: Int)
    case nameTooLong(bytes: Int)
    case requestCount(Int, bytes: Int)

    var description: String {
        switch self {
        case .tooShort(let bytes):
            "the option has \(bytes) bytes of data; the shortest possible are 6"
        case .nameOutsideData(let nameBytes, let bytes):
            "the name is said to have \(nameBytes) bytes, but the option has \(bytes) bytes of data"
        case .nameTooLong(let bytes):
            "the name has \(bytes) bytes; at most \(ExportInformation.maximumStringBytes) are allowed"
        case .requestCount(let count, let bytes):
            "\(count) information requests take \(2 * count) bytes, but \(bytes) follow the name"
        }
    }
}
