// Bytes from files, and bytes as GnuTLS takes them.

import CGnuTLS
import Glibc

/// All bytes of a file. Keys and certificates are small: what is longer than a megabyte is something else.
func readFile(_ path: String) throws(TLSCredentialsError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .file(path: path, action: "read", errno: errno) }
    defer { close(descriptor) }
    let limit = 1 << 20
    var bytes = [UInt8](repeating: 0, count: limit)
    var filled = 0
    while filled < limit {
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe read(descriptor, $0.baseAddress! + filled, limit - filled)
        }
        guard count >= 0 else { throw .file(path: path, action: "read", errno: errno) }
        if count == 0 { return Array(bytes[..<filled]) }
        filled += count
    }
    throw .file(path: path, action: "read", errno: EFBIG)
}

/// Lends an array to GnuTLS, which does not change it.
func withDatum<Result>(_ bytes: [UInt8], _ body: (inout gnutls_datum_t) -> Result) -> Result {
    unsafe bytes.withUnsafeBufferPointer {
        var datum = unsafe gnutls_datum_t(
            data: UnsafeMutablePointer(mutating: $0.baseAddress), size: UInt32($0.count))
        return unsafe body(&datum)
    }
}
