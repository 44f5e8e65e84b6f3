// A file of pre-shared keys as psktool writes it: lines of USER:HEXKEY. It is read once; GnuTLS by itself would read
// it in each handshake, which blocks.

/// Keys by user name.
struct PreSharedKeys: Sendable {
    private let keys: [[UInt8]: [UInt8]]

    /// Reads the contents of the file at `path`, which is only named in errors.
    init(_ contents: [UInt8], path: String) throws(TLSCredentialsError) {
        var keys: [[UInt8]: [UInt8]] = [:]
        var number = 0
        for line in contents.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if line.isEmpty { continue }
            func refused(_ reason: String) -> TLSCredentialsError { .keyLine(path: path, line: number, reason: reason) }
            // The key has no colon, a user name may.
            guard let colon = line.lastIndex(of: UInt8(ascii: ":")) else { throw refused("there is no colon") }
            guard let user = Self.user(line[..<colon]) else {
                throw refused("the user name is empty, is no UTF-8, or begins with '#' and is no hexadecimal")
            }
            guard let key = decodeHexadecimal(line[(colon + 1)...]), !key.isEmpty else {
                throw refused("the key is not pairs of hexadecimal digits")
            }
            guard keys.updateValue(key, forKey: user) == nil else { throw refused("the user has a key already") }
        }
        guard !keys.isEmpty else { throw .noKeys(path: path) }
        self.keys = keys
    }

    /// The key of a user.
    subscript(user: [UInt8]) -> [UInt8]? { keys[user] }

    /// GnuTLS writes names with unusual bytes as `#` and hexadecimal digits. Names that are not UTF-8 are refused, so
    /// that two of them never look the same to whoever decides on access.
    private static func user(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let name = text.first == UInt8(ascii: "#") ? decodeHexadecimal(text.dropFirst()) : Array(text)
        guard let name, !name.isEmpty, !name.contains(0), String(validating: name, as: UTF8.self) != nil else {
            return nil
        }
        return name
    }
}

/// The bytes that pairs of hexadecimal digits stand for; nil if it is something else.
private func decodeHexadecimal(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in text {
        guard let digit = Character(Unicode.Scalar(character)).hexDigitValue, character < 128 else { return nil }
        if let first = high {
            bytes.append(first << 4 | UInt8(digit))
            high = nil
        } else {
            high = UInt8(digit)
        }
    }
    return bytes
}
