// What a client asks for, and what it makes of the answers (NBD protocol, "Transmission phase").

import Glibc
import Support

extension SimulatedClient {
    /// Makes a request of NBD.
    func askSomething() {
        let others = [
            CommandNumber.flush, CommandNumber.flush, CommandNumber.trim, CommandNumber.writeZeroes,
            CommandNumber.writeZeroes, CommandNumber.cache, CommandNumber.blockStatus,
        ]
        ask(world.command(isReader: isReader, others: others))
    }

    private func ask(_ type: UInt16) {
        let cookie = world.numbers.next()
        if world.chance(20_000) { return askWrongly(cookie) }
        if type == CommandNumber.flush {
            // A drive without a write cache has none.
            guard transmissionFlags & TransmissionFlag.sendFlush != 0 else { return ask(CommandNumber.read) }
            return submit(type, 0, cookie, 0..<0)
        }
        if type == CommandNumber.blockStatus, contextID == nil { return ask(CommandNumber.read) }
        let size = image.model.cellBytes
        let unit = isAligned ? max(1, 512 / size) : 1
        let units = world.range(in: Int(sizeBytes) / size / unit)
        let range = units.lowerBound * unit..<units.upperBound * unit
        var flags: UInt16 = 0
        switch type {
        case CommandNumber.read where style == .structured && world.chance(300_000): flags = CommandFlag.df
        case CommandNumber.blockStatus where world.chance(300_000): flags = CommandFlag.reqOne
        case CommandNumber.writeZeroes:
            if world.chance(400_000) { flags |= CommandFlag.noHole }
            if transmissionFlags & TransmissionFlag.sendFastZero != 0, world.chance(200_000) {
                flags |= CommandFlag.fastZero
            }
        default: break
        }
        submit(type, flags, cookie, range)
    }

    private func submit(_ type: UInt16, _ flags: UInt16, _ cookie: UInt64, _ cells: Range<Int>) {
        let size = image.model.cellBytes
        var flags = flags
        var request = Outstanding(
            image: image, cookie: cookie, type: type, flags: flags, offset: UInt64(cells.lowerBound * size),
            length: UInt64(cells.count * size), began: world.event(), sentAt: world.now)
        let isZero = type != CommandNumber.write
        var payload: [UInt8] = []
        switch type {
        case CommandNumber.write, CommandNumber.writeZeroes, CommandNumber.trim:
            let write = image.model.begin(cells, isZero: isZero, at: request.began, connection: number)
            request.write = write
            if !isZero { payload = image.model.payload(of: write) }
        case CommandNumber.read: request.data = [UInt8](repeating: 0, count: Int(request.length))
        default: break
        }
        if style == .extended, type == CommandNumber.write { flags |= CommandFlag.payloadLength }
        begin(request)
        outbox += header(type, flags, cookie: cookie, offset: request.offset, length: request.length) + payload
        world.note("client \(number) asks \(type) flags \(flags) cells \(cells)")
    }

    /// A request that has to be refused, and to do nothing.
    private func askWrongly(_ cookie: UInt64) {
        let types = [CommandNumber.trim, CommandNumber.writeZeroes, CommandNumber.cache, CommandNumber.read]
        let type = types[Int.random(in: 0..<types.count, using: &world.numbers)]
        var length = UInt64(512)
        var offset = UInt64(Int.random(in: 0..<Int(sizeBytes / 512), using: &world.numbers)) * 512
        if style == .extended, type != CommandNumber.read {
            // A length of which the lower half would do.
            length += UInt64(Int.random(in: 1...100, using: &world.numbers)) << 32
        } else {
            // Beyond any end that the image will have.
            offset += 1 << 40
        }
        let isWrite = type == CommandNumber.writeZeroes
        outstanding.append(
            Outstanding(
                image: image, cookie: cookie, type: type, flags: 0, offset: offset, length: length,
                began: world.event(),
                sentAt: world.now, refusals: isWrite ? [ErrorNumber.noSpace] : [ErrorNumber.invalid]))
        outbox += header(type, 0, cookie: cookie, offset: offset, length: length)
        world.note("client \(number) asks wrongly \(type) at \(offset) of \(length)")
    }

    // MARK: Replies

    /// Takes the next reply, or chunk of one.
    ///
    /// - Returns: false when it is not complete.
    func takeReply() throws -> Bool {
        guard inboxCount >= 4 else { return false }
        switch number(at: 0, as: UInt32.self) {
        case MagicNumber.simpleReply where style != .extended: return try takeSimpleReply()
        case MagicNumber.structuredReply where style == .structured: return try takeChunk(isExtended: false)
        case MagicNumber.extendedReply where style == .extended: return try takeChunk(isExtended: true)
        case let magic: throw Violation("client \(number): a reply begins with \(String(magic, radix: 16))")
        }
    }

    private func place(of cookie: UInt64) throws -> Int {
        guard let place = outstanding.firstIndex(where: { $0.cookie == cookie }) else {
            throw Violation("client \(number): a reply with a cookie that no request has, or no more")
        }
        return place
    }

    private func takeSimpleReply() throws -> Bool {
        guard inboxCount >= 16 else { return false }
        let place = try place(of: number(at: 8, as: UInt64.self))
        let error = number(at: 4, as: UInt32.self)
        let isRead = outstanding[place].type == CommandNumber.read
        guard !(style == .structured && isRead) else { throw Violation("a simple reply to a READ") }
        let count = isRead && error == 0 ? Int(outstanding[place].length) : 0
        guard inboxCount >= 16 + count else { return false }
        outstanding[place].error = error
        if count > 0 { takeData(place, at: 0, from: 16, count) }
        consume(16 + count)
        try answered(place)
        return true
    }

    func takeData(_ place: Int, at start: Int, from: Int, _ count: Int) {
        outstanding[place].data.withUnsafeMutableBytes { target in
            inbox.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: target[start..<start + count]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source[inboxHead + from..<inboxHead + from + count]))
            }
        }
        outstanding[place].pieces.append(start..<start + count)
    }

    /// A chunk of a reply ("Structured reply chunk message", "Extended reply chunk message").
    private func takeChunk(isExtended: Bool) throws -> Bool {
        let start = isExtended ? 32 : 20
        guard inboxCount >= start else { return false }
        let size =
            isExtended ? Int(clamping: number(at: 24, as: UInt64.self)) : Int(number(at: 16, as: UInt32.self))
        guard size <= 1 << 26 else { throw Violation("a chunk of \(size) bytes") }
        guard inboxCount >= start + size else { return false }
        let flags = number(at: 4, as: UInt16.self)
        let type = number(at: 6, as: UInt16.self)
        let place = try place(of: number(at: 8, as: UInt64.self))
        if isExtended, number(at: 16, as: UInt64.self) != outstanding[place].offset {
            throw Violation("client \(number): a chunk for another offset")
        }
        try take(type, place, from: start, size)
        consume(start + size)
        if flags & 1 != 0 { try answered(place) }
        return true
    }

    private func take(_ type: UInt16, _ place: Int, from start: Int, _ size: Int) throws {
        switch type {
        case ChunkNumber.none: break
        case ChunkNumber.offsetData where size > 8, ChunkNumber.offsetHole where size == 12:
            let isData = type == ChunkNumber.offsetData
            let count = isData ? size - 8 : Int(number(at: start + 8, as: UInt32.self))
            let offset = number(at: start, as: UInt64.self)
            let request = outstanding[place]
            guard request.type == CommandNumber.read, offset >= request.offset,
                offset + UInt64(count) <= request.offset + request.length
            else { throw Violation("client \(number): content outside of its request") }
            let position = Int(offset - request.offset)
            if isData {
                takeData(place, at: position, from: start + 8, count)
            } else {
                outstanding[place].pieces.append(position..<position + count)
            }
        case ChunkNumber.blockStatus, ChunkNumber.blockStatusExtended:
            try takeExtents(place, from: start, size, isExtended: type == ChunkNumber.blockStatusExtended)
        case ChunkNumber.error where size >= 6, ChunkNumber.errorOffset where size >= 14:
            outstanding[place].error = number(at: start, as: UInt32.self)
            if type == ChunkNumber.errorOffset {
                outstanding[place].failedOffset = number(at: start + size - 8, as: UInt64.self)
            }
        default: throw Violation("client \(number): a chunk of type \(type) and \(size) bytes")
        }
    }

    /// Extents that are said to read as zeroes have to.
    private func takeExtents(_ place: Int, from start: Int, _ size: Int, isExtended: Bool) throws {
        let request = outstanding[place]
        guard request.type == CommandNumber.blockStatus, number(at: start, as: UInt32.self) == contextID else {
            throw Violation("client \(number): extents that nobody has asked for")
        }
        outstanding[place].hasExtents = true
        let (first, stride) = isExtended ? (start + 8, 16) : (start + 4, 8)
        var offset = Int(request.offset)
        let now = world.event()
        for place in Swift.stride(from: first, to: start + size, by: stride) {
            let length =
                isExtended ? Int(clamping: number(at: place, as: UInt64.self)) : Int(number(at: place, as: UInt32.self))
            let state =
                isExtended ? number(at: place + 8, as: UInt64.self) : UInt64(number(at: place + 4, as: UInt32.self))
            let end = min(offset + length, Int(request.offset + request.length))
            guard length > 0, offset < end else { throw Violation("client \(number): an extent of \(length) bytes") }
            if state & 1 != 0, world.profile.isSaidToBeStored(UInt64(offset)..<UInt64(end)) {
                throw Violation("client \(number): a hole at \(offset) where a layer says that something is stored")
            }
            if state & 2 != 0 {
                try check(
                    [UInt8](repeating: 0, count: end - offset), of: image, at: offset, request.began, now,
                    "an extent of zeroes")
            }
            offset += length
        }
    }

    /// The whole reply is there.
    func answered(_ place: Int) throws {
        let request = outstanding.remove(at: place)
        let now = world.event()
        world.note("client \(number) is answered \(request.type): \(request.error)")
        noteFirstReply(now)
        if let write = request.write {
            let isCertain = request.error == 0 && request.type != CommandNumber.trim
            request.image.model.end(write, isCertain: isCertain, at: now)
        }
        try judge(request)
        guard request.error == 0 else {
            if let offset = request.failedOffset, request.type == CommandNumber.read {
                let whole = Int(offset - request.offset) / request.image.model.cellBytes * request.image.model.cellBytes
                try check(
                    Array(request.data[..<whole]), of: request.image, at: Int(request.offset), request.began, now,
                    "a READ that failed")
            }
            return
        }
        switch request.type {
        case CommandNumber.read:
            var position = 0
            for piece in request.pieces.sorted(by: { $0.lowerBound < $1.lowerBound }) {
                guard piece.lowerBound == position else { throw Violation("client \(number): a READ with gaps") }
                position = piece.upperBound
            }
            guard position == Int(request.length) else { throw Violation("client \(number): a READ that is too short") }
            try check(
                request.data, of: request.image, at: Int(request.offset), request.began, now, "a READ")
        case CommandNumber.flush:
            request.image.model.flushed(began: request.began)
            try world.imaginePowerFailure(of: request.image)
        case CommandNumber.blockStatus where !request.hasExtents:
            throw Violation("client \(number): a BLOCK_STATUS without extents")
        default: break
        }
    }

    func judgeReply(_ request: Outstanding) throws {
        if let refusals = request.refusals {
            guard refusals.contains(request.error) || request.error == ErrorNumber.shutdown && mayBeTurnedAway else {
                throw Violation("client \(number): error \(request.error), where \(refusals) had to be")
            }
            return
        }
        let isTransfer = request.type == CommandNumber.read || request.write != nil
        let isKeptOut = try judgeReservation(
            request, isKeptOut: request.error == ErrorNumber.notPermitted, isDone: request.error == 0 && isTransfer)
        guard !isKeptOut else { return }
        switch request.error {
        case 0: return
        case ErrorNumber.shutdown where mayBeTurnedAway: return
        case ErrorNumber.notSupported where request.flags & CommandFlag.fastZero != 0: return
        case ErrorNumber.inputOutput where world.mayFail: return
        case ErrorNumber.noSpace where world.mayFail && request.type != CommandNumber.read: return
        default: throw Violation("client \(number): command \(request.type) was answered with error \(request.error)")
        }
    }

    var mayBeTurnedAway: Bool { isTurnedAway || world.isStopping }

    /// An answer on this connection shows that nothing comes later of the connections that were closed before it began.
    /// (The server waits for those for a limited time only.)
    func noteFirstReply(_ now: Int) {
        guard !hasReply else { return }
        hasReply = true
        noteFirstReply()
        guard world.now - openedAt < 1_500_000_000 else { return }
        endPredecessors(at: now)
    }

    /// A request is under way.
    func begin(_ request: Outstanding) {
        var request = request
        if let model = request.image.reservations {
            (request.mayPass, request.mayBeKeptOut) = model.verdicts(port, writes: request.changes)
        }
        outstanding.append(request)
    }

    private func check(
        _ bytes: [UInt8], of image: SimulatedImage, at offset: Int, _ began: Int, _ ended: Int, _ what: String
    ) throws {
        let cell = offset / image.model.cellBytes
        // A reply from the page cache is the file's until all of it is sent: it may change between two pieces.
        let mayTear = world.profile.isMapped
        let reason = bytes.withUnsafeBytes {
            image.model.check($0, from: cell, .read(began: began, ended: ended), mayTear: mayTear)
        }
        if let reason { throw Violation("client \(number): \(what) at \(began)-\(ended): \(reason)") }
    }
}
