// Bytes come: the handshake, request headers and payloads.

import Export
import Glibc
import IOUring
import Logging
import NBD

extension Loop {
    /// Arms the receive of a connection; it goes on until there are no free buffers.
    mutating func receive(_ slot: Int) {
        unsafe connections[slot].isReceiving = true
        unsafe ring.receiveMultishot(
            connections[slot].descriptor, group: connections[slot].group.group,
            userData: Token(.receive, connection: slot).userData)
    }

    /// A receive has brought bytes, or the end of them.
    mutating func received(_ completion: Completion, on slot: Int) {
        if !completion.hasMore { unsafe connections[slot].isReceiving = false }
        countReceived(completion.result)
        if completion.result > 0, let buffer = completion.buffer {
            unsafe connections[slot].append(ReceivedChunk(buffer: buffer, start: 0, end: completion.result))
            // Bytes that nobody will look at do not keep a connection.
            if unsafe connections[slot].phase != .draining { unsafe connections[slot].lastProgress = now }
            pump(slot)
        } else if completion.result == 0 {
            endOfFile(slot)
        } else if completion.result != -ENOBUFS && completion.result != -ECANCELED {
            noteLost(slot, -completion.result)
            abort(slot, .lost)
        }
        resumeReceiving(slot)
        finishIfIdle(slot)
    }

    /// Arms the receive again when it has ended for want of buffers and there are some.
    mutating func resumeReceiving(_ slot: Int) {
        let phase = unsafe connections[slot].phase
        let isReading = unsafe phase == .handshake || phase == .transmission || connections[slot].awaitsEndOfFile
        guard isReading && phase != .closing, unsafe !connections[slot].isReceiving,
            unsafe !connections[slot].isAtEndOfFile,
            unsafe connections[slot].receivedCount < Int(Limits.receiveBuffers)
        else { return }
        if phase == .transmission, unsafe connections[slot].receiving != .asTheyCome {
            awaitInput(slot)
        } else {
            receive(slot)
        }
    }

    /// The client sends no more. What it has asked for completely is still done and answered.
    private mutating func endOfFile(_ slot: Int) {
        switch unsafe connections[slot].phase {
        case .handshake:
            abort(slot, .closed)
        case .transmission:
            unsafe connections[slot].isAtEndOfFile = true
            pump(slot)
        case .draining, .closing, .free:
            // It may still read the replies to what it has asked.
            unsafe connections[slot].awaitsEndOfFile = false
        }
    }

    /// Ends a connection whose client sends no more, once everything received is parsed. A header that waits for memory is
    /// complete.
    private mutating func drainAtEndOfFile(_ slot: Int) {
        guard unsafe connections[slot].isAtEndOfFile, unsafe !connections[slot].hasUnparsed,
            unsafe connections[slot].headerCount < connections[slot].headerLength
        else { return }
        let isInside =
            unsafe connections[slot].payloadRequest != nil || connections[slot].statusRequest != nil
            || connections[slot].headerCount > 0
        if isInside { note(.notice, "the client closed in the middle of a request", slot) }
        drain(slot, .closed)
    }

    /// Parses what has been received, as far as there is memory for it.
    mutating func pump(_ slot: Int) {
        while true {
            switch unsafe connections[slot].phase {
            case .handshake:
                guard advanceHandshake(slot) else { break }
                continue
            case .transmission:
                guard unsafe !connections[slot].isFenced, advanceTransmission(slot) else { break }
                if hasReplyToSend || smallWrites.areWorthSending { sendAtOnce(slot) }
                continue
            case .draining, .closing, .free:
                // Bytes behind DISC are ignored.
                unsafe connections[slot].dropReceived()
                resumeReceiving(slot)
                return
            }
            break
        }
        noticeEndOfTLS(slot)
        drainAtEndOfFile(slot)
        resumeReceiving(slot)
        advanceFences(slot)
    }

    /// Parses one piece of the stream.
    ///
    /// - Returns: false when there is nothing more to parse, or no memory for it now.
    private mutating func advanceTransmission(_ slot: Int) -> Bool {
        if let request = unsafe connections[slot].payloadRequest {
            let isRefused = unsafe connections[slot].discardCount > 0
            return isRefused ? discardPayload(of: request, slot) : takePayload(of: request, slot)
        }
        guard let parameters = unsafe connections[slot].parameters else { preconditionFailure("no export is open") }
        if let request = unsafe connections[slot].statusRequest {
            return takeStatusPayload(of: request, parameters, slot)
        }
        let length = unsafe connections[slot].headerLength
        // The usual case: the header is in one piece where it was received.
        if unsafe connections[slot].headerCount == 0, let bytes = unsafe connections[slot].nextBytes(),
            bytes.count >= length
        {
            let header = unsafe RequestHeader(RawSpan(_unsafeBytes: bytes), parameters.messages)
            let verdict = header.validate(for: parameters)
            if unsafe writeInPlace(header, verdict, UnsafeRawBufferPointer(rebasing: bytes[length...]), slot) {
                unsafe connections[slot].consume(length + Int(header.lengthBytes))
                return true
            }
            guard beginRequest(header, verdict, slot) else { return false }
            unsafe connections[slot].consume(length)
            return true
        }
        guard gatherHeader(slot) else { return false }
        let bytes = unsafe connections[slot].header
        let header = unsafe RequestHeader(bytes.span.bytes, parameters.messages)
        guard beginRequest(header, header.validate(for: parameters), slot) else { return false }
        unsafe connections[slot].headerCount = 0
        return true
    }

    /// Begins a BLOCK_STATUS when its payload is there.
    private mutating func takeStatusPayload(
        of header: RequestHeader, _ parameters: TransmissionParameters, _ slot: Int
    ) -> Bool {
        guard gatherHeader(slot) else { return false }
        let payload = unsafe connections[slot].header
        let (request, verdict) = unsafe header.validate(payload.span.bytes, for: parameters)
        guard beginRequest(request, verdict, slot) else { return false }
        unsafe connections[slot].headerCount = 0
        unsafe connections[slot].statusRequest = nil
        return true
    }

    /// Puts together a header, or a payload of BLOCK_STATUS, that came in pieces.
    ///
    /// - Returns: whether it is complete.
    private mutating func gatherHeader(_ slot: Int) -> Bool {
        let length = unsafe connections[slot].headerLength
        while unsafe connections[slot].headerCount < length {
            guard let bytes = unsafe connections[slot].nextBytes() else {
                guard receiveHeader(slot) else { return false }
                continue
            }
            let filled = unsafe connections[slot].headerCount
            let count = min(bytes.count, length - filled)
            for offset in 0..<count { unsafe connections[slot].header[filled + offset] = bytes[offset] }
            unsafe connections[slot].headerCount += count
            unsafe connections[slot].consume(count)
        }
        return true
    }

    /// Copies payload to the buffer of its request, which begins when all of it is there: of a write whose client
    /// vanishes in the middle, nothing reaches the drive.
    private mutating func takePayload(of request: Int, _ slot: Int) -> Bool {
        let place = self.slot(request, of: slot)
        if let pipe = unsafe requests[place].source.pipe { return pipePayload(of: request, pipe, slot) }
        let length = Int(unsafe requests[place].served.lengthBytes)
        let filled = unsafe connections[slot].payloadCount
        guard let buffer = unsafe requests[place].buffer else { preconditionFailure("a payload has a place") }
        let target = unsafe buffer + requests[place].served.bufferNeeds.dataOffset + filled
        var count = unsafe connections[slot].takeBytes(
            into: UnsafeMutableRawBufferPointer(start: target, count: length - filled))
        if count == 0 { count = unsafe receivePayload(into: target, count: length - filled, slot) }
        guard count > 0 else { return false }
        unsafe connections[slot].payloadCount += count
        if filled + count == length {
            unsafe connections[slot].payloadRequest = nil
            start(request, on: slot)
        }
        return true
    }

    /// Throws payload of a refused WRITE away, and answers the request at its end.
    private mutating func discardPayload(of request: Int, _ slot: Int) -> Bool {
        guard let bytes = unsafe connections[slot].nextBytes() else { return false }
        let count = unsafe min(bytes.count, connections[slot].discardCount)
        unsafe connections[slot].discardCount -= count
        unsafe connections[slot].consume(count)
        if unsafe connections[slot].discardCount == 0 {
            unsafe connections[slot].payloadRequest = nil
            queueReply(request, slot)
        }
        return true
    }

    /// Feeds the handshake.
    ///
    /// - Returns: whether the handshake is over and more can be parsed.
    private mutating func advanceHandshake(_ slot: Int) -> Bool {
        if unsafe connections[slot].isStartingTLS { return beginTLS(slot) }
        if let link = unsafe connections[slot].secure, unsafe !link.pointee.isOpen {
            return unsafe advanceTLS(link, slot)
        }
        while true {
            // A client that asks without reading the answers waits until it has read them.
            guard unsafe connections[slot].handshakeOutput.count < Limits.receiveBufferBytes else { return false }
            copyFirstChunk(slot)
            let input = unsafe connections[slot].handshakeInput
            let exports = unsafe connections[slot].directory.information
            var isOpeningRefused = false
            var (consumed, event) = unsafe connections[slot].negotiation.advance(input.span.bytes, exports: exports)
            unsafe connections[slot].handshakeInput.removeFirst(consumed)
            if case .transmission(let reply, let export, let parameters) = event {
                guard let refusal = beginTransmission(slot, reply, export: export, parameters) else { return true }
                event = unsafe connections[slot].negotiation.refuseOpening(refusal)
                isOpeningRefused = true
            }
            switch event {
            case .needMoreBytes:
                guard dropCopiedChunk(slot) else { return false }
            case .reply(let bytes, let refusal):
                if let refusal, !isOpeningRefused { noteRefusal(refusal, slot) }
                unsafe connections[slot].handshakeOutput += bytes
                queueSend(slot)
            case .transmission:
                preconditionFailure("an opening that was refused has not succeeded")
            case .startTLS(let reply):
                unsafe connections[slot].handshakeOutput += reply
                queueSend(slot)
                unsafe connections[slot].isStartingTLS = true
                putBackInput(slot)
                return true
            case .close(let reply, let reason):
                closeHandshake(slot, reply, reason)
                return true
            }
        }
    }

    private mutating func copyFirstChunk(_ slot: Int) {
        guard unsafe !connections[slot].isFirstChunkCopied, let bytes = unsafe connections[slot].nextBytes() else {
            return
        }
        unsafe connections[slot].handshakeInput.append(contentsOf: bytes)
        unsafe connections[slot].isFirstChunkCopied = true
    }

    /// The handshake needs more than the copied chunk: lets go of it.
    ///
    /// - Returns: whether there is another chunk.
    private mutating func dropCopiedChunk(_ slot: Int) -> Bool {
        if unsafe connections[slot].isFirstChunkCopied {
            unsafe connections[slot].isFirstChunkCopied = false
            let count = unsafe connections[slot].nextBytes()?.count ?? 0
            unsafe connections[slot].consume(count)
        }
        return unsafe connections[slot].hasUnparsed
    }

    /// The options are over, or interrupted: what is left is the end of the chunk that completed the last one.
    private mutating func putBackInput(_ slot: Int) {
        if unsafe connections[slot].isFirstChunkCopied {
            let left = unsafe connections[slot].handshakeInput.count
            unsafe connections[slot].isFirstChunkCopied = false
            let chunk = unsafe connections[slot].nextBytes()?.count ?? 0
            unsafe connections[slot].consume(chunk - left)
        }
        unsafe connections[slot].handshakeInput = []
    }

    /// Opens the export that the client has chosen.
    ///
    /// - Returns: why it cannot be opened; nil when it is.
    private mutating func beginTransmission(
        _ slot: Int, _ reply: [UInt8], export: Int, _ parameters: TransmissionParameters
    ) -> String? {
        let entry = unsafe connections[slot].directory.entries[export]
        let others: Int
        switch entry.open() {
        case .refused(let reason):
            note(.warning, "export not opened", slot, ["export": "\(entry.name)", "reason": "\(reason)"])
            return reason
        case .opened(let count): others = count
        }
        use(entry)
        unsafe connections[slot].handshakeOutput += reply
        queueSend(slot)
        unsafe connections[slot].phase = .transmission
        unsafe connections[slot].entry = entry
        unsafe connections[slot].export = entry.number
        unsafe connections[slot].directory = ExportTable.Directory()
        unsafe connections[slot].parameters = parameters
        unsafe connections[slot].parameters?.isShuttingDown = isStopping
        unsafe connections[slot].opening = shared.openings.add(1, ordering: .sequentiallyConsistent).newValue
        putBackInput(slot)
        note(.info, "export opened", slot)
        if others > 0 { raiseFence(slot, entry) }
        return nil
    }

    /// Finds out which exports there are, and which of them the client may open.
    mutating func lookUpExports(_ slot: Int) {
        var directory = shared.exports.directory
        let peer = unsafe connections[slot].peer
        let identity = unsafe connections[slot].secure?.pointee.session.client
        for number in directory.entries.indices {
            let rules = directory.entries[number].definition.access
            guard !rules.isEmpty else { continue }
            directory.information[number].isForbidden = !rules.contains {
                $0.matches(peer, identity)
            }
        }
        unsafe connections[slot].directory = directory
    }

    private mutating func closeHandshake(_ slot: Int, _ reply: [UInt8], _ reason: CloseReason) {
        switch reason {
        case .aborted, .openingRefused: break
        case .shuttingDown: note(.info, "handshake ended", slot, ["reason": "\(reason)"])
        default: note(.warning, "handshake ended", slot, ["reason": "\(reason)"])
        }
        unsafe connections[slot].handshakeOutput += reply
        queueSend(slot)
        drain(slot, reason == .aborted ? .disconnect : .handshakeFailed)
        unsafe connections[slot].awaitsEndOfFile = reason == .aborted && connections[slot].isReceiving
    }
}
