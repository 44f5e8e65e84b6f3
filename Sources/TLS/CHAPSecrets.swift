// Secrets for CHAP, and its hashes (RFC 1994; RFC 7143, 12.1): files of NAME:SECRET, read once.

import CGnuTLS

/// The secrets of initiators, and the target's own.
public struct CHAPSecrets: Sendable {
    /// Somebody's name and secret.
    public struct Entry: Equatable, Sendable {
        /// CHAP_N.
        public let name: String
        /// The secret that only the two sides know.
        public let secret: [UInt8]
    }

    /// The shortest secret: RFC 7143, 9.2.1 wants 96 bits.
    public static let minimumBytes = 12

    /// By the name that an initiator says it has.
    public let initiators: [String: [UInt8]]
    /// The target's proof of itself, for initiators that ask; nil: it has none.
    public private(set) var target: Entry?
    /// Files that everybody can read, in words.
    public private(set) var warnings: [String]

    /// Reads the secrets of initiators, lines of NAME:SECRET.
    public init(initiators path: String) throws(TLSCredentialsError) {
        var initiators: [String: [UInt8]] = [:]
        for (number, entry) in try Self.entries(of: path) {
            guard initiators.updateValue(entry.secret, forKey: entry.name) == nil else {
                throw .secretLine(path: path, line: number, reason: "the name has a secret already")
            }
        }
        guard !initiators.isEmpty else { throw .noSecrets(path: path) }
        warnings = exposure(of: path).map { [$0] } ?? []
        self.initiators = initiators
    }

    /// Reads the target's own secret, one line.
    public mutating func readTarget(_ path: String) throws(TLSCredentialsError) {
        let entries = try Self.entries(of: path)
        guard let own = entries.first else { throw .noSecrets(path: path) }
        guard entries.count == 1 else {
            throw .secretLine(path: path, line: entries[1].0, reason: "the target has one name and one secret")
        }
        // Else an initiator could have the target answer its own question.
        guard !initiators.values.contains(own.1.secret) else {
            throw .secretLine(path: path, line: own.0, reason: "the target's secret is an initiator's, too")
        }
        target = own.1
        if let warning = exposure(of: path) { warnings.append(warning) }
    }

    /// Whether nobody notices that these have come in the others' place.
    public func isSame(as other: CHAPSecrets) -> Bool { initiators == other.initiators && target == other.target }

    private static func bytes(of path: String) throws(TLSCredentialsError) -> [UInt8] {
        do {
            return try readFile(path)
        } catch {
            // No command makes such a file.
            guard case .file(_, _, let code) = error else { throw error }
            throw .file(path: path, action: "read the secrets in", errno: code)
        }
    }

    private static func entries(of path: String) throws(TLSCredentialsError) -> [(Int, Entry)] {
        var entries: [(Int, Entry)] = []
        var number = 0
        for line in try bytes(of: path).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if line.isEmpty || line.first == UInt8(ascii: "#") { continue }
            // iSCSI names have colons, so the secret is behind the last one.
            guard let colon = line.lastIndex(of: UInt8(ascii: ":")), colon != line.startIndex,
                let name = String(validating: line[..<colon], as: UTF8.self)
            else {
                throw .secretLine(
                    path: path, line: number, reason: "it is no NAME:SECRET: there is no colon, or no name before it")
            }
            let secret = Array(line[(colon + 1)...])
            guard secret.count >= minimumBytes else {
                throw .secretLine(
                    path: path, line: number,
                    reason: "the secret has \(secret.count) bytes, and has to have \(minimumBytes) at least")
            }
            entries.append((number, Entry(name: name, secret: secret)))
        }
        return entries
    }
}

/// A hash of CHAP.
public enum Digest: Sendable {
    case md5
    case sha1
    case sha256

    /// The hash of bytes; nil where this system does not have it, as in FIPS mode.
    public func of(_ bytes: [UInt8]) -> [UInt8]? {
        let algorithm =
            switch self {
            case .md5: GNUTLS_DIG_MD5
            case .sha1: GNUTLS_DIG_SHA1
            case .sha256: GNUTLS_DIG_SHA256
            }
        var hash = [UInt8](repeating: 0, count: Int(gnutls_hash_get_len(algorithm)))
        return unsafe gnutls_hash_fast(algorithm, bytes, bytes.count, &hash) == 0 ? hash : nil
    }
}

/// Whether two secrets are the same; how long that takes does not tell where they differ.
public func isSameSecret(_ first: [UInt8], _ second: [UInt8]) -> Bool {
    first.count == second.count && (unsafe gnutls_memcmp(first, second, first.count) == 0)
}
