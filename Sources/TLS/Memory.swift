// Bytes from files, and bytes as GnuTLS takes them.

import CGnuTLS
import Glibc

/// All bytes of a file. Keys and certificates are small: a file of more than a megabyte is something else.
/// Another than a regular file is not read: there might be no end to it.
func readFile(_ path: String) throws(TLSCredentialsError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw .file(path: path, action: "read", errno: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw .file(path: path, action: "read", errno: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .noFile(path: path) }
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

/// A mistake in the permissions of a file with secrets.
func exposure(of path: String) -> String? {
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IROTH != 0 else { return nil }
    return "every user of this machine can read the keys in '\(path)': 'chmod o= \(path)' keeps them secret"
}

/// Lends an array to GnuTLS, which does not change it.
func withDatum<Result>(_ bytes: [UInt8], _ body: (inout gnutls_datum_t) -> Result) -> Result {
    unsafe bytes.withUnsafeBufferPointer {
        var datum = unsafe gnutls_datum_t(
            data: UnsafeMutablePointer(mutating: $0.baseAddress), size: UInt32($0.count))
        return unsafe body(&datum)
    }
}
