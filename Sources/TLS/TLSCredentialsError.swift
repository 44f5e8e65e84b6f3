// Why certificates or keys cannot be used, in words that say what would be right.

import CGnuTLS
import Glibc

/// Credentials could not be loaded or made.
public enum TLSCredentialsError: Error, Equatable, CustomStringConvertible {
    /// open(2), read(2), write(2) or mkdir(2) failed.
    case file(path: String, action: String, errno: Int32)
    /// The path leads to a directory, a FIFO, a device.
    case noFile(path: String)
    /// The file is there, but GnuTLS has an objection.
    case unusable(path: String, code: Int32)
    /// The server's own certificate is not valid at this time; `expired` or not yet.
    case notValidNow(path: String, expired: Bool)
    /// A line of a file of pre-shared keys is not `USER:HEXKEY`.
    case keyLine(path: String, line: Int, reason: String)
    /// There is no key in the file.
    case noKeys(path: String)
    /// A line of a file of CHAP's secrets that is none.
    case secretLine(path: String, line: Int, reason: String)
    /// A file of CHAP's secrets without one.
    case noSecrets(path: String)
    /// The file has keys, but none of this user.
    case noKey(user: String, path: String)
    /// A file that would be made is there already.
    case exists(path: String)
    /// A name that cannot stand in a certificate or a file of keys.
    case unsuitableName(String, reason: String)
    /// GnuTLS could not make a key or a certificate.
    case cannotMake(what: String, code: Int32)

    /// The failure and the right way.
    public var description: String {
        switch self {
        case .file(let path, let action, let code):
            return unsafe "cannot \(action) '\(path)': \(String(cString: strerror(code)))" + Self.hint(code, action)
        case .unusable(let path, GNUTLS_E_CERTIFICATE_KEY_MISMATCH):
            return "the key in '\(path)' is not that of server-cert.pem"
        case .noFile(let path):
            return "'\(path)' is no regular file"
        case .unusable(let path, GNUTLS_E_DECRYPTION_FAILED):
            return "the key in '\(path)' is encrypted, and there is no way to ask for its password: "
                + "'openssl pkey -in \(path) -out FILE' makes one that is not"
        case .unusable(let path, let code):
            return "'\(path)' cannot be used: \(Self.words(code))"
        case .notValidNow(let path, let expired):
            return "the certificate '\(path)' \(expired ? "has expired" : "is not valid yet"); "
                + "clients would refuse it"
        case .keyLine(let path, let line, let reason):
            return "line \(line) of '\(path)' is not USER:HEXKEY, as psktool writes it: \(reason)"
        case .secretLine(let path, let line, let reason):
            return "line \(line) of '\(path)': \(reason)"
        case .noSecrets(let path):
            return "there is no secret in '\(path)'; its lines are NAME:SECRET"
        case .noKeys(let path):
            return "there is no key in '\(path)'; 'psktool -u USER -p \(path)' adds one"
        case .noKey(let user, let path):
            return "there is no key of the user '\(user)' in '\(path)'"
        case .exists(let path):
            return "'\(path)' exists and is not overwritten; choose another directory"
        case .unsuitableName(let name, let reason):
            return "the name '\(name)' cannot be used: \(reason)"
        case .cannotMake(let what, let code):
            return "cannot make \(what): \(Self.words(code))"
        }
    }

    private static func words(_ code: Int32) -> String {
        guard let text = unsafe gnutls_strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }

    private static func hint(_ code: Int32, _ action: String) -> String {
        guard code == ENOENT, action == "read" else { return "" }
        return "; 'spindle tls-keys DIR' makes a set of keys and certificates"
    }
}
