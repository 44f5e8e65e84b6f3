// Application data: records in, plaintext out, and back (RFC 8446, 5; RFC 5246, 6.2). This is the path of each request.

import CGnuTLS

/// The result of decrypting.
public struct TLSDecryption: Equatable, Sendable {
    /// How the session is after it.
    public enum State: Equatable, Sendable {
        /// All ciphertext is consumed, or there is no room for more plaintext.
        case open
        /// The client has sent close_notify: no more plaintext will come. A socket that ends without it was cut off.
        case closedByClient
        /// The session is at its end. The plaintext before it is genuine.
        case failed(TLSFailure)
    }

    /// Bytes of ciphertext that are done with.
    public var consumed: Int
    /// Bytes of plaintext.
    public var count: Int
    /// The state of the session.
    public var state: State
}

extension TLSSession {
    /// Decrypts into `plaintext` what was received, until one of them is used up.
    ///
    /// The rest of a record that did not fit stays in the session: when `plaintext` was filled, call again, even with
    /// no ciphertext left.
    public mutating func decrypt(_ ciphertext: RawSpan, into plaintext: inout MutableRawSpan) -> TLSDecryption {
        switch phase {
        case .open: break
        case .closedByClient: return TLSDecryption(consumed: ciphertext.byteCount, count: 0, state: .closedByClient)
        case .failed(let failure): return TLSDecryption(consumed: 0, count: 0, state: .failed(failure))
        case .handshake: preconditionFailure("there are no records before the end of the handshake")
        }
        var count = 0
        var result = 0
        let consumed = unsafe ciphertext.withUnsafeBytes { bytes in
            unsafe transport.pointee.lend(bytes)
            unsafe plaintext.withUnsafeMutableBytes { target in
                while let start = target.baseAddress, count < target.count {
                    let before = unsafe transport.pointee.inputConsumed
                    result = unsafe gnutls_record_recv(session, start + count, target.count - count)
                    if result > 0 {
                        count += result
                    } else if unsafe !transport.pointee.mayGoOn(after: result, since: before) {
                        break
                    }
                }
            }
            return unsafe transport.pointee.takeBack()
        }
        return TLSDecryption(
            consumed: consumed, count: count, state: state(after: result, isFull: count == plaintext.byteCount))
    }

    private mutating func state(after result: Int, isFull: Bool) -> TLSDecryption.State {
        if isFull || result > 0 { return .open }
        switch Int32(truncatingIfNeeded: result) {
        case GNUTLS_E_AGAIN, GNUTLS_E_INTERRUPTED, GNUTLS_E_WARNING_ALERT_RECEIVED:
            return .open
        case 0:
            phase = .closedByClient
            return .closedByClient
        case let code:
            return .failed(fail(code))
        }
    }

    /// Plaintext that is decrypted and was not taken yet.
    public var hasPlaintext: Bool {
        unsafe gnutls_record_check_pending(session) > 0
    }

    /// Encrypts plaintext into the output, as far as there is room. Less than a record's worth waits for more, so that
    /// a reply's header and its data share one; ``endRecord()`` says that no more comes.
    ///
    /// - Returns: how many bytes were taken. Fewer than all means that output has to be sent and removed first, or that
    ///   the session has failed.
    public mutating func encrypt(_ plaintext: RawSpan) -> Int {
        guard phase == .open || phase == .closedByClient else { return 0 }
        return unsafe plaintext.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            var taken = 0
            while taken < bytes.count {
                // Plaintext is staged only where the record that it begins has room.
                guard stagedCount > 0 || hasRoomForRecord else { break }
                let left = bytes.count - taken
                if stagedCount == 0 && left >= recordBytes {
                    let count = recordBytes
                    guard unsafe send(start + taken, count) else { break }
                    taken += count
                } else {
                    let count = min(left, recordBytes - stagedCount)
                    unsafe (staged + stagedCount).copyMemory(from: start + taken, byteCount: count)
                    stagedCount += count
                    taken += count
                    if stagedCount == recordBytes { endRecord() }
                }
            }
            return taken
        }
    }

    /// Encrypts plaintext that waits for more.
    public mutating func endRecord() {
        guard stagedCount > 0 else { return }
        let count = stagedCount
        stagedCount = 0
        _ = unsafe send(staged, count)
    }

    /// Says that no more plaintext will be sent (close_notify). The client may still send.
    public mutating func close() {
        guard phase == .open || phase == .closedByClient else { return }
        endRecord()
        unsafe gnutls_bye(session, GNUTLS_SHUT_WR)
    }

    private var hasRoomForRecord: Bool {
        unsafe transport.pointee.outputRoom >= recordBytes + Self.recordOverheadBytes + Self.reserveBytes
    }

    /// Makes a record, or several if the client turns out to want them smaller.
    ///
    /// - Returns: false when the session has failed.
    private mutating func send(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        var sent = 0
        while sent < count {
            let result = unsafe gnutls_record_send(session, bytes + sent, count - sent)
            guard result > 0 else {
                _ = fail(result < 0 ? Int32(truncatingIfNeeded: result) : GNUTLS_E_INTERNAL_ERROR)
                return false
            }
            if result < count - sent { recordBytes = result }
            sent += result
        }
        return true
    }
}
