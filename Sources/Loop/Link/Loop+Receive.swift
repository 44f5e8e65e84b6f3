// Bytes come, for the session or, as a payload, for a request.

import Glibc
import IOUring
import Logging

extension Loop {
    /// Arms the receive of a connection; it goes on until there are no free buffers.
    mutating func receive(_ slot: ConnectionSlot) {
        connections[slot].isReceiving = true
        ring.receiveMultishot(
            connections[slot].descriptor, group: connections[slot].group.group,
            userData: Token(.receive, slot).userData)
    }

    /// A receive has brought bytes, or the end of them.
    mutating func received(_ completion: Completion, on slot: ConnectionSlot) {
        if !completion.hasMore { connections[slot].isReceiving = false }
        countReceived(completion.result)
        if completion.result > 0, let buffer = completion.buffer {
            noteReceivePages(slot)
            connections[slot].append(ReceivedChunk(buffer: buffer, start: 0, end: completion.result))
            // Bytes that nobody will look at do not keep a connection.
            if connections[slot].phase != .draining { connections[slot].lastProgress = now }
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

    /// A receive has brought bytes, or has ended for want of room for them.
    private func countReceived(_ result: Int32) {
        if result > 0 {
            counters[.receivedBytes].add(UInt64(result))
        } else if result == -ENOBUFS {
            counters[.buffersExhausted].add()
        }
    }

    /// Arms the receive again when it has ended for want of buffers and there are some.
    mutating func resumeReceiving(_ slot: ConnectionSlot) {
        let phase = connections[slot].phase
        let isReading = phase == .handshake || phase == .transmission || connections[slot].awaitsEndOfFile
        guard isReading && phase != .closing, !connections[slot].isReceiving, connections[slot].destination == nil,
            !connections[slot].isAtEndOfFile,
            connections[slot].receivedCount < Int(Limits.receiveBuffers)
        else { return }
        if phase == .transmission, connections[slot].receiving != .asTheyCome {
            awaitInput(slot)
        } else {
            receive(slot)
        }
    }

    /// Once a second: asks again for the end of what a client sends. Linux may leave a multishot receive asleep where
    /// the end comes together with the last bytes (axboe/liburing issue 1549), and then the receive would keep the
    /// connection for ever. The next receive begins with the end.
    mutating func noticeMissedEnd(_ slot: ConnectionSlot) {
        guard connections[slot].isReceiving, connections[slot].receiving != .exactly,
            LinuxFile.sendsNoMore(connections[slot].descriptor)
        else { return }
        cancelReceive(slot)
    }

    /// The ring's receive under way ends.
    mutating func cancelReceive(_ slot: ConnectionSlot) {
        ring.cancel(Token(.receive, slot).userData, userData: Token(.cancelled).userData)
    }

    /// The client sends no more. The loop still does and answers its complete requests.
    private mutating func endOfFile(_ slot: ConnectionSlot) {
        switch connections[slot].phase {
        case .handshake:
            abort(slot, .closed)
        case .transmission:
            connections[slot].isAtEndOfFile = true
            pump(slot)
        case .draining, .closing, .free:
            // It may still read the replies to what it has asked.
            connections[slot].awaitsEndOfFile = false
        }
    }

    /// Ends a connection whose client sends no more, once everything received is parsed. A request that waits for
    /// memory is complete.
    private mutating func drainAtEndOfFile(_ slot: ConnectionSlot) {
        guard connections[slot].phase == .transmission, connections[slot].isAtEndOfFile,
            !connections[slot].hasUnparsed, !isHeldUp(slot)
        else { return }
        if isInsideRequest(slot) { note(.notice, "the client closed in the middle of a request", slot) }
        drain(slot, .closed)
    }

    /// Parses what has been received, as far as there is memory for it.
    mutating func pump(_ slot: ConnectionSlot) {
        while true {
            switch connections[slot].phase {
            case .handshake:
                guard advanceHandshake(slot) else { break }
                continue
            case .transmission:
                guard !connections[slot].isFenced, serveReturned(slot), advance(slot) else { break }
                if hasReplyToSend { sendAtOnce(slot) }
                continue
            case .draining, .closing, .free:
                // Bytes behind DISC are ignored.
                connections[slot].dropReceived()
                if connections[slot].phase == .draining { _ = serveReturned(slot) }
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

    /// Goes on before an export is open.
    ///
    /// - Returns: false when nothing more can be done now.
    private mutating func advanceHandshake(_ slot: ConnectionSlot) -> Bool {
        if connections[slot].isStartingTLS { return beginTLS(slot) }
        if connections[slot].isSecure, !connections[slot].link.isOpen { return advanceTLS(slot) }
        // A client that asks without reading the answers waits until it has read them.
        guard connections[slot].wordBytes < Limits.receiveBufferBytes else { return false }
        return advance(slot)
    }
}

/// Receiving no more than what is waited for (``Receiving/exactly``).
extension Loop {
    /// After so many other requests in a row, receiving whatever comes costs less again.
    private static let othersInARow = 32
    /// Then it is another connection's turn.
    private static let headersInARow = 8
    /// The missing part of a header is never more.
    static let largestHeaderBytes = 32

    /// A request has come. After one whose payload could go through a pipe, others like it are expected.
    mutating func chooseReceiving(expectsPipe: Bool, _ slot: ConnectionSlot) {
        guard expectsPipe else {
            noteOther(slot)
            return
        }
        connections[slot].othersInARow = 0
        guard connections[slot].receiving == .asTheyCome else { return }
        connections[slot].receiving = .ending
        if connections[slot].isReceiving { cancelReceive(slot) }
    }

    private mutating func noteOther(_ slot: ConnectionSlot) {
        guard connections[slot].receiving == .exactly else { return }
        connections[slot].othersInARow += 1
        if connections[slot].othersInARow >= Self.othersInARow {
            connections[slot].receiving = .asTheyCome
        }
    }

    /// Waits until the socket has something, if that could be taken now.
    mutating func awaitInput(_ slot: ConnectionSlot) {
        connections[slot].receiving = .exactly
        guard !isHeldUp(slot), connections[slot].receivedCount == 0 && !connections[slot].isFenced else { return }
        connections[slot].isReceiving = true
        ring.awaitInput(connections[slot].descriptor, userData: Token(.input, slot).userData)
    }

    /// The socket has something, or its end.
    mutating func inputCame(on slot: ConnectionSlot) {
        connections[slot].isReceiving = false
        if connections[slot].receiving == .exactly {
            connections[slot].mayHaveInput = true
            connections[slot].isInputNew = true
            connections[slot].headersLeft = Self.headersInARow
        }
        pump(slot)
        resumeReceiving(slot)
        finishIfIdle(slot)
    }

    /// Receives what is missing of a header.
    ///
    /// - Returns: whether there was any of it.
    mutating func receiveMissing(_ count: Int, _ slot: ConnectionSlot) -> Bool {
        guard count <= Self.largestHeaderBytes else {
            // A payload that nobody wants.
            connections[slot].receiving = .asTheyCome
            return false
        }
        guard connections[slot].mayBeAsked else { return false }
        if !isInsideRequest(slot) {
            guard connections[slot].headersLeft > 0 else {
                connections[slot].mayHaveInput = false
                return false
            }
            connections[slot].headersLeft -= 1
        }
        let bytes = unsafe headerRoom.range[0..<count]
        let received = noteInput(LinuxFile.receive(connections[slot].descriptor, into: bytes), slot)
        guard received > 0 else { return false }
        return bytes[0..<received].withBytes { advance(with: $0, slot) }
    }

    /// Whether something has come that was not looked at, or the end of it.
    mutating func findsInput(_ slot: ConnectionSlot) -> Bool {
        if connections[slot].hasUnparsed { return true }
        guard connections[slot].mayBeAsked else { return false }
        if connections[slot].isInputNew || LinuxFile.receivedBytes(connections[slot].descriptor) > 0 { return true }
        connections[slot].mayHaveInput = false
        return false
    }

    /// Receives what is missing of a payload, to where it belongs.
    ///
    /// - Returns: how many bytes it was.
    mutating func receivePayload(into target: MemoryRange, _ slot: ConnectionSlot) -> Int {
        guard connections[slot].mayBeAsked else { return 0 }
        return noteInput(LinuxFile.receive(connections[slot].descriptor, into: target), slot)
    }

    /// Something was received, or the end of it, or nothing.
    ///
    /// - Parameter result: of recv(2).
    /// - Returns: how many bytes it was.
    mutating func noteInput(_ result: Int, _ slot: ConnectionSlot) -> Int {
        if result > 0 {
            connections[slot].isInputNew = false
            connections[slot].lastProgress = now
            connections[slot].receivedBytes &+= UInt64(result)
            counters[.receivedBytes].add(UInt64(result))
            return result
        }
        let code = errno
        connections[slot].mayHaveInput = false
        if result == 0 {
            connections[slot].isAtEndOfFile = true
        } else if code != EAGAIN && code != EINTR {
            noteLost(slot, code)
            abort(slot, .lost)
        }
        return 0
    }
}
