// Encryption by the kernel (Linux, Documentation/networking/tls.rst), where it has it: the server sends plaintext
// through the socket, and so without a copy of ours. GnuTLS still decrypts received bytes.

import CGnuTLS
import Glibc

extension TLSSession {
    /// Lets the kernel encrypt what is sent on a TCP socket from now on. All output has been sent, and no record has
    /// begun.
    ///
    /// GnuTLS's own messages (alerts, answers to a key update) are left out from then on: the kernel counts the
    /// records.
    ///
    /// - Returns: false when kernel or cipher suite do not take part; nothing has changed then.
    public mutating func letKernelEncrypt(_ descriptor: Int32) -> Bool {
        guard phase == .open, unsafe output.isEmpty, stagedCount == 0, let keys = sendingKeys else { return false }
        let protocolName = Array("tls".utf8)
        guard unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), Self.upperLayerProtocol, protocolName, 3) == 0,
            unsafe setsockopt(descriptor, Self.level, Self.transmit, keys, socklen_t(keys.count)) == 0
        else { return false }
        unsafe transport.pointee.isMute = true
        return true
    }

    /// Says that no more will be sent (close_notify), where the kernel encrypts.
    public func closeThroughKernel(_ descriptor: Int32) {
        // An alert's two bytes (RFC 8446, 6): warning, close_notify.
        var alert: [UInt8] = [1, 0]
        // struct cmsghdr: length, level, type; then the type of the record (RFC 8446, 5.1).
        var control = [UInt8](repeating: 0, count: 24)
        unsafe control.withUnsafeMutableBytes { bytes in
            unsafe bytes.storeBytes(of: 17, as: Int.self)
            unsafe bytes.storeBytes(of: Self.level, toByteOffset: 8, as: Int32.self)
            unsafe bytes.storeBytes(of: Self.setRecordType, toByteOffset: 12, as: Int32.self)
            unsafe bytes[16] = 21
        }
        unsafe alert.withUnsafeMutableBytes { alert in
            unsafe control.withUnsafeMutableBytes { control in
                var vector = unsafe iovec(iov_base: alert.baseAddress, iov_len: 2)
                unsafe withUnsafeMutablePointer(to: &vector) { vector in
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = unsafe vector
                    unsafe message.msg_iovlen = 1
                    unsafe message.msg_control = control.baseAddress
                    unsafe message.msg_controllen = 24
                    // A socket that is full has a client that does not read; it will miss this, too.
                    _ = unsafe sendmsg(descriptor, &message, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
                }
            }
        }
    }

    /// TCP_ULP, SOL_TLS, TLS_TX, TLS_SET_RECORD_TYPE.
    private static let upperLayerProtocol: Int32 = 31
    private static let level: Int32 = 282
    private static let transmit: Int32 = 1
    private static let setRecordType: Int32 = 1

    /// `struct tls12_crypto_info_*`: version, cipher, nonce, key, salt, number of the next record.
    private var sendingKeys: [UInt8]? {
        let version: UInt16
        switch unsafe gnutls_protocol_get_version(session) {
        case GNUTLS_TLS1_2: version = 0x303
        case GNUTLS_TLS1_3: version = 0x304
        default: return nil
        }
        var (macKey, nonce, key) = unsafe (gnutls_datum_t(), gnutls_datum_t(), gnutls_datum_t())
        var number = [UInt8](repeating: 0, count: 8)
        guard unsafe gnutls_record_get_state(session, 0, &macKey, &nonce, &key, &number) == 0 else { return nil }
        let (nonceBytes, keyBytes) = unsafe (nonce.bytes, key.bytes)
        let layout: (cipher: UInt16, keyCount: Int, saltCount: Int)
        switch unsafe gnutls_cipher_get(session) {
        case GNUTLS_CIPHER_AES_128_GCM: layout = (51, 16, 4)
        case GNUTLS_CIPHER_AES_256_GCM: layout = (52, 32, 4)
        case GNUTLS_CIPHER_CHACHA20_POLY1305: layout = (54, 32, 0)
        default: return nil
        }
        guard keyBytes.count == layout.keyCount, nonceBytes.count >= layout.saltCount else { return nil }
        let salt = nonceBytes.prefix(layout.saltCount)
        // TLS 1.2 has an explicit nonce in every record of GCM, for which GnuTLS takes the record's number, too.
        let isExplicit = version == 0x303 && layout.saltCount > 0
        let rest = isExplicit ? number : Array(nonceBytes.dropFirst(layout.saltCount))
        guard rest.count == 12 - layout.saltCount else { return nil }
        var keys: [UInt8] = []
        for value in [version, layout.cipher] { unsafe withUnsafeBytes(of: value) { unsafe keys += Array($0) } }
        return keys + rest + keyBytes + Array(salt) + number
    }
}

extension gnutls_datum_t {
    fileprivate var bytes: [UInt8] {
        unsafe Array(UnsafeBufferPointer(start: data, count: Int(size)))
    }
}
