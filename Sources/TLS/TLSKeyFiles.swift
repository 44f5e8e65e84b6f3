// A start for people who have no keys yet: a file of pre-shared keys, and a small certificate authority with a
// certificate for a server and one for a client, under the names that nbdkit, libnbd and QEMU look for.

import CGnuTLS
import Glibc

/// New files of keys and certificates in a directory. Existing files are never overwritten.
public struct TLSKeyFiles {
    /// Where they will be.
    public let directory: String
    private var files: [(name: String, bytes: [UInt8])] = []

    /// The file of pre-shared keys, as QEMU wants it named.
    public static let preSharedKeyFile = "keys.psk"

    /// Files for a directory, which need not be there yet.
    public init(directory: String) {
        self.directory = directory
    }

    /// Adds a file with a key of 256 random bits for a user.
    public mutating func addPreSharedKey(user: String) throws(TLSCredentialsError) {
        guard !user.isEmpty, !user.hasPrefix("#"), !user.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: ":") })
        else {
            throw .unsuitableName(user, reason: "a user of a pre-shared key has no colon and does not begin with '#'")
        }
        var key = [UInt8](repeating: 0, count: 32)
        let result = unsafe gnutls_rnd(GNUTLS_RND_KEY, &key, key.count)
        guard result == 0 else { throw .cannotMake(what: "a key", code: result) }
        let digits = Array("0123456789abcdef".utf8)
        let text = key.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        files.append((Self.preSharedKeyFile, Array(user.utf8) + [UInt8(ascii: ":")] + text + [UInt8(ascii: "\n")]))
    }

    /// Adds a certificate authority and what it signs.
    ///
    /// - Parameters:
    ///   - hosts: names and addresses under which clients reach the server; the first is its common name too.
    ///   - client: the common name of the client.
    ///   - days: for how long all of it is valid.
    public mutating func addCertificates(hosts: [String], client: String, days: Int) throws(TLSCredentialsError) {
        precondition(!hosts.isEmpty, "a server has a name")
        let period = ValidityPeriod(days: days)
        let authority = try MadeCertificate(commonName: "Spindle certificate authority", period, .authority)
        try authority.sign(by: authority)
        let server = try MadeCertificate(commonName: hosts[0], period, .server(hosts: hosts))
        try server.sign(by: authority)
        let user = try MadeCertificate(commonName: client, period, .client)
        try user.sign(by: authority)
        files += try [
            ("ca-cert.pem", authority.certificateText()), ("ca-key.pem", authority.keyText()),
            ("server-cert.pem", server.certificateText()), ("server-key.pem", server.keyText()),
            ("client-cert.pem", user.certificateText()), ("client-key.pem", user.keyText()),
        ]
    }

    /// Writes all of the files, or none. The directory is made if it is not there; like the files it is for its owner
    /// alone.
    public func write() throws(TLSCredentialsError) {
        if unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw .file(path: directory, action: "make", errno: errno)
        }
        for file in files where unsafe access(path(file.name), F_OK) == 0 { throw .exists(path: path(file.name)) }
        var written: [String] = []
        do {
            for file in files {
                try create(path(file.name), file.bytes)
                written.append(path(file.name))
            }
        } catch {
            for path in written { unsafe unlink(path) }
            throw error
        }
    }

    private func create(_ path: String, _ bytes: [UInt8]) throws(TLSCredentialsError) {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw errno == EEXIST ? .exists(path: path) : .file(path: path, action: "write", errno: errno)
        }
        defer { close(descriptor) }
        // So small a write to a file is done at once or not at all.
        guard unsafe Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
            let code = errno
            unsafe unlink(path)
            throw .file(path: path, action: "write", errno: code)
        }
    }

    private func path(_ name: String) -> String { directory + "/" + name }
}
