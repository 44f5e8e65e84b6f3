// The front end: the loop moves bytes, and a connection's session says what they mean. Only this file knows which
// session that is. Sessions have a table of their own, so that they change in place; a protocol beside NBD is a second
// table with the same verbs.

import Counters
import Export
import Glibc
import Logging
import NBD
import Replies

/// From the client to the loop.
extension Loop {
    /// A client has come. It is greeted.
    mutating func beginSession(_ slot: ConnectionSlot) {
        sessions.insert(
            .nbd(Session(tls: tlsPolicy, optionLimit: shared.limits.handshakeOptions)), at: slot)
        lookUpChoices(slot)
        say(slot)
    }

    /// What the handshake of every connection has to know of TLS.
    private var tlsPolicy: TLSPolicy {
        guard let tls = shared.tls else { return .unavailable }
        return tls.isRequired ? .required : .optional
    }

    /// Nothing of the client is left.
    mutating func endSession(_ slot: ConnectionSlot) {
        _ = sessions.remove(at: slot)
    }

    /// Gives what has been received to the session, and does what it says.
    ///
    /// - Returns: false when there is nothing more to parse, or no memory for it now.
    mutating func advance(_ slot: ConnectionSlot) -> Bool {
        // A payload goes where it belongs without a stop on the way, decrypted if need be.
        if sessions.nbd[slot].awaitsPayload { return takePayload(sessions.nbd[slot].payloadBytesLeft, slot) }
        let input = connections[slot].nextBytes() ?? .empty
        let (consumed, event) = input.withBytes { sessions.nbd[slot].advance($0) }
        if consumed > 0 { connections[slot].consume(consumed) }
        return perform(event, consumed: consumed, slot)
    }

    /// Gives bytes to the session that were received for it alone.
    ///
    /// - Returns: the same as ``advance(_:)``.
    mutating func advance(with bytes: RawSpan, _ slot: ConnectionSlot) -> Bool {
        let (consumed, event) = sessions.nbd[slot].advance(bytes)
        precondition(consumed == bytes.byteCount, "no more was received than was needed")
        return perform(event, consumed: consumed, slot)
    }

    private mutating func perform(_ event: Session.Event, consumed: Int, _ slot: ConnectionSlot) -> Bool {
        switch event {
        case .needMoreBytes(let count):
            return consumed > 0 || receiveMissing(count, slot)
        case .begin(let request):
            if accept(request, slot) { return true }
            sessions.nbd[slot].postpone()
            return false
        case .payload(let left):
            return takePayload(left, slot)
        case .refuse(let refusal):
            if refuse(refusal, slot) { return true }
            sessions.nbd[slot].postpone()
            return false
        case .say:
            if let refusal = sessions.nbd[slot].takeRefusal() { noteRefusal(refusal, slot) }
            say(slot)
            return true
        case .startTLS:
            say(slot)
            connections[slot].isStartingTLS = true
            return true
        case .open(let unit):
            return open(unit, slot)
        case .end(let end):
            self.end(end, slot)
            return true
        }
    }

    /// Finds a place for a request, and begins it unless its payload is still to come.
    ///
    /// - Returns: false when there is no place for it now; nothing has happened then.
    private mutating func accept(_ request: NBD.Request, _ slot: ConnectionSlot) -> Bool {
        let kind = CommandKind(request.command)
        let unit = ExportNumber(Int(request.unit))
        if request.flags.contains(.fastZero), !zeroesFast(unit, allocated: request.flags.contains(.noHole)) {
            return refuse(request, kind, .notSupported, Self.tooSlow, lengthBytes: request.lengthBytes, slot)
        }
        guard let place = connections[slot].freeRequests.pop() else { return false }
        requests.insert(RequestSlot(request, kind, blockSize: exports[unit].served.blockSize), at: place)
        return prepare(place, payloadBytes: request.payloadBytes)
    }

    private mutating func refuse(_ refusal: Refusal, _ slot: ConnectionSlot) -> Bool {
        refuse(
            refusal.request, CommandKind(type: refusal.type), refusal.error, refusal.message,
            lengthBytes: refusal.lengthBytes, slot)
    }

    /// A refused request is answered like a served one.
    ///
    /// - Returns: false when there is no place for it now; nothing has happened then.
    private mutating func refuse(
        _ request: NBD.Request, _ kind: CommandKind, _ error: NBDError, _ message: StaticString, lengthBytes: UInt64,
        _ slot: ConnectionSlot
    ) -> Bool {
        guard let place = connections[slot].freeRequests.pop() else { return false }
        requests.insert(RequestSlot(request, kind, blockSize: .smallest), at: place)
        // That zeroes are not fast here, or that the server stops, is not its client's mistake.
        noteRefusal(
            of: kind, offset: request.offsetBytes, length: lengthBytes,
            isMistake: error != .notSupported && error != .shutdown, message, slot)
        encodeReply(.failure(error, message), place)
        queueReply(place)
        return true
    }

    fileprivate static var tooSlow: StaticString { "zeroes cannot be stored faster than they can be written" }

    private mutating func end(_ end: Session.End, _ slot: ConnectionSlot) {
        let reason = sessions.nbd[slot].reason ?? ""
        switch end {
        case .disconnected:
            drain(slot, .disconnect)
            connections[slot].awaitsEndOfFile =
                connections[slot].peer.closesFirst && !connections[slot].isAtEndOfFile
        case .aborted:
            say(slot)
            drain(slot, .disconnect)
            connections[slot].awaitsEndOfFile = connections[slot].isReceiving
        case .openingRefused:
            say(slot)
            drain(slot, .handshakeFailed)
        case .shuttingDown, .handshakeFailed:
            note(end == .shuttingDown ? .info : .warning, "handshake ended", slot, ["reason": "\(reason)"])
            say(slot)
            drain(slot, .handshakeFailed)
        case .violation:
            note(.warning, "client cut off", slot, ["reason": "\(reason)"])
            abort(slot, .violation)
        }
    }

    /// An option was refused. One that is unknown here is no mistake: that is how clients find out what they can use.
    private func noteRefusal(_ refusal: OptionRefusal, _ slot: ConnectionSlot) {
        let level: Logger.Level =
            switch refusal.type {
            case .errorUnsupported, .errorExtendedHeadersRequired: .debug
            case .errorShutdown: .info
            case .errorPolicy, .errorTLSRequired: .warning
            default: .notice
            }
        note(
            level, "option refused", slot,
            ["option": .stringConvertible(refusal.option), "reason": "\(refusal.reason)"])
    }

    /// So much of the payload of a request is at its place. With the rest the request begins.
    mutating func payloadMoved(_ count: Int, _ place: RequestPlace) {
        let slot = place.slot
        sessions.nbd[slot].payloadMoved(count)
        guard !sessions.nbd[slot].awaitsPayload else { return }
        connections[slot].payloadRequest = nil
        start(place)
    }

    /// A request is complete and waits for memory.
    func isHeldUp(_ slot: ConnectionSlot) -> Bool { sessions.nbd[slot].isHeld }

    /// A request has arrived in part.
    func isInsideRequest(_ slot: ConnectionSlot) -> Bool { sessions.nbd[slot].isInsideRequest }

    /// A request that has no place yet will be answered.
    func owesReply(_ slot: ConnectionSlot) -> Bool { sessions.nbd[slot].owesReply }
}

/// From the loop to the client.
extension Loop {
    /// Sends what the session says beside replies.
    private mutating func say(_ slot: ConnectionSlot) {
        connections[slot].handshakeOutput += sessions.nbd[slot].takeWords()
        queueSend(slot)
    }

    /// Finds out which exports there are, and which of them the client may open.
    mutating func lookUpChoices(_ slot: ConnectionSlot) {
        var directory = shared.exports.directory
        let peer = connections[slot].peer
        let identity = connections[slot].isSecure ? connections[slot].link.session.client : nil
        for number in directory.entries.indices {
            let rules = directory.entries[number].definition.access
            guard !rules.isEmpty else { continue }
            directory.information[number].isForbidden = !rules.contains {
                $0.matches(peer, identity)
            }
        }
        connections[slot].choices = directory.entries
        sessions.nbd[slot].directory = directory.information
    }

    /// The export that the client has chosen is open: what follows are requests to it.
    mutating func beginRequests(_ slot: ConnectionSlot, to export: ExportNumber) {
        sessions.nbd[slot].opened(as: Int32(export.number))
        say(slot)
    }

    /// The export that the client has chosen cannot be opened now.
    ///
    /// - Returns: the same as ``advance(_:)``.
    mutating func refuseOpening(_ reason: String, _ slot: ConnectionSlot) -> Bool {
        perform(sessions.nbd[slot].refuseOpening(reason), consumed: 0, slot)
    }

    /// Whatever the client asks for from now on is refused.
    mutating func refuseFurther(_ slot: ConnectionSlot) {
        sessions.nbd[slot].beginShutdown()
    }

    /// The drive has another size.
    mutating func resizeUnit(of slot: ConnectionSlot, to sizeBytes: UInt64) {
        sessions.nbd[slot].resize(sizeBytes)
    }

    /// The data of a READ are sent as they are: nobody looks for zeroes in them.
    func sendsInOnePiece(_ place: RequestPlace) -> Bool {
        sessions.nbd[place.slot].sendsInOnePiece(requests[place].served.request)
    }

    /// Encodes the reply to a request that its drive has served.
    mutating func encodeReply(_ place: RequestPlace) {
        encodeReply(ending(of: place), place)
    }

    private func ending(of place: RequestPlace) -> Ending {
        guard let error = requests[place].served.error else {
            guard requests[place].measure.kind == .blockStatus else { return .success }
            return .descriptors(Int(requests[place].served.descriptorCount))
        }
        if requests[place].task.wasTooSlow { return .failure(.notSupported, Self.tooSlow) }
        return .failure(error, error.inWords, offsetBytes: requests[place].served.failedOffsetBytes)
    }

    /// What the failure of a request counts as; nil if it has not failed.
    func errorKind(of place: RequestPlace) -> ErrorKind? {
        requests[place].served.error.map(ErrorKind.init)
    }

    /// Only data that are sent stay until then.
    private mutating func encodeReply(_ ending: Ending, _ place: RequestPlace) {
        if case .failure(let error, _, _) = ending { requests[place].measure.error = ErrorKind(error) }
        let request = requests[place].served.request
        let isRead = request.command == .read
        let dataOffset = isRead ? requests[place].served.bufferNeeds.dataOffset : 0
        let dataBytes = isRead ? Int(request.lengthBytes) : 0
        let data = requests[place].data(
            of: ReplyPart(headerBytes: 0, dataOffset: dataOffset, dataBytes: dataBytes))
        let isOpaque = requests[place].payload.isPageCache
        data.withBytes(into: headers.bytes(of: place)) { data, area in
            sessions.nbd[place.slot].encode(
                ending, of: request, data: data, at: dataOffset, isOpaque: isOpaque, into: &area,
                &requests[place].reply)
        }
        if requests[place].reply.hasNoData { releasePayload(place) }
    }
}

extension NBDError {
    /// Why a request that was sound failed.
    fileprivate var inWords: StaticString {
        switch self {
        case .noSpace: "the image's file system is full"
        case .notPermitted: "the medium is write-protected"
        default: "the drive reports an error"
        }
    }
}
