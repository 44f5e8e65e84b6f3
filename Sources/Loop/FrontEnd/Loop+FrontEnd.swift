// The front end: the loop moves bytes, and a connection's session says what they mean. Only this folder knows which
// session that is. Sessions of a protocol have a table of their own, so that they change in place. Each verb is chosen
// here by the connection's protocol. NBD's way stands below, iSCSI's in Loop+ISCSI.swift and Loop+Tasks.swift.

import Counters
import Export
import Glibc
import IOUring
import Listening
import Logging
import NBD
import Replies

/// From the client to the loop.
extension Loop {
    /// A client has come.
    mutating func beginSession(_ slot: ConnectionSlot, at endpoint: Endpoint) {
        switch connections[slot].frontEnd {
        case .nbd: beginNBD(slot)
        case .iscsi: beginISCSI(slot, endpoint.portal)
        }
    }

    /// Nothing of the client is left.
    mutating func endSession(_ slot: ConnectionSlot) {
        if connections[slot].frontEnd == .iscsi { endISCSI(slot) }
        _ = sessions.remove(connections[slot].frontEnd, at: slot)
    }

    /// Gives what has been received to the session, and does what it says.
    ///
    /// - Returns: false when there is nothing more to parse, or no memory for it now.
    mutating func advance(_ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: advanceNBD(slot)
        case .iscsi: advanceISCSI(slot)
        }
    }

    /// Gives bytes to the session that were received for it alone.
    ///
    /// - Returns: the same as ``advance(_:)``.
    mutating func advance(with bytes: RawSpan, _ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: advanceNBD(with: bytes, slot)
        case .iscsi: preconditionFailure("a header of iSCSI is longer than what is received for it alone")
        }
    }

    /// These bytes of the payload of a request are at their place.
    mutating func payloadMoved(_ bytes: MemoryRange, _ place: RequestPlace) {
        switch connections[place.slot].frontEnd {
        case .nbd: noteNBDPayload(bytes.count, place)
        case .iscsi: noteTaskPayload(bytes, place)
        }
    }

    /// So much of the payload of a request is in its pipe.
    mutating func payloadPiped(_ count: Int, _ place: RequestPlace) {
        switch connections[place.slot].frontEnd {
        case .nbd: noteNBDPayload(count, place)
        case .iscsi: preconditionFailure("a payload in pieces comes through no pipe")
        }
    }

    /// Pages of requests whose payload is still to come.
    func arrivingPages(_ slot: ConnectionSlot) -> Int {
        switch connections[slot].frontEnd {
        case .nbd: connections[slot].payloadRequest.map { requests[$0].payload.pageCount } ?? 0
        case .iscsi: arrivingTaskPages(slot)
        }
    }

    /// A request whose payload has not arrived has not happened.
    mutating func forgetIncompleteRequests(_ slot: ConnectionSlot) {
        switch connections[slot].frontEnd {
        case .nbd:
            guard let place = connections[slot].payloadRequest else { return }
            connections[slot].payloadRequest = nil
            releaseRequest(place)
        case .iscsi: forgetIncompleteTasks(slot)
        }
    }

    /// A request waits for memory: one that is complete, or one whose payload has begun to come.
    func isHeldUp(_ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: sessions.nbd[slot].isHeld || payloadWaits(slot)
        case .iscsi: sessions.iscsi[slot].session.isHeld || !sessions.iscsi[slot].waiting.isEmpty
        }
    }

    /// A request has arrived in part, and the rest is its client's affair.
    func isInsideRequest(_ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: sessions.nbd[slot].isInsideRequest && !payloadWaits(slot)
        case .iscsi: sessions.iscsi[slot].session.isInsideRequest
        }
    }

    /// A request that has no place yet will be answered.
    func owesReply(_ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: sessions.nbd[slot].owesReply
        case .iscsi: sessions.iscsi[slot].session.isHeld
        }
    }
}

/// From the loop to the client.
extension Loop {
    /// Sends what the session says beside replies to requests.
    mutating func say(_ slot: ConnectionSlot) {
        switch connections[slot].frontEnd {
        case .nbd: connections[slot].say(sessions.nbd[slot].takeWords())
        case .iscsi: connections[slot].say(sessions.iscsi[slot].session.takeWords())
        }
        queueSend(slot)
    }

    /// Finds out what there is to open for the client, and may be opened.
    mutating func lookUpChoices(_ slot: ConnectionSlot) {
        switch connections[slot].frontEnd {
        case .nbd: lookUpExports(slot)
        case .iscsi: lookUpTargets(slot)
        }
    }

    /// The loop that has to serve an export to a client of a protocol; nil: any.
    func onlyLoop(for entry: ExportEntry, _ slot: ConnectionSlot) -> Int? {
        switch connections[slot].frontEnd {
        case .nbd: entry.onlyLoop
        // A unit's state for its initiators, and its news for them, are in one place.
        case .iscsi: entry.homeLoop
        }
    }

    /// Why a client cannot open the export that it has chosen as it is now; nil: it can.
    func obstacle(toOpening unit: Int, _ slot: ConnectionSlot) -> String? {
        switch connections[slot].frontEnd {
        case .nbd:
            let drive = connections[slot].choices[unit].drive
            guard drive.hasTray else { return nil }
            if drive.sectorCount == 0 { return "there is no disc in the drive; spindle ctl insert puts one in" }
            // Its directory is from the beginning of its handshake.
            let isPresent = sessions.nbd[slot].directory[unit].sizeBytes == drive.sizeBytes
            return isPresent ? nil : "another disc was put in since the client came; connect again"
        // Its commands say so.
        case .iscsi: return nil
        }
    }

    /// The name by which the client has chosen an export.
    func chosenName(_ slot: ConnectionSlot) -> String {
        switch connections[slot].frontEnd {
        case .nbd: String(decoding: sessions.nbd[slot].chosenName, as: UTF8.self)
        case .iscsi: sessions.iscsi[slot].askedExport
        }
    }

    /// The export that the client has chosen has gone since it was found: chooses what stands for its name instead, in
    /// its place.
    ///
    /// - Returns: false if nothing does.
    mutating func chooseStandIn(for unit: Int, _ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: chooseNBDStandIn(for: unit, slot)
        case .iscsi: chooseStandIn(forTarget: sessions.iscsi[slot].session.targetName, slot)
        }
    }

    /// An export that was made for the client is like what it was told.
    func isAsTold(_ entry: ExportEntry, _ unit: Int, _ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd:
            let told = sessions.nbd[slot].directory[unit]
            return entry.drive.sizeBytes == told.sizeBytes
                && entry.backend.isReadOnly == told.flags.contains(.readOnly)
        // It is told nothing before its commands.
        case .iscsi: return true
        }
    }

    /// The medium of an export is another one: ends the connections whose protocol has no word for it.
    mutating func endClientsOfOneMedium(_ entry: ExportEntry) {
        for slot in usedSlots where connections[slot].entry === entry && connections[slot].frontEnd == .nbd {
            endConnection(slot)
        }
    }

    /// The export that the client has chosen is open: requests to it follow.
    mutating func beginRequests(_ slot: ConnectionSlot, to export: ExportNumber) {
        switch connections[slot].frontEnd {
        case .nbd: beginNBDRequests(slot, to: export)
        case .iscsi: beginTasks(slot, export)
        }
    }

    /// The client's first export is open. Its choice may have others.
    mutating func openFurther(_ slot: ConnectionSlot) {
        switch connections[slot].frontEnd {
        case .nbd: break
        case .iscsi: openFurtherUnits(slot)
        }
    }

    /// Whether a connection has an export open.
    func hasOpen(_ entry: ExportEntry, _ slot: ConnectionSlot) -> Bool {
        guard connections[slot].entry != nil else { return false }
        switch connections[slot].frontEnd {
        case .nbd: return connections[slot].entry === entry
        case .iscsi: return sessions.iscsi[slot].units.contains { exports[$0.export].entry === entry }
        }
    }

    /// The identity of a connection, for fences.
    func fenceClient(_ slot: ConnectionSlot) -> FenceClient {
        switch connections[slot].frontEnd {
        case .nbd: .place(connections[slot].peer.origin)
        case .iscsi: .initiatorPort(sessions.iscsi[slot].session.initiator.portName)
        }
    }

    /// The exports that a connection has open.
    func openExports(of slot: ConnectionSlot) -> [ExportNumber] {
        guard let entry = connections[slot].entry else { return [] }
        guard connections[slot].frontEnd == .iscsi, !sessions.iscsi[slot].units.isEmpty else { return [entry.number] }
        return sessions.iscsi[slot].units.map(\.export)
    }

    /// An export goes. A connection that has others open goes on without it.
    ///
    /// - Returns: false if it has none.
    mutating func leaveUnit(of entry: ExportEntry, _ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: false
        case .iscsi: withdrawUnit(entry.number, slot)
        }
    }

    /// The export that the client has chosen cannot be opened now.
    ///
    /// - Returns: the same as ``advance(_:)``.
    mutating func refuseOpening(_ reason: String, _ slot: ConnectionSlot) -> Bool {
        switch connections[slot].frontEnd {
        case .nbd: return refuseNBDOpening(reason, slot)
        case .iscsi:
            sessions.iscsi[slot].session.refuseOpening(.serviceUnavailable, reason)
            return true
        }
    }

    /// Answers the client's wish to end, once all else is answered.
    ///
    /// - Returns: whether something is left to be sent.
    mutating func confirmEnd(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].frontEnd == .iscsi, sessions.iscsi[slot].session.confirmLogout() else { return false }
        say(slot)
        return true
    }

    /// Refuses all further requests of the client.
    mutating func refuseFurther(_ slot: ConnectionSlot) {
        switch connections[slot].frontEnd {
        case .nbd: sessions.nbd[slot].beginShutdown()
        case .iscsi: announceShutdown(slot)
        }
    }

    /// The drive has another size.
    mutating func resizeUnit(of slot: ConnectionSlot, to sizeBytes: UInt64) {
        switch connections[slot].frontEnd {
        case .nbd: sessions.nbd[slot].resize(sizeBytes)
        // Its unit attention says so.
        case .iscsi: break
        }
    }

    /// The data of a READ are sent as they are: nobody looks for zeroes in them.
    func sendsInOnePiece(_ place: RequestPlace) -> Bool {
        switch connections[place.slot].frontEnd {
        case .nbd: sessions.nbd[place.slot].sendsInOnePiece(served.requests[place].request)
        case .iscsi: true
        }
    }

    /// The reply to a READ is encoded in one go.
    func isAnsweredAtOnce(_ place: RequestPlace) -> Bool {
        switch connections[place.slot].frontEnd {
        case .nbd: true
        case .iscsi: sessions.iscsi[place.slot].session.answersAtOnce(dataBytes: requests[place].facts.lengthBytes)
        }
    }

    /// Answers a request that its drive has served.
    mutating func reply(to place: RequestPlace) {
        switch connections[place.slot].frontEnd {
        case .nbd: replyNBD(place)
        case .iscsi: respond(to: place)
        }
    }

    /// A reply that was encoded stays as it is, even if its data fail: it has its number among others.
    func keepsReplies(_ slot: ConnectionSlot) -> Bool { connections[slot].frontEnd == .iscsi }

    /// A part of the reply to a request has left, and is not the last one.
    mutating func goOnAfterSending(_ place: RequestPlace) {
        switch connections[place.slot].frontEnd {
        case .nbd: preconditionFailure("a request of NBD has one reply")
        case .iscsi: goOnWithTask(place)
        }
    }

    /// The error that a request's failure counts as; nil if it has not failed.
    func errorKind(of place: RequestPlace) -> ErrorKind? {
        switch connections[place.slot].frontEnd {
        case .nbd: served.requests[place].error.map(ErrorKind.init)
        case .iscsi: errorKind(ofTask: place)
        }
    }
}

/// NBD, from the client to the loop.
extension Loop {
    /// A client has come. It is greeted.
    private mutating func beginNBD(_ slot: ConnectionSlot) {
        sessions.nbd.insert(Session(tls: tlsPolicy, optionLimit: shared.limits.handshakeOptions), at: slot)
        lookUpExports(slot)
        say(slot)
    }

    /// The rule of TLS for the handshake of every connection.
    private var tlsPolicy: TLSPolicy {
        guard let tls = shared.tls else { return .unavailable }
        return tls.isRequired ? .required : .optional
    }

    /// Does what ``advance(_:)`` says.
    private mutating func advanceNBD(_ slot: ConnectionSlot) -> Bool {
        // A payload goes where it belongs without a stop on the way, decrypted if need be.
        if sessions.nbd[slot].awaitsPayload { return takePayload(sessions.nbd[slot].payloadBytesLeft, slot) }
        let input = connections[slot].nextBytes() ?? .empty
        let (consumed, event) = input.withBytes { sessions.nbd[slot].advance($0) }
        if consumed > 0 { connections[slot].consume(consumed) }
        return perform(event, consumed: consumed, slot)
    }

    /// Does what ``advance(with:_:)`` says.
    private mutating func advanceNBD(with bytes: RawSpan, _ slot: ConnectionSlot) -> Bool {
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
        put(request, kind, blockSize: exports[unit].served.blockSize, at: place)
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
        put(request, kind, blockSize: .smallest, at: place)
        // That zeroes are not fast here, or that the server stops, is not its client's mistake.
        noteRefusal(
            of: kind, offset: request.offsetBytes, length: lengthBytes,
            isMistake: error != .notSupported && error != .shutdown, message, slot)
        encode(.failure(error, message), place)
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

    /// Moves what has come of a payload, of which so much is missing, to its place.
    private mutating func takePayload(_ left: Int, _ slot: ConnectionSlot) -> Bool {
        guard let place = connections[slot].payloadRequest else { preconditionFailure("whose payload is it?") }
        if requests[place].payload == .none {
            guard findsInput(slot), placeData(of: place, need(of: place), offer(of: requests[place].unit)) else {
                return false
            }
        }
        return takePayload(of: place, from: Int(requests[place].facts.lengthBytes) - left, left)
    }

    /// A payload has begun to come, and waits for memory.
    private func payloadWaits(_ slot: ConnectionSlot) -> Bool {
        guard let place = connections[slot].payloadRequest, requests[place].payload == .none else { return false }
        return connections[slot].hasUnparsed || connections[slot].mayBeAsked
    }

    /// So much of the payload of a request is at its place. With the rest the request begins.
    private mutating func noteNBDPayload(_ count: Int, _ place: RequestPlace) {
        let slot = place.slot
        sessions.nbd[slot].payloadMoved(count)
        guard !sessions.nbd[slot].awaitsPayload else { return }
        connections[slot].payloadRequest = nil
        start(place)
    }
}

/// NBD, from the loop to the client.
extension Loop {
    /// Finds out which exports there are, and which of them the client may open.
    private mutating func lookUpExports(_ slot: ConnectionSlot) {
        var directory = shared.exports.directory.visible
        let peer = connections[slot].peer
        let identity = connections[slot].isSecure ? connections[slot].link.session.client : nil
        for number in directory.entries.indices {
            let rules = directory.entries[number].definition.access
            // All connections share information that nobody changes.
            guard !rules.isEmpty else { continue }
            directory.information[number].isForbidden = !rules.admit(peer, identity)
        }
        connections[slot].choices = directory.entries
        sessions.nbd[slot].directory = directory.information
    }

    /// Does what ``chooseStandIn(for:_:)`` says, by what the client could find when it came.
    private mutating func chooseNBDStandIn(for unit: Int, _ slot: ConnectionSlot) -> Bool {
        let name = sessions.nbd[slot].chosenName
        let found = sessions.nbd[slot].directory.firstIndex { $0.pattern?.matches(name) == true }
        guard let found, !sessions.nbd[slot].directory[found].isForbidden,
            connections[slot].isSecure || !sessions.nbd[slot].directory[found].requiresTLS
        else { return false }
        connections[slot].choices[unit] = connections[slot].choices[found]
        return true
    }

    /// The export that the client has chosen is open: requests to it follow.
    private mutating func beginNBDRequests(_ slot: ConnectionSlot, to export: ExportNumber) {
        sessions.nbd[slot].opened(as: Int32(export.number))
        say(slot)
    }

    /// Does what ``refuseOpening(_:_:)`` says.
    private mutating func refuseNBDOpening(_ reason: String, _ slot: ConnectionSlot) -> Bool {
        perform(sessions.nbd[slot].refuseOpening(reason), consumed: 0, slot)
    }

    /// Answers a request that its drive has served.
    private mutating func replyNBD(_ place: RequestPlace) {
        if served.requests[place].meetsReservation {
            // No mistake of the client's, but who runs the server has to find out why a client cannot write.
            let request = served.requests[place].request
            noteRefusal(
                of: requests[place].measure.kind, offset: request.offsetBytes, length: request.lengthBytes,
                isMistake: true, Self.reserved, place.slot)
        }
        encode(ending(of: place), place)
        queueReply(place)
    }

    private func ending(of place: RequestPlace) -> NBD.Ending {
        guard let error = served.requests[place].error else {
            guard requests[place].measure.kind == .blockStatus else { return .success }
            return .descriptors(Int(served.requests[place].descriptorCount))
        }
        if requests[place].task.wasTooSlow { return .failure(.notSupported, Self.tooSlow) }
        if served.requests[place].meetsReservation {
            return .failure(error, Self.reserved)
        }
        let request = served.requests[place]
        return .failure(error, request.failureInWords ?? error.inWords, offsetBytes: request.failedOffsetBytes)
    }

    private static var reserved: StaticString { "an initiator has reserved or write-protected the drive" }

    /// Only data that are sent stay until then.
    private mutating func encode(_ ending: NBD.Ending, _ place: RequestPlace) {
        if case .failure(let error, _, _) = ending { requests[place].measure.error = ErrorKind(error) }
        let request = served.requests[place].request
        let isRead = request.command == .read
        let dataOffset = isRead ? served.requests[place].bufferNeeds.dataOffset : 0
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
