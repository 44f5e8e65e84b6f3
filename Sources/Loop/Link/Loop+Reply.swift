// Replies: gathered into one send for all that are ready.

import Glibc
import IOUring
import Replies

extension Loop {
    /// A reply is ready; it leaves with the others at the end of the turn.
    mutating func queueReply(_ place: RequestPlace) {
        let slot = place.slot
        countAnswer(place, slot)
        if case .spliced = requests[place].payload { hasReplyToSend = true }
        queuePart(of: place)
    }

    /// Something is ready that is to be sent for a request.
    mutating func queuePart(of place: RequestPlace) {
        connections[place.slot].append(reply: place)
        queueSend(place.slot)
    }

    /// Something of this connection is to be sent.
    mutating func queueSend(_ slot: ConnectionSlot) {
        guard !connections[slot].isQueuedForSend else { return }
        connections[slot].isQueuedForSend = true
        sendQueue.append(slot)
    }
}

/// Sending.
extension Loop {
    /// Replies are gathered up to this many bytes.
    private static let sendLimitBytes = 1 << 20
    /// Less than that when they are spliced: a pipe of 1 MiB has room for so many replies of 64 KiB and their headers.
    private static let spliceLimitBytes = 12 << 16

    /// Sends what is ready, unless a send is under way; its completion comes back here.
    mutating func send(_ slot: ConnectionSlot) {
        connections[slot].isQueuedForSend = false
        if connections[slot].phase == .closing {
            dropReplies(slot)
            finishIfIdle(slot)
            return
        }
        guard !connections[slot].isSending else { return }
        if connections[slot].encryptsHere { askKernelToEncrypt(slot) }
        if connections[slot].encryptsHere {
            sendRecords(slot)
        } else if connections[slot].wordsAreNext {
            sendWords(slot)
        } else if connections[slot].replies.count > 0, sendReplies(slot) {
            if connections[slot].hasMoreToSend { queueSend(slot) }
            pump(slot)
        }
        // Nothing was left to send: that may be what a connection's end waits for.
        if !connections[slot].isSending { finishIfIdle(slot) }
    }

    /// Sends what is ready of a client that has a processor for itself, before more of it is parsed: it does something
    /// with that and makes its next requests while the loop works on.
    mutating func sendAtOnce(_ slot: ConnectionSlot) {
        hasReplyToSend = false
        guard shared.hasIdleProcessor, !connections[slot].isSending && !connections[slot].encryptsHere,
            connections[slot].words.isEmpty && connections[slot].replies.count > 0
        else { return }
        clock.settle()
        gatherReplies(slot)
        _ = sendNow(slot)
    }

    /// Sends replies, as many as it takes to have others wait.
    ///
    /// - Returns: whether all that was tried is sent.
    private mutating func sendReplies(_ slot: ConnectionSlot) -> Bool {
        var left = Self.sendLimitBytes
        repeat {
            gatherReplies(slot)
            left -= connections[slot].message.byteCount
            guard sendNow(slot) else { return false }
        } while left > 0 && connections[slot].repliesBeforeWords > 0
        return true
    }

    private mutating func sendWords(_ slot: ConnectionSlot) {
        connections[slot].gatherWords()
        connections[slot].repliesInSend = 0
        submitMessage(slot)
    }

    /// Gathers the headers and data of as many replies as one send takes, always at least one. A
    /// spliced reply goes only together with spliced ones and with replies without data.
    mutating func gatherReplies(_ slot: ConnectionSlot) {
        var replyCount = 0
        connections[slot].message.clear()
        connections[slot].isSpliced = false
        var limit = connections[slot].sendsOneReply ? 1 : Self.sendLimitBytes
        connections[slot].sendsOneReply = false
        while replyCount < connections[slot].repliesBeforeWords, connections[slot].message.byteCount < limit {
            let place = connections[slot].replies[replyCount]
            guard connections[slot].message.hasRoom(for: 2 * requests[place].reply.count) else { break }
            var fits = true
            switch requests[place].payload {
            case .none: break
            case .pages, .mapped, .piped: fits = !connections[slot].isSpliced
            case .spliced(let turn):
                // The client has taken its time: the kernel is asked again.
                if turn != clock.turnStart, !isStillResident(place) {
                    // One that keeps its place is read again once it is the first.
                    if replyCount > 0, keepsReplies(slot) {
                        fits = false
                        break
                    }
                    guard readAgain(replyAt: replyCount, slot) else { return }
                    continue
                }
                requests[place].payload = .spliced(clock.turnStart)
                fits = connections[slot].isSpliced || replyCount == 0
                if fits {
                    connections[slot].isSpliced = true
                    limit = Self.spliceLimitBytes
                }
            }
            guard fits else { break }
            gather(place, slot)
            replyCount += 1
        }
        connections[slot].repliesInSend = replyCount
        connections[slot].gatheredBytes = connections[slot].message.byteCount
        connections[slot].message.skip(connections[slot].sentOfFirst)
    }

    /// Sends as much of what was gathered as the socket takes at once, which is usually all of it: that costs less than
    /// a submission and its completion. The ring does the rest.
    ///
    /// - Returns: whether it was all.
    mutating func sendNow(_ slot: ConnectionSlot) -> Bool {
        // Nothing was gathered, or the first reply is read again.
        guard connections[slot].message.byteCount > 0 else { return !connections[slot].isSending }
        guard !connections[slot].isSpliced else { return sendSpliced(slot) }
        let count = connections[slot].message.sendNow(to: connections[slot].descriptor)
        noteSent(count, slot)
        if count == connections[slot].message.byteCount {
            releaseSentReplies(slot)
            return true
        }
        shared.residentChunks.noteLateUse()
        if count > 0 { connections[slot].message.skip(count) }
        submitMessage(slot)
        return false
    }

    /// The socket has taken bytes.
    mutating func noteSent(_ count: Int, _ slot: ConnectionSlot) {
        guard count > 0 else { return }
        counters[.sentBytes].add(UInt64(count))
        connections[slot].lastProgress = now
        connections[slot].sentBytes &+= UInt64(count)
    }

    private mutating func gather(_ place: RequestPlace, _ slot: ConnectionSlot) {
        let headers = self.headers.bytes(of: place)
        var position = 0
        for number in 0..<requests[place].reply.count {
            let (header, data) = requests[place].pieces(ofPart: number, headers, &position)
            connections[slot].message.append(header)
            if !data.isEmpty { connections[slot].message.append(data) }
        }
    }

    mutating func submitMessage(_ slot: ConnectionSlot) {
        connections[slot].isSending = true
        sendsUnderWay += 1
        connections[slot].message.submit(
            to: connections[slot].descriptor, ring: &ring, userData: Token(.send, slot).userData)
    }

    /// A send has ended.
    mutating func sent(_ result: Int32, on slot: ConnectionSlot) {
        connections[slot].isSending = false
        sendsUnderWay -= 1
        if result == -EFAULT, readUnsentAgain(slot) {
            queueSend(slot)
            return
        }
        noteSent(Int(result), slot)
        if connections[slot].encryptsHere {
            if result > 0 { connections[slot].link.session.removeOutput(Int(result)) }
        } else if result > 0 && result < connections[slot].message.byteCount && connections[slot].phase != .closing {
            connections[slot].message.skip(Int(result))
            submitMessage(slot)
            return
        }
        connections[slot].freeSent()
        releaseSentReplies(slot)
        if result <= 0 {
            if result < 0 && connections[slot].phase != .closing { noteLost(slot, -result) }
            abort(slot, .lost)
        } else {
            queueSend(slot)
            pump(slot)
        }
        finishIfIdle(slot)
    }

    mutating func releaseSentReplies(_ slot: ConnectionSlot) {
        let count = connections[slot].repliesInSend
        for number in 0..<count { noteLeft(connections[slot].replies[number]) }
        connections[slot].removeReplies(first: count)
        connections[slot].repliesInSend = 0
        connections[slot].sentOfFirst = 0
        goOnAfterSending()
    }

    /// Bytes that were encoded for a request have left, or are dropped.
    private mutating func noteLeft(_ place: RequestPlace) {
        if requests[place].endsWithReply {
            releaseRequest(place)
        } else {
            unfinished.append(place, &requests)
        }
    }

    /// Requests of which only a part has left have their next one.
    private mutating func goOnAfterSending() {
        while let place = unfinished.popFirst(&requests) { goOnAfterSending(place) }
    }

    /// Ends a send in the middle: replies that have left are over, and the others can be gathered anew.
    ///
    /// - Returns: how many of those that were gathered are left.
    mutating func settleSend(_ slot: ConnectionSlot) -> Int {
        var left = connections[slot].repliesInSend
        var sent = connections[slot].gatheredBytes - connections[slot].message.byteCount
        while left > 0 {
            let place = connections[slot].replies[0]
            let byteCount = requests[place].reply.byteCount
            guard byteCount <= sent else { break }
            sent -= byteCount
            noteLeft(place)
            connections[slot].removeReplies(first: 1)
            left -= 1
        }
        connections[slot].message.clear()
        connections[slot].repliesInSend = 0
        connections[slot].sentOfFirst = sent
        goOnAfterSending()
        return left
    }

    /// A request is over: its memory and its place are free again.
    mutating func releaseRequest(_ place: RequestPlace) {
        releasePayload(place)
        forget(place)
    }

    /// A request has nothing any more: its place is free again.
    mutating func forget(_ place: RequestPlace) {
        served.remove(at: place, requests[place].facts.machine)
        requests.remove(at: place)
        connections[place.slot].freeRequests.push(place)
    }

    /// Forgets replies that nobody will read.
    mutating func dropReplies(_ slot: ConnectionSlot) {
        let first = connections[slot].repliesInSend
        let count = connections[slot].replies.count
        guard !connections[slot].isSending else { return }
        for number in first..<count { noteLeft(connections[slot].replies[number]) }
        connections[slot].removeReplies(first: count)
        goOnAfterSending()
        while let place = connections[slot].returned.popFirst(&requests) { releaseRequest(place) }
    }
}

/// Sending pages of the page cache through a pipe (PagePipe): nobody copies them on this side.
extension Loop {
    /// Sends what was gathered, through the pipe: as much as the socket takes now.
    ///
    /// - Returns: whether it was all, or can be no more. If not, the rest follows when there is room, or the connection
    ///   is over.
    private mutating func sendSpliced(_ slot: ConnectionSlot) -> Bool {
        while connections[slot].message.byteCount > 0 {
            guard fillPipe(slot) else {
                pipe.empty()
                return sendUnsentAgain(slot)
            }
            let (sent, end) = pipe.send(to: connections[slot].descriptor)
            noteSent(sent, slot)
            connections[slot].message.skip(sent)
            switch end {
            case .done: continue
            case .full:
                connections[slot].isSending = true
                sendsUnderWay += 1
                ring.awaitRoom(connections[slot].descriptor, userData: Token(.room, slot).userData)
            case .unable:
                connections[slot].crossing.refusesSplice = true
                return sendUnsentAgain(slot)
            case .lost(let code):
                noteLost(slot, code)
                releaseSentReplies(slot)
                abort(slot, .lost)
            }
            return false
        }
        releaseSentReplies(slot)
        return true
    }

    private mutating func sendUnsentAgain(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].phase != .closing else {
            releaseSentReplies(slot)
            return false
        }
        _ = readUnsentAgain(slot)
        return !connections[slot].isSending
    }

    /// Puts headers and data into the pipe, as many as it takes and as there are.
    ///
    /// - Returns: false when some of the data are not to be had.
    private mutating func fillPipe(_ slot: ConnectionSlot) -> Bool {
        let first = connections[slot].replies[0]
        let cache = exports[requests[first].unit].pageCache(ofFile: requests[first].file)
        for part in connections[slot].message.parts {
            let bytes = connections[slot].message[part]
            let filling = cache?.add(bytes, to: &pipe) ?? pipe.add(bytes)
            switch filling {
            case .complete: continue
            case .full: return true
            case .missing: return false
            }
        }
        return true
    }

    /// There is room in the socket again, or it is of no more use.
    mutating func sendMore(on slot: ConnectionSlot) {
        connections[slot].isSending = false
        sendsUnderWay -= 1
        if connections[slot].phase == .closing {
            releaseSentReplies(slot)
        } else {
            _ = settleSend(slot)
            queueSend(slot)
            pump(slot)
        }
        finishIfIdle(slot)
    }
}

extension ReplyLayout {
    /// The number of all bytes that it has to send.
    fileprivate var byteCount: Int {
        var byteCount = 0
        for number in 0..<count { byteCount += parts[number].headerBytes + parts[number].dataBytes }
        return byteCount
    }
}
