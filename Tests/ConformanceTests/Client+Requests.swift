// The client's side of the transmission phase ("Request message", "Simple reply message", "Structured reply chunk message").

import Support

/// A request as it goes over the wire.
struct Request {
    var type: UInt16
    var flags: UInt16 = 0
    /// Nil: the client chooses one.
    var cookie: UInt64?
    var offset: UInt64 = 0
    var length: UInt32 = 0
    var payload: [UInt8] = []
    var magic = MagicNumber.request

    static func read(_ offset: Int, _ count: Int, flags: UInt16 = 0) -> Request {
        Request(type: CommandNumber.read, flags: flags, offset: UInt64(offset), length: UInt32(count))
    }

    static func write(_ offset: Int, _ bytes: [UInt8], flags: UInt16 = 0) -> Request {
        Request(
            type: CommandNumber.write, flags: flags, offset: UInt64(offset), length: UInt32(bytes.count), payload: bytes
        )
    }

    static func zero(_ offset: Int, _ count: Int, flags: UInt16 = 0) -> Request {
        Request(type: CommandNumber.writeZeroes, flags: flags, offset: UInt64(offset), length: UInt32(count))
    }

    static func trim(_ offset: Int, _ count: Int) -> Request {
        Request(type: CommandNumber.trim, offset: UInt64(offset), length: UInt32(count))
    }

    static func cache(_ offset: Int, _ count: Int) -> Request {
        Request(type: CommandNumber.cache, offset: UInt64(offset), length: UInt32(count))
    }

    static let flush = Request(type: CommandNumber.flush)
    static let disconnect = Request(type: CommandNumber.disconnect)

    /// The header and the payload.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: magic)
        bytes.append(number: flags)
        bytes.append(number: type)
        bytes.append(number: cookie ?? 0)
        bytes.append(number: offset)
        bytes.append(number: length)
        return bytes + payload
    }
}

/// A complete reply, which kept to the rules.
struct Reply {
    let request: Request
    /// 0 for success.
    var error: UInt32 = 0
    var message = ""
    /// What READ read.
    var data: [UInt8] = []
    /// Chunks of a structured reply, as they came; empty for a simple one.
    var chunks: [Chunk] = []
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
            case MagicNumber.simpleReply: return try simpleReply()
            case MagicNumber.structuredReply:
                guard structuredReplies else { throw Breach("a structured reply that was not negotiated") }
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
        guard !(structuredReplies && isRead) else { throw Breach("a simple reply to a READ after STRUCTURED_REPLY") }
        guard error == 0 || ErrorNumber.all.contains(error) else { throw Breach("error \(error) is not defined") }
        var reply = Reply(request: request, error: error)
        if isRead && error == 0 { reply.data = try receive(Int(request.length)) }
        return reply
    }

    private func chunk() throws -> Reply? {
        let header = try receive(16)
        let cookie = header.number(at: 4, as: UInt64.self)
        guard let request = pending.first(where: { $0.cookie == cookie }) else {
            throw Breach("a chunk with the cookie \(cookie), which no pending request has")
        }
        let length = Int(header.number(at: 12, as: UInt32.self))
        guard length <= 1 << 26 else { throw Breach("a chunk of \(length) bytes") }
        let chunk = Chunk(
            flags: header.number(at: 0, as: UInt16.self), type: header.number(at: 2, as: UInt16.self),
            payload: try receive(length))
        chunks[cookie, default: []].append(chunk)
        guard chunk.isDone else { return nil }
        _ = try take(cookie)
        return try Reply(to: request, chunks: chunks.removeValue(forKey: cookie) ?? [])
    }

    private func take(_ cookie: UInt64) throws -> Request {
        guard let index = pending.firstIndex(where: { $0.cookie == cookie }) else {
            throw Breach("a reply with the cookie \(cookie), which no pending request has")
        }
        return pending.remove(at: index)
    }
}
