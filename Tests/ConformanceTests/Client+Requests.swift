// The client's side of the transmission phase ("Request message", "Simple reply message", "Structured reply chunk
// message", "Extended reply chunk message").

import Support

/// A request as it goes over the wire.
struct Request {
    var type: UInt16
    var flags: UInt16 = 0
    /// Nil: the client chooses one.
    var cookie: UInt64?
    var offset: UInt64 = 0
    var length: UInt64 = 0
    var payload: [UInt8] = []
    /// Nil: what belongs to the style.
    var magic: UInt32?
    /// With an extended header.
    var isExtended = false

    static func read(_ offset: Int, _ count: Int, flags: UInt16 = 0) -> Request {
        Request(type: CommandNumber.read, flags: flags, offset: UInt64(offset), length: UInt64(count))
    }

    static func write(_ offset: Int, _ bytes: [UInt8], flags: UInt16 = 0) -> Request {
        Request(
            type: CommandNumber.write, flags: flags, offset: UInt64(offset), length: UInt64(bytes.count), payload: bytes
        )
    }

    static func zero(_ offset: Int, _ count: Int, flags: UInt16 = 0) -> Request {
        Request(type: CommandNumber.writeZeroes, flags: flags, offset: UInt64(offset), length: UInt64(count))
    }

    static func trim(_ offset: Int, _ count: Int) -> Request {
        Request(type: CommandNumber.trim, offset: UInt64(offset), length: UInt64(count))
    }

    static func cache(_ offset: Int, _ count: Int) -> Request {
        Request(type: CommandNumber.cache, offset: UInt64(offset), length: UInt64(count))
    }

    static func status(_ offset: UInt64, _ count: UInt64, flags: UInt16 = 0) -> Request {
        Request(type: CommandNumber.blockStatus, flags: flags, offset: offset, length: count)
    }

    /// BLOCK_STATUS for some of the selected contexts.
    static func status(_ offset: UInt64, _ count: UInt64, of contexts: [UInt32], flags: UInt16 = 0) -> Request {
        var payload: [UInt8] = []
        payload.append(number: count)
        for context in contexts { payload.append(number: context) }
        return Request(
            type: CommandNumber.blockStatus, flags: flags | CommandFlag.payloadLength, offset: offset,
            length: UInt64(payload.count), payload: payload)
    }

    static let flush = Request(type: CommandNumber.flush)
    static let disconnect = Request(type: CommandNumber.disconnect)

    /// The header and the payload.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: magic ?? (isExtended ? MagicNumber.extendedRequest : MagicNumber.request))
        bytes.append(number: flags)
        bytes.append(number: type)
        bytes.append(number: cookie ?? 0)
        bytes.append(number: offset)
        if isExtended {
            bytes.append(number: length)
        } else {
            bytes.append(number: UInt32(length))
        }
        return bytes + payload
    }

    /// How much of the export the request is about.
    var effectLength: UInt64 {
        let isInPayload = type == CommandNumber.blockStatus && flags & CommandFlag.payloadLength != 0
        return isInPayload && payload.count >= 8 ? payload.number(at: 0, as: UInt64.self) : length
    }
}

/// A complete reply, which kept to the rules.
struct Reply {
    let request: Request
    /// 0 for success.
    var error: UInt32 = 0
    var message = ""
    /// Where it failed, if that was said.
    var failedOffset: UInt64?
    /// The data of a READ; of a failed one, those before the error.
    var data: [UInt8] = []
    /// Chunks of a reply that has some, as they came; empty for a simple one.
    var chunks: [Chunk] = []
    /// The extents of a BLOCK_STATUS, by context.
    var extents: [UInt32: [Extent]] = [:]
}

extension Client {
    /// Sends a request without waiting for its reply.
    ///
    /// - Returns: its cookie.
    @discardableResult
    func submit(_ request: Request) throws -> UInt64 {
        let request = register(request)
        try send(request.bytes)
        return request.cookie ?? 0
    }

    /// Gives a request a cookie, and expects a reply to it.
    func register(_ request: Request) -> Request {
        var request = request
        if request.cookie == nil {
            request.cookie = nextCookie
            nextCookie &+= 0x0101_0101_0101_0101
        }
        request.isExtended = style == .extended
        if style == .extended, request.type == CommandNumber.write, !request.payload.isEmpty {
            request.flags |= CommandFlag.payloadLength
        }
        if request.type != CommandNumber.disconnect { pending.append(request) }
        return request
    }

    /// Sends a request and takes its reply, the only one that is to come.
    func perform(_ request: Request) throws -> Reply {
        try submit(request)
        return try reply()
    }

    /// Sends requests in one go.
    ///
    /// - Returns: their replies, in the order of the requests.
    func perform(_ requests: [Request]) throws -> [Reply] {
        let requests = requests.map(register)
        try send(requests.flatMap(\.bytes))
        var replies: [UInt64: Reply] = [:]
        for _ in requests {
            let reply = try self.reply()
            replies[reply.request.cookie ?? 0] = reply
        }
        return try requests.map {
            guard let reply = replies[$0.cookie ?? 0] else { throw Breach("no reply to \($0)") }
            return reply
        }
    }

    /// Sends a request that has to succeed.
    @discardableResult
    func performSuccessfully(_ request: Request) throws -> Reply {
        let reply = try perform(request)
        guard reply.error == 0 else {
            throw Breach("command \(request.type) failed with \(reply.error): \(reply.message)")
        }
        return reply
    }

    /// Reads.
    func read(_ offset: Int, _ count: Int) throws -> [UInt8] {
        try performSuccessfully(.read(offset, count)).data
    }

    /// Takes messages until one request has its complete reply.
    func reply() throws -> Reply {
        while true {
            let magic = try receive(4).number(at: 0, as: UInt32.self)
            switch magic {
            case MagicNumber.simpleReply where style != .extended:
                return try simpleReply()
            case MagicNumber.structuredReply where style == .structured,
                MagicNumber.extendedReply where style == .extended:
                if let reply = try chunk() { return reply }
            default: throw Breach("a reply begins with \(String(magic, radix: 16))")
            }
        }
    }

    private func simpleReply() throws -> Reply {
        let header = try receive(12)
        let error = header.number(at: 0, as: UInt32.self)
        let request = try take(header.number(at: 4, as: UInt64.self))
        let isRead = request.type == CommandNumber.read
        guard !(style == .structured && isRead) else { throw Breach("a simple reply to a READ after STRUCTURED_REPLY") }
        guard error == 0 || ErrorNumber.all.contains(error) else { throw Breach("error \(error) is not defined") }
        var reply = Reply(request: request, error: error)
        if isRead && error == 0 { reply.data = try receive(Int(request.length)) }
        return reply
    }

    private func chunk() throws -> Reply? {
        let header = try receive(style == .extended ? 28 : 16)
        let cookie = header.number(at: 4, as: UInt64.self)
        guard let request = pending.first(where: { $0.cookie == cookie }) else {
            throw Breach("a chunk with the cookie \(cookie), which no pending request has")
        }
        if style == .extended {
            let offset = header.number(at: 12, as: UInt64.self)
            guard offset == request.offset else { throw Breach("a chunk for offset \(offset), not \(request.offset)") }
        }
        let length =
            style == .extended
            ? Int(clamping: header.number(at: 20, as: UInt64.self)) : Int(header.number(at: 12, as: UInt32.self))
        guard length <= 1 << 26 else { throw Breach("a chunk of \(length) bytes") }
        let chunk = Chunk(
            flags: header.number(at: 0, as: UInt16.self), type: header.number(at: 2, as: UInt16.self),
            payload: try receive(length))
        chunks[cookie, default: []].append(chunk)
        guard chunk.isDone else { return nil }
        _ = try take(cookie)
        return try Reply(to: request, chunks: chunks.removeValue(forKey: cookie) ?? [], contexts: Set(contexts.keys))
    }

    private func take(_ cookie: UInt64) throws -> Request {
        guard let index = pending.firstIndex(where: { $0.cookie == cookie }) else {
            throw Breach("a reply with the cookie \(cookie), which no pending request has")
        }
        return pending.remove(at: index)
    }
}
