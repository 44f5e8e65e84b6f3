// The client's side of the handshake ("Newstyle negotiation", "Fixed newstyle negotiation", "Option types").

import Support

/// One reply to an option.
struct OptionReply: Equatable {
    let type: UInt32
    let data: [UInt8]

    var isError: Bool { type & 0x8000_0000 != 0 }
    /// The text of an error.
    var message: String { String(decoding: data, as: UTF8.self) }
}

/// The server's answers about an export.
struct ExportFacts: Equatable {
    var sizeBytes: UInt64 = 0
    var flags: UInt16 = 0
    var name: [UInt8]?
    var description: [UInt8]?
    /// Minimum, preferred, maximum payload.
    var blockSizes: [UInt32]?
    /// The types of the information, in the order in which they came.
    var types: [UInt16] = []
}

/// The bytes of an option.
func option(_ number: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(number: MagicNumber.option)
    bytes.append(number: number)
    bytes.append(number: UInt32(data.count))
    return bytes + data
}

/// The data of INFO and GO.
func informationRequest(_ name: String = "", _ types: [UInt16] = []) -> [UInt8] {
    informationRequest(bytes: Array(name.utf8), types)
}

/// The data of INFO and GO, with a name that need not be a string.
func informationRequest(bytes name: [UInt8], _ types: [UInt16] = []) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(number: UInt32(name.count))
    bytes += name
    bytes.append(number: UInt16(types.count))
    for type in types { bytes.append(number: type) }
    return bytes
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
func contextQueries(_ name: String, _ queries: [String]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(number: UInt32(name.utf8.count))
    bytes += Array(name.utf8)
    bytes.append(number: UInt32(queries.count))
    for query in queries {
        bytes.append(number: UInt32(query.utf8.count))
        bytes += Array(query.utf8)
    }
    return bytes
}

/// The client's flags.
func clientFlags(_ flags: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(number: flags)
    return bytes
}

extension Client {
    /// Takes the greeting.
    ///
    /// - Returns: the handshake flags.
    @discardableResult
    func receiveGreeting() throws -> UInt16 {
        let greeting = try receive(18)
        guard greeting.number(at: 0, as: UInt64.self) == MagicNumber.greeting,
            greeting.number(at: 8, as: UInt64.self) == MagicNumber.option
        else { throw Breach("the greeting is \(greeting)") }
        return greeting.number(at: 16, as: UInt16.self)
    }

    /// Takes the greeting and sends the flags.
    func begin(flags: UInt32 = 3) throws {
        try receiveGreeting()
        try send(clientFlags(flags))
    }

    /// Sends an option and takes all replies to it.
    func ask(_ number: UInt32, _ data: [UInt8] = []) throws -> [OptionReply] {
        try send(option(number, data))
        return try replies(to: number)
    }

    /// Sends an option and takes the reply, which has to be the only one.
    func askOnce(_ number: UInt32, _ data: [UInt8] = []) throws -> OptionReply {
        let replies = try ask(number, data)
        guard replies.count == 1 else { throw Breach("\(replies.count) replies to option \(number)") }
        return replies[0]
    }

    /// The replies to an option, up to the one that ends them.
    func replies(to option: UInt32) throws -> [OptionReply] {
        var replies: [OptionReply] = []
        while true {
            let reply = try self.reply(to: option)
            replies.append(reply)
            if reply.isError || reply.type == ReplyType.ack { return replies }
        }
    }

    private func reply(to option: UInt32) throws -> OptionReply {
        let header = try receive(20)
        guard header.number(at: 0, as: UInt64.self) == MagicNumber.optionReply else {
            throw Breach("a reply to an option begins with \(header)")
        }
        let echo = header.number(at: 8, as: UInt32.self)
        guard echo == option else { throw Breach("a reply to option \(echo) came for option \(option)") }
        let length = Int(header.number(at: 16, as: UInt32.self))
        guard length <= 1 << 20 else { throw Breach("a reply of \(length) bytes") }
        let reply = OptionReply(type: header.number(at: 12, as: UInt32.self), data: try receive(length))
        guard reply.type != ReplyType.ack || length == 0 else { throw Breach("an ACK has \(length) bytes of data") }
        if reply.isError { try checkString(reply.data, "the message of an error reply") }
        return reply
    }

    /// Opens an export with GO.
    @discardableResult
    func go(_ name: String = "", _ types: [UInt16] = []) throws -> ExportFacts {
        try exportFacts(try ask(OptionNumber.go, informationRequest(name, types)))
    }

    /// Negotiates structured replies.
    func negotiateStructuredReplies() throws {
        let reply = try askOnce(OptionNumber.structuredReply)
        guard reply.type == ReplyType.ack else { throw Breach("STRUCTURED_REPLY: \(reply.message)") }
        style = .structured
    }

    /// Negotiates extended headers.
    func negotiateExtendedHeaders() throws {
        let reply = try askOnce(OptionNumber.extendedHeaders)
        guard reply.type == ReplyType.ack else { throw Breach("EXTENDED_HEADERS: \(reply.message)") }
        style = .extended
    }

    /// Negotiates what the style needs.
    func negotiate(_ style: Style) throws {
        switch style {
        case .simple: break
        case .structured: try negotiateStructuredReplies()
        case .extended: try negotiateExtendedHeaders()
        }
    }

    /// Asks LIST_META_CONTEXT or SET_META_CONTEXT, which has to succeed.
    ///
    /// - Returns: ids and names of the contexts.
    func askContexts(_ number: UInt32, _ name: String = "", _ queries: [String] = []) throws -> [(UInt32, String)] {
        let replies = try ask(number, contextQueries(name, queries))
        guard let last = replies.last, last.type == ReplyType.ack else {
            throw Breach("option \(number) failed: \(replies.last?.message ?? "")")
        }
        return try replies.dropLast().map { reply in
            guard reply.type == ReplyType.metaContext, reply.data.count > 4 else {
                throw Breach("\(reply) among the contexts")
            }
            let name = reply.data.bytes(4, reply.data.count - 4)
            try checkString(name, "the name of a context")
            return (reply.data.number(at: 0, as: UInt32.self), String(decoding: name, as: UTF8.self))
        }
    }

    /// Selects metadata contexts; each has to get an id of its own.
    @discardableResult
    func selectContexts(_ name: String = "", _ queries: [String] = ["base:allocation"]) throws -> [String] {
        let selected = try askContexts(OptionNumber.setMetaContext, name, queries)
        contexts = Dictionary(selected, uniquingKeysWith: { one, _ in one })
        guard contexts.count == selected.count else { throw Breach("ids are not unique: \(selected)") }
        return selected.map(\.1)
    }
}

/// Strings are UTF-8 without NUL, 4,096 bytes at the most ("Conventions").
func checkString(_ bytes: [UInt8], _ what: String) throws {
    guard bytes.count <= 4096, !bytes.contains(0), String(validating: bytes, as: UTF8.self) != nil else {
        throw Breach("\(what) is no string of the protocol: \(bytes)")
    }
}

/// The answers to INFO or GO; at least EXPORT, then the ACK, each type once.
func exportFacts(_ replies: [OptionReply]) throws -> ExportFacts {
    guard let last = replies.last, last.type == ReplyType.ack else {
        throw Breach("INFO or GO failed: \(replies.last?.message ?? "")")
    }
    var facts = ExportFacts()
    for reply in replies.dropLast() {
        guard reply.type == ReplyType.info, reply.data.count >= 2 else {
            throw Breach("\(reply) among the information")
        }
        let type = reply.data.number(at: 0, as: UInt16.self)
        guard !facts.types.contains(type) else { throw Breach("information \(type) came twice") }
        facts.types.append(type)
        let data = reply.data.bytes(2, reply.data.count - 2)
        switch (type, data.count) {
        case (InformationNumber.export, 10):
            facts.sizeBytes = data.number(at: 0, as: UInt64.self)
            facts.flags = data.number(at: 8, as: UInt16.self)
        case (InformationNumber.name, _):
            try checkString(data, "the name")
            facts.name = data
        case (InformationNumber.description, _):
            try checkString(data, "the description")
            facts.description = data
        case (InformationNumber.blockSize, 12):
            facts.blockSizes = (0..<3).map { data.number(at: 4 * $0, as: UInt32.self) }
        default:
            throw Breach("information \(type) with \(data.count) bytes")
        }
    }
    guard facts.types.contains(InformationNumber.export) else { throw Breach("an ACK without NBD_INFO_EXPORT") }
    return facts
}
