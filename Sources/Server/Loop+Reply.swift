// Replies: encoded into their request's header area, gathered into one send for all that are ready.

import Export
import Glibc
import IOUring
import NBD

extension Loop {
    /// Encodes the reply to a request that was served.
    mutating func encodeSuccess(_ place: Int, _ slot: Int) {
        let served = unsafe requests[place].served
        if served.command == .read {
            encodeData(place, slot)
            return
        }
        if served.command == .blockStatus {
            encodeStatus(place)
            return
        }
        // Only READ's data and descriptors stay until they are sent.
        releaseBuffer(place, slot)
        var area = unsafe MutableRawSpan(_unsafeBytes: headerBytes(place))
        let count: Int
        if unsafe connections[slot].parameters?.messages.hasChunks == true {
            count = ChunkedReply(to: served).encodeNone(into: &area)
        } else {
            count = SimpleReply.encode(error: nil, cookie: served.cookie, into: &area)
        }
        setParts(place, ReplyPart(headerBytes: count))
    }

    /// Encodes an error, with words where the client understands them, and with the data before it.
    mutating func encodeError(_ error: NBDError, _ message: StaticString, _ place: Int, _ slot: Int) {
        unsafe requests[place].measure.error = error
        let served = unsafe requests[place].served
        if unsafe connections[slot].parameters?.messages.hasChunks == true, let offset = served.failedOffsetBytes {
            encodeChunks(place, before: (error, message, offset))
            return
        }
        releaseBuffer(place, slot)
        var area = unsafe MutableRawSpan(_unsafeBytes: headerBytes(place))
        let count: Int
        if unsafe connections[slot].parameters?.messages.hasChunks == true {
            count = ChunkedReply(to: served).encodeError(error, message: message, into: &area)
        } else {
            count = SimpleReply.encode(error: error, cookie: served.cookie, into: &area)
        }
        setParts(place, ReplyPart(headerBytes: count))
    }

    private mutating func setParts(_ place: Int, _ part: ReplyPart) {
        unsafe requests[place].parts[0] = part
        unsafe requests[place].partCount = 1
    }

    /// The descriptors of a BLOCK_STATUS, which are in the buffer as they are sent.
    private mutating func encodeStatus(_ place: Int) {
        let served = unsafe requests[place].served
        var area = unsafe MutableRawSpan(_unsafeBytes: headerBytes(place))
        let count = ChunkedReply(to: served).encodeBlockStatusHeader(
            .allocation, descriptorCount: UInt32(served.descriptorCount), into: &area)
        setParts(place, ReplyPart(headerBytes: count, dataBytes: served.descriptorBytes))
    }

    /// The data of a READ: behind a simple reply's header, or as chunks of data and holes.
    private mutating func encodeData(_ place: Int, _ slot: Int) {
        guard unsafe connections[slot].parameters?.messages.hasChunks != true else {
            encodeChunks(place, before: nil)
            return
        }
        let served = unsafe requests[place].served
        var area = unsafe MutableRawSpan(_unsafeBytes: headerBytes(place))
        let count = SimpleReply.encode(error: nil, cookie: served.cookie, into: &area)
        let part = ReplyPart(
            headerBytes: count, dataOffset: served.bufferNeeds.dataOffset, dataBytes: Int(served.lengthBytes))
        setParts(place, part)
    }

    /// The data of a READ in chunks: all of them, or those before an error and then the error.
    private mutating func encodeChunks(
        _ place: Int, before failure: (error: NBDError, message: StaticString, offsetBytes: UInt64)?
    ) {
        let served = unsafe requests[place].served
        let start = served.bufferNeeds.dataOffset
        let length = Int(failure.map { $0.offsetBytes - served.offsetBytes } ?? served.lengthBytes)
        guard let buffer = unsafe requests[place].buffer else { preconditionFailure("a READ has a buffer") }
        let data = unsafe UnsafeRawBufferPointer(start: buffer + start, count: length)
        let reply = ChunkedReply(to: served)
        let reserved = failure.map { reply.errorOffsetByteCount(message: $0.message) } ?? 0
        let maximumParts = min(
            RequestSlot.maximumParts - (failure == nil ? 0 : 1),
            (RequestSlot.headerAreaBytes - reserved) / reply.offsetHoleByteCount)
        let joinsAll = unsafe served.flags.contains(.df) || requests[place].source.isPageCache
        var runs = unsafe ZeroRuns(data, offsetBytes: served.offsetBytes, joinsAll: joinsAll)
        var area = unsafe MutableRawSpan(_unsafeBytes: headerBytes(place))
        var areaCount = 0
        var partCount = 0
        while let run = runs.next(isLastAllowed: partCount == maximumParts - 1) {
            let offset = served.offsetBytes + UInt64(run.start)
            let isLast = failure == nil && run.start + run.count == length
            let headerBytes: Int
            if run.isHole {
                headerBytes = reply.encodeOffsetHole(
                    offsetBytes: offset, holeBytes: UInt32(run.count), isLast: isLast, into: &area, at: areaCount)
            } else {
                headerBytes = reply.encodeOffsetDataHeader(
                    offsetBytes: offset, dataBytes: UInt32(run.count), isLast: isLast, into: &area, at: areaCount)
            }
            areaCount += headerBytes
            unsafe requests[place].parts[partCount] = ReplyPart(
                headerBytes: headerBytes, dataOffset: start + run.start, dataBytes: run.isHole ? 0 : run.count)
            partCount += 1
        }
        if let failure {
            let count = reply.encodeErrorOffset(
                failure.error, message: failure.message, offsetBytes: failure.offsetBytes, into: &area, at: areaCount)
            unsafe requests[place].parts[partCount] = ReplyPart(headerBytes: count)
            partCount += 1
        }
        unsafe requests[place].partCount = partCount
    }

    /// Where the headers of a request's reply are encoded.
    private func headerBytes(_ place: Int) -> UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(
            start: headerArea + place * RequestSlot.headerAreaBytes, count: RequestSlot.headerAreaBytes)
    }

    /// A reply is ready; it leaves with the others at the end of the turn.
    mutating func queueReply(_ request: Int, _ slot: Int) {
        let place = self.slot(request, of: slot)
        countAnswer(place, slot)
        if unsafe requests[place].source == .splice { hasReplyToSend = true }
        unsafe connections[slot].appendReply(request)
        queueSend(slot)
    }

    /// Something of this connection is to be sent.
    mutating func queueSend(_ slot: Int) {
        guard unsafe !connections[slot].isQueuedForSend else { return }
        unsafe connections[slot].isQueuedForSend = true
        sendQueue.append(slot)
    }
}

extension ChunkedReply {
    /// The reply to a request, in chunks like its header.
    fileprivate init(to served: ServedRequest) {
        self.init(
            cookie: served.cookie, requestOffsetBytes: served.offsetBytes, isExtended: served.isExtended)
    }
}

/// Sending.
extension Loop {
    /// Replies are gathered up to this many bytes. A larger send completes in parts, so that a client that takes it slowly
    /// is seen to take it.
    private static let sendLimitBytes = 1 << 20
    /// Less than that when they are spliced: a pipe of 1 MiB has room for so many replies of 64 KiB and their headers.
    private static let spliceLimitBytes = 12 << 16

    /// Sends what is ready, unless a send is under way; its completion comes back here.
    mutating func send(_ slot: Int) {
        unsafe connections[slot].isQueuedForSend = false
        if unsafe connections[slot].phase == .closing {
            dropReplies(slot)
            finishIfIdle(slot)
            return
        }
        guard unsafe !connections[slot].isSending else { return }
        askKernelToEncrypt(slot)
        if let link = unsafe connections[slot].secure, unsafe connections[slot].encryptsHere {
            unsafe sendRecords(link, slot)
        } else if unsafe !connections[slot].handshakeOutput.isEmpty {
            sendHandshake(slot)
        } else if unsafe connections[slot].replyCount > 0, sendReplies(slot) {
            if unsafe connections[slot].replyCount > 0 { queueSend(slot) }
            pump(slot)
        }
        // Nothing was left to send: that may be what a connection's end waits for.
        if unsafe !connections[slot].isSending { finishIfIdle(slot) }
    }

    /// Sends what is ready of a client that has a processor for itself, before more of it is parsed: it does something with
    /// that and makes its next requests while the loop works on.
    mutating func sendAtOnce(_ slot: Int) {
        hasReplyToSend = false
        smallWrites.noteSend()
        guard shared.hasIdleProcessor, unsafe !connections[slot].isSending && !connections[slot].encryptsHere,
            unsafe connections[slot].handshakeOutput.isEmpty && connections[slot].replyCount > 0
        else { return }
        clock.settle()
        gatherReplies(slot)
        _ = sendNow(slot)
    }

    /// Sends replies, as many as it takes to have others wait.
    ///
    /// - Returns: whether all that was tried is sent.
    private mutating func sendReplies(_ slot: Int) -> Bool {
        var left = Self.sendLimitBytes
        repeat {
            gatherReplies(slot)
            left -= unsafe connections[slot].sendBytesLeft
            guard sendNow(slot) else { return false }
        } while unsafe left > 0 && connections[slot].replyCount > 0
        return true
    }

    private mutating func sendHandshake(_ slot: Int) {
        let output = unsafe connections[slot].handshakeOutput
        unsafe connections[slot].handshakeOutput = []
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: output.count, alignment: 1)
        unsafe bytes.copyBytes(from: output)
        unsafe connections[slot].handshakeSent = unsafe bytes
        unsafe connections[slot].vectors[0] = iovec(iov_base: bytes.baseAddress, iov_len: output.count)
        unsafe connections[slot].repliesInSend = 0
        submitSend(slot, vectorCount: 1, byteCount: output.count)
    }

    /// Gathers the headers and data of as many replies as one send takes, always at least one. What is spliced is gathered by
    /// itself, but for replies without data.
    mutating func gatherReplies(_ slot: Int) {
        var vectorCount = 0
        var byteCount = 0
        var replyCount = 0
        let vectors = unsafe connections[slot].vectors
        unsafe connections[slot].isSpliced = false
        var limit = Self.sendLimitBytes
        while unsafe replyCount < connections[slot].replyCount, byteCount < limit {
            let place = unsafe self.slot(connections[slot].reply(at: replyCount), of: slot)
            let partCount = unsafe requests[place].partCount
            guard vectorCount + 2 * partCount <= Connection.maximumVectors else { break }
            let isSpliced = unsafe requests[place].source == .splice
            if unsafe isSpliced != connections[slot].isSpliced {
                guard unsafe byteCount == 0 || requests[place].hasNoData && !isSpliced else { break }
                if isSpliced {
                    unsafe connections[slot].isSpliced = true
                    limit = Self.spliceLimitBytes
                }
            }
            var header = unsafe headerArea + place * RequestSlot.headerAreaBytes
            for number in 0..<partCount {
                let part = unsafe requests[place].parts[number]
                unsafe vectors[vectorCount] = iovec(iov_base: header, iov_len: part.headerBytes)
                unsafe header += part.headerBytes
                vectorCount += 1
                if part.dataBytes > 0, let buffer = unsafe requests[place].buffer {
                    unsafe vectors[vectorCount] = iovec(iov_base: buffer + part.dataOffset, iov_len: part.dataBytes)
                    vectorCount += 1
                }
                byteCount += part.headerBytes + part.dataBytes
            }
            replyCount += 1
        }
        unsafe connections[slot].repliesInSend = replyCount
        setMessage(slot, vectorCount: vectorCount, byteCount: byteCount)
    }

    mutating func submitSend(_ slot: Int, vectorCount: Int, byteCount: Int) {
        setMessage(slot, vectorCount: vectorCount, byteCount: byteCount)
        submitMessage(slot)
    }

    private func setMessage(_ slot: Int, vectorCount: Int, byteCount: Int) {
        unsafe connections[slot].sendBytesLeft = byteCount
        let message = unsafe connections[slot].message
        unsafe message.pointee.msg_iov = unsafe connections[slot].vectors
        unsafe message.pointee.msg_iovlen = vectorCount
    }

    /// Sends as much of what was gathered as the socket takes at once, which is usually all of it: that costs less than a
    /// submission and its completion. The ring does the rest.
    ///
    /// - Returns: whether it was all.
    mutating func sendNow(_ slot: Int) -> Bool {
        guard unsafe !connections[slot].isSpliced else { return sendSpliced(slot) }
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        let count = unsafe sendmsg(connections[slot].descriptor, connections[slot].message, flags)
        if count > 0 { counters[.sentBytes].add(UInt64(count)) }
        if unsafe count == connections[slot].sendBytesLeft {
            unsafe connections[slot].lastProgress = now
            releaseSentReplies(slot)
            return true
        }
        shared.residentChunks.noteLateUse()
        if count > 0 { skipSent(count, slot) }
        submitMessage(slot)
        return false
    }

    mutating func submitMessage(_ slot: Int) {
        unsafe connections[slot].isSending = true
        sendsUnderWay += 1
        unsafe ring.sendMessage(
            connections[slot].descriptor, UnsafePointer(connections[slot].message),
            all: connections[slot].secure == nil && connections[slot].sendBytesLeft <= 2 * Self.sendLimitBytes,
            userData: Token(.send, connection: slot).userData)
    }

    /// A send has ended.
    mutating func sent(_ result: Int32, on slot: Int) {
        unsafe connections[slot].isSending = false
        sendsUnderWay -= 1
        unsafe connections[slot].lastProgress = now
        if result == -EFAULT && rescue(slot) {
            submitMessage(slot)
            return
        }
        counters[.sentBytes].add(UInt64(max(0, result)))
        if let link = unsafe connections[slot].secure, unsafe connections[slot].encryptsHere {
            if result > 0 { unsafe link.pointee.session.removeOutput(Int(result)) }
        } else if unsafe result > 0 && result < connections[slot].sendBytesLeft && connections[slot].phase != .closing {
            skipSent(Int(result), slot)
            submitMessage(slot)
            return
        }
        unsafe connections[slot].freeRescued()
        if let bytes = unsafe connections[slot].handshakeSent {
            unsafe bytes.deallocate()
            unsafe connections[slot].handshakeSent = nil
        }
        releaseSentReplies(slot)
        if result <= 0 {
            if unsafe result < 0 && connections[slot].phase != .closing { noteLost(slot, -result) }
            abort(slot, .lost)
        } else {
            queueSend(slot)
            pump(slot)
        }
        finishIfIdle(slot)
    }

    mutating func releaseSentReplies(_ slot: Int) {
        let count = unsafe connections[slot].repliesInSend
        for number in 0..<count { releaseRequest(unsafe connections[slot].reply(at: number), slot) }
        unsafe connections[slot].removeReplies(count)
        unsafe connections[slot].repliesInSend = 0
    }

    /// The kernel took less than everything: the message becomes what is left.
    func skipSent(_ count: Int, _ slot: Int) {
        let message = unsafe connections[slot].message
        var skipped = count
        var vector = unsafe message.pointee.msg_iov
        var vectorCount = unsafe message.pointee.msg_iovlen
        while vectorCount > 0, let first = unsafe vector, unsafe first.pointee.iov_len <= skipped {
            skipped -= unsafe first.pointee.iov_len
            unsafe vector = first + 1
            vectorCount -= 1
        }
        if let first = unsafe vector, let base = unsafe first.pointee.iov_base {
            unsafe first.pointee = iovec(iov_base: base + skipped, iov_len: first.pointee.iov_len - skipped)
        }
        unsafe message.pointee.msg_iov = unsafe vector
        unsafe message.pointee.msg_iovlen = vectorCount
        unsafe connections[slot].sendBytesLeft -= count
    }

    /// A request is over: its memory and its slot are free again.
    mutating func releaseRequest(_ request: Int, _ slot: Int) {
        releaseBuffer(self.slot(request, of: slot), slot)
        unsafe connections[slot].releaseRequest(request)
    }

    /// Forgets replies that nobody will read.
    mutating func dropReplies(_ slot: Int) {
        let first = unsafe connections[slot].repliesInSend
        let count = unsafe connections[slot].replyCount
        guard unsafe !connections[slot].isSending else { return }
        for number in first..<count { releaseRequest(unsafe connections[slot].reply(at: number), slot) }
        unsafe connections[slot].removeReplies(count)
    }

    /// Lets those that wait for memory go on, in their order, when some was given back: by a reply that was sent or will
    /// never be, by a write that is done, by a payload that does not come.
    mutating func serveWaitingLines() {
        if stageLine.hasRoom {
            stageLine.beginTurns()
            while stage.pagesInUse < Limits.stagePages, let slot = stageLine.next() {
                takeTurn(slot)
                if stageLine.endTurn() { break }
            }
        }
        if ownLine.hasRoom {
            ownLine.beginTurns()
            while ownPagesInUse < ownPageLimit, let slot = ownLine.next() {
                takeTurn(slot)
                if ownLine.endTurn() { break }
            }
        }
    }

    private mutating func takeTurn(_ slot: Int) {
        unsafe connections[slot].line = .none
        pump(slot)
        finishIfIdle(slot)
    }
}
