// TLS on the loop (NBD protocol, "TLS support"): its handshake between two options, then records instead of bytes.

import Glibc
import IOUring
import Logging
import TLS

extension Loop {
    /// STARTTLS was answered: begins TLS once the answer, the last bytes in the clear, has been sent.
    ///
    /// - Returns: whether it has begun.
    mutating func beginTLS(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].words.isEmpty && !connections[slot].isSending else { return false }
        guard let settings = shared.tls else { preconditionFailure("STARTTLS is unknown without TLS") }
        connections[slot].beginTLS(settings.credentials)
        return true
    }

    /// Goes on with the TLS handshake.
    ///
    /// - Returns: whether it is over and options can be read.
    mutating func advanceTLS(_ slot: ConnectionSlot) -> Bool {
        while true {
            let step = connections[slot].advanceTLS()
            queueSend(slot)
            switch step {
            case .needsMoreBytes:
                guard connections[slot].receivedCount > 0 else { return false }
            case .done:
                connections[slot].link.isOpen = true
                counters[.tlsHandshakes].add()
                connections[slot].identityName = connections[slot].link.session.client.name
                lookUpChoices(slot)
                note(.debug, "TLS begun", slot, ["tls": "\(connections[slot].link.session.agreement)"])
                return true
            case .failed(let failure):
                counters[.tlsFailures].add()
                endTLS(slot, failure)
                return false
            }
        }
    }

    /// TLS has failed. There may be an alert for the client in the output, which it is to read before it is cut off:
    /// what it sends meanwhile is thrown away, because a socket that is closed with bytes unread loses what was sent.
    private mutating func endTLS(_ slot: ConnectionSlot, _ failure: TLSFailure) {
        note(.warning, "TLS failed", slot, ["reason": "\(failure)"])
        queueSend(slot)
        drain(slot, .tlsFailed)
        connections[slot].awaitsEndOfFile = !connections[slot].isAtEndOfFile
    }

    /// Looks whether the client's records have ended: well, which is like the end of file, or not. The session parses
    /// all that was decrypted before a good end. After a bad one nobody could read the replies.
    mutating func noticeEndOfTLS(_ slot: ConnectionSlot) {
        guard connections[slot].isSecure, let end = connections[slot].link.end else { return }
        switch end {
        case .closedByClient:
            guard !connections[slot].link.hasUnparsed else { return }
            // The socket's own end is still to be seen.
            connections[slot].dropReceived()
            if connections[slot].phase == .handshake {
                drain(slot, .closed)
            } else {
                connections[slot].isAtEndOfFile = true
            }
        case .failed(let failure):
            endTLS(slot, failure)
        }
    }

    /// Encrypts what is ready, as far as there is room, and sends it in one piece.
    mutating func sendRecords(_ slot: ConnectionSlot) {
        if connections[slot].link.isOpen {
            encryptWords(slot)
            if connections[slot].words.isEmpty { encryptReplies(slot) }
            connections[slot].link.session.endRecord()
        }
        if let failure = connections[slot].link.session.failure {
            if connections[slot].phase != .draining { endTLS(slot, failure) }
            // Words that cannot be encrypted any more hold nothing up.
            connections[slot].dropWords()
            dropReplies(slot)
        }
        guard connections[slot].link.session.hasOutput else { return }
        connections[slot].message.clear()
        connections[slot].message.append(connections[slot].link.output)
        connections[slot].repliesInSend = 0
        submitMessage(slot)
    }

    private mutating func encryptWords(_ slot: ConnectionSlot) {
        guard let words = connections[slot].words.first, words.repliesBefore == 0 else { return }
        let count = unsafe connections[slot].link.session.encrypt(words.bytes.span.bytes)
        connections[slot].removeWords(first: count)
    }

    /// Encrypts replies in their order. One that is encrypted needs its memory no more.
    private mutating func encryptReplies(_ slot: ConnectionSlot) {
        while connections[slot].replies.count > 0 {
            let place = connections[slot].replies[0]
            guard encryptReply(place) else { return }
            connections[slot].link.encryptedBytes = 0
            connections[slot].removeReplies(first: 1)
            releaseRequest(place)
        }
    }

    /// - Returns: whether all of the reply is encrypted.
    private mutating func encryptReply(_ place: RequestPlace) -> Bool {
        precondition(!requests[place].payload.isPageCache, "who looks at mapped pages may be ended by them")
        let headers = self.headers.bytes(of: place)
        var headersEnd = 0
        var position = 0
        for number in 0..<requests[place].reply.count {
            let (header, data) = requests[place].pieces(ofPart: number, headers, &headersEnd)
            guard connections[place.slot].link.encrypt(header, &position),
                connections[place.slot].link.encrypt(data, &position)
            else { return false }
        }
        return true
    }

    /// Once the last word of the TLS handshake has been sent, the kernel may take over what is sent. (MSG_WAITALL is
    /// unknown to it there.)
    mutating func askKernelToEncrypt(_ slot: ConnectionSlot) {
        guard connections[slot].isSecure, connections[slot].link.isOpen,
            !connections[slot].link.hasAskedKernel, !connections[slot].link.session.hasOutput
        else { return }
        connections[slot].link.hasAskedKernel = true
        guard connections[slot].crossing.mayAskKernel,
            connections[slot].link.session.letKernelEncrypt(connections[slot].descriptor)
        else { return }
        connections[slot].crossing.encryption = .kernel
        logger.debug("the kernel encrypts", metadata: ["client": "\(connections[slot].peer)"])
    }

    /// Tells a client whose session ends that nothing more comes (close_notify), if it is not told yet.
    ///
    /// - Returns: whether there is something to send first.
    mutating func sayGoodbye(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].isSecure, connections[slot].link.isOpen, !connections[slot].link.saidGoodbye
        else { return false }
        connections[slot].link.saidGoodbye = true
        guard connections[slot].encryptsHere else {
            connections[slot].link.session.closeThroughKernel(connections[slot].descriptor)
            return false
        }
        connections[slot].link.session.close()
        queueSend(slot)
        return true
    }
}
