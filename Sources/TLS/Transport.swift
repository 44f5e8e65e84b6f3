// The wire that GnuTLS believes it reads and writes: memory. Its pull function takes from bytes that were received, its
// push function appends to a buffer of a fixed size.

import CGnuTLS
import Glibc

/// The argument of GnuTLS's transport functions; it stays in one place for the life of a session.
@safe
struct Transport {
    /// The session, to tell it an errno.
    let session: gnutls_session_t
    /// Received bytes, for the time of one call.
    var input: UnsafeRawPointer?
    var inputCount = 0
    var inputConsumed = 0
    /// Ciphertext to be sent: what lies between head and tail.
    let output: UnsafeMutableRawPointer
    let outputCapacity: Int
    var outputHead = 0
    var outputTail = 0
    /// GnuTLS's own output is thrown away: the kernel makes the records.
    var isMute = false

    init(session: gnutls_session_t, output: UnsafeMutableRawPointer, outputCapacity: Int) {
        unsafe self.session = session
        unsafe self.output = unsafe output
        self.outputCapacity = outputCapacity
        unsafe input = nil
    }

    /// Bytes that can be appended.
    var outputRoom: Int { outputCapacity - outputTail }

    /// Lends received bytes to GnuTLS.
    mutating func lend(_ bytes: UnsafeRawBufferPointer) {
        unsafe input = bytes.baseAddress
        inputCount = bytes.count
        inputConsumed = 0
    }

    /// Takes them back.
    ///
    /// - Returns: how many of them GnuTLS has taken; it never needs to see those again.
    mutating func takeBack() -> Int {
        unsafe input = nil
        inputCount = 0
        return inputConsumed
    }

    /// Whether a call that has ended with `result` is to be repeated. A warning is only the client's opinion, and after
    /// a message of its own, like a key update, GnuTLS says "again" though there may be more to read. Each took a
    /// record, so that this ends with the bytes.
    func mayGoOn(after result: Int, since consumedBefore: Int) -> Bool {
        let isPassing = result == Int(GNUTLS_E_WARNING_ALERT_RECEIVED) || result == Int(GNUTLS_E_AGAIN)
        return isPassing && inputConsumed > consumedBefore && inputConsumed < inputCount
    }

    /// Copies received bytes to GnuTLS, which asks for a record's header, then for exactly the rest of it.
    fileprivate mutating func pull(_ target: UnsafeMutableRawPointer?, _ wanted: Int) -> Int {
        let count = min(wanted, inputCount - inputConsumed)
        guard count > 0, let target = unsafe target, let input = unsafe input else {
            unsafe gnutls_transport_set_errno(session, EAGAIN)
            return -1
        }
        unsafe target.copyMemory(from: input + inputConsumed, byteCount: count)
        inputConsumed += count
        return count
    }

    /// Appends what GnuTLS sends, a record at a time: all of it or nothing.
    fileprivate mutating func push(_ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
        guard !isMute else { return count }
        guard let bytes = unsafe bytes, count <= outputRoom else {
            unsafe gnutls_transport_set_errno(session, ENOBUFS)
            return -1
        }
        unsafe (output + outputTail).copyMemory(from: bytes, byteCount: count)
        outputTail += count
        return count
    }
}

/// Makes a session read from and write to a ``Transport``.
func setTransport(_ transport: UnsafeMutablePointer<Transport>, of session: gnutls_session_t) {
    unsafe gnutls_transport_set_ptr(session, transport)
    unsafe gnutls_transport_set_pull_function(session) { pointer, bytes, count in
        guard let pointer = unsafe pointer else { return -1 }
        return unsafe pointer.assumingMemoryBound(to: Transport.self).pointee.pull(bytes, count)
    }
    unsafe gnutls_transport_set_push_function(session) { pointer, bytes, count in
        guard let pointer = unsafe pointer else { return -1 }
        return unsafe pointer.assumingMemoryBound(to: Transport.self).pointee.push(bytes, count)
    }
    // GnuTLS's own would poll the transport's pointer as a descriptor.
    unsafe gnutls_transport_set_pull_timeout_function(session) { pointer, _ in
        guard let pointer = unsafe pointer else { return -1 }
        let transport = unsafe pointer.assumingMemoryBound(to: Transport.self)
        return unsafe transport.pointee.inputConsumed < transport.pointee.inputCount ? 1 : 0
    }
}
