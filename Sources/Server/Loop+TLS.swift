// TLS on the loop (NBD protocol, "TLS support"): its handshake between two options, then records instead of bytes.

import Glibc
import IOUring
import Logging
import NBD
import TLS

extension Loop {
    /// STARTTLS was answered: begins TLS once the answer, the last bytes in the clear, has been sent.
    ///
    /// - Returns: whether it has begun.
    mutating func beginTLS(_ slot: Int) -> Bool {
        guard unsafe connections[slot].handshakeOutput.isEmpty && !connections[slot].isSending else { return false }
        guard let settings = shared.tls else { preconditionFailure("STARTTLS is unknown without TLS") }
        let link = UnsafeMutablePointer<SecureLink>.allocate(capacity: 1)
        unsafe link.initialize(to: SecureLink(settings.credentials))
        unsafe connections[slot].secure = unsafe link
        unsafe connections[slot].isStartingTLS = false
        return true
    }

    /// Goes on with the TLS handshake.
    ///
    /// - Returns: whether it is over and options can be read.
    mutating func advanceTLS(_ link: UnsafeMutablePointer<SecureLink>, _ slot: Int) -> Bool {
        while true {
            let chunk = unsafe connections[slot].firstChunk ?? UnsafeRawBufferPointer(start: nil, count: 0)
            let (consumed, step) = unsafe link.pointee.session.handshake(RawSpan(_unsafeBytes: chunk))
            if consumed > 0 { unsafe connections[slot].consumeChunk(consumed) }
            queueSend(slot)
            switch step {
            case .needsMoreBytes:
                guard unsafe connections[slot].receivedCount > 0 else { return false }
            case .done:
                unsafe link.pointee.isOpen = true
                counters[.tlsHandshakes].add()
                unsafe connections[slot].identityName = link.pointee.session.client.name
                lookUpExports(slot)
                note(.debug, "TLS begun", slot, unsafe ["tls": "\(link.pointee.session.agreement)"])
                return true
            case .failed(let failure):
                counters[.tlsFailures].add()
                endTLS(slot, failure)
                return false
            }
        }
    }

    /// TLS has failed. There may be an alert for the client in the output, which it is to read before it is cut off: what
    /// it sends meanwhile is thrown away, because a socket that is closed with bytes unread loses what was sent.
    private mutating func endTLS(_ slot: Int, _ failure: TLSFailure) {
        note(.warning, "TLS failed", slot, ["reason": "\(failure)"])
        queueSend(slot)
        drain(slot, .tlsFailed)
        unsafe connections[slot].awaitsEndOfFile = !connections[slot].isAtEndOfFile
    }

    /// Looks whether the client's records have ended: well, which is like the end of file, or not. What was decrypted
    /// before a good end is parsed first; after a bad one nobody could read the replies.
    mutating func noticeEndOfTLS(_ slot: Int) {
        guard let link = unsafe connections[slot].secure, let end = unsafe link.pointee.end else { return }
        switch end {
        case .closedByClient:
            guard unsafe link.pointee.unparsed == nil else { return }
            // The socket's own end is still to be seen.
            unsafe connections[slot].dropReceived()
            if unsafe connections[slot].phase == .handshake {
                drain(slot, .closed)
            } else {
                unsafe connections[slot].isAtEndOfFile = true
            }
        case .failed(let failure):
            endTLS(slot, failure)
        }
    }

    /// Encrypts what is ready, as far as there is room, and sends it in one piece.
    mutating func sendRecords(_ link: UnsafeMutablePointer<SecureLink>, _ slot: Int) {
        if unsafe link.pointee.isOpen {
            unsafe encryptHandshake(link, slot)
            if unsafe connections[slot].handshakeOutput.isEmpty { unsafe encryptReplies(link, slot) }
            unsafe link.pointee.session.endRecord()
        }
        if let failure = unsafe link.pointee.session.failure {
            if unsafe connections[slot].phase != .draining { endTLS(slot, failure) }
            // What cannot be encrypted any more holds nothing up.
            unsafe connections[slot].handshakeOutput = []
            dropReplies(slot)
        }
        let output = unsafe link.pointee.session.output
        guard output.count > 0 else { return }
        unsafe connections[slot].vectors[0] = iovec(
            iov_base: UnsafeMutableRawPointer(mutating: output.baseAddress), iov_len: output.count)
        unsafe connections[slot].repliesInSend = 0
        submitSend(slot, vectorCount: 1, byteCount: output.count)
    }

    private mutating func encryptHandshake(_ link: UnsafeMutablePointer<SecureLink>, _ slot: Int) {
        let bytes = unsafe connections[slot].handshakeOutput
        guard !bytes.isEmpty else { return }
        let count = unsafe link.pointee.session.encrypt(bytes.span.bytes)
        unsafe connections[slot].handshakeOutput.removeFirst(count)
    }

    /// Encrypts replies in their order. One that is encrypted needs its memory no more.
    private mutating func encryptReplies(_ link: UnsafeMutablePointer<SecureLink>, _ slot: Int) {
        while unsafe connections[slot].replyCount > 0 {
            let request = unsafe connections[slot].reply(at: 0)
            guard unsafe encryptReply(place: self.slot(request, of: slot), link) else { return }
            unsafe link.pointee.encryptedBytes = 0
            unsafe connections[slot].removeReplies(1)
            releaseRequest(request, slot)
        }
    }

    /// - Returns: whether all of the reply is encrypted.
    private mutating func encryptReply(place: Int, _ link: UnsafeMutablePointer<SecureLink>) -> Bool {
        var header = unsafe headerArea + place * RequestSlot.headerAreaBytes
        var position = 0
        for number in unsafe 0..<requests[place].partCount {
            let part = unsafe requests[place].parts[number]
            guard unsafe encrypt(header, part.headerBytes, &position, link) else { return false }
            unsafe header += part.headerBytes
            guard part.dataBytes > 0, let buffer = unsafe requests[place].buffer else { continue }
            guard unsafe encrypt(buffer + part.dataOffset, part.dataBytes, &position, link) else { return false }
        }
        return true
    }

    /// Encrypts what is not yet of a piece of a reply that begins at `position` of it, and moves `position` to its end.
    private func encrypt(
        _ start: UnsafeMutableRawPointer, _ count: Int, _ position: inout Int, _ link: UnsafeMutablePointer<SecureLink>
    ) -> Bool {
        let skipped = max(0, min(count, unsafe link.pointee.encryptedBytes - position))
        position += count
        guard skipped < count else { return true }
        let rest = unsafe UnsafeRawBufferPointer(start: start + skipped, count: count - skipped)
        let taken = unsafe link.pointee.session.encrypt(RawSpan(_unsafeBytes: rest))
        unsafe link.pointee.encryptedBytes += taken
        return taken == rest.count
    }

    /// Once the last word of the TLS handshake has been sent, the kernel may take over what is sent. (MSG_WAITALL is
    /// unknown to it there.)
    mutating func askKernelToEncrypt(_ slot: Int) {
        guard let link = unsafe connections[slot].secure, unsafe link.pointee.isOpen,
            unsafe !link.pointee.hasAskedKernel && link.pointee.session.output.isEmpty
        else { return }
        unsafe link.pointee.hasAskedKernel = true
        guard unsafe connections[slot].peer.isRemote else { return }
        unsafe link.pointee.kernelEncrypts = link.pointee.session.letKernelEncrypt(connections[slot].descriptor)
        if unsafe link.pointee.kernelEncrypts {
            unsafe logger.debug("the kernel encrypts", metadata: ["client": "\(connections[slot].peer)"])
        }
    }

    /// Tells a client whose session ends that nothing more comes (close_notify), if it is not told yet.
    ///
    /// - Returns: whether there is something to send first.
    mutating func sayGoodbye(_ slot: Int) -> Bool {
        guard let link = unsafe connections[slot].secure, unsafe link.pointee.isOpen, unsafe !link.pointee.saidGoodbye
        else { return false }
        unsafe link.pointee.saidGoodbye = true
        guard unsafe connections[slot].encryptsHere else {
            unsafe link.pointee.session.closeThroughKernel(connections[slot].descriptor)
            return false
        }
        unsafe link.pointee.session.close()
        queueSend(slot)
        return true
    }
}
