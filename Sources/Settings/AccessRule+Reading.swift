// The keys of an element of `access`.

import Glibc
import Server

extension AccessRule {
    /// Reads a rule of an export or a directory; what is wrong goes to its reader.
    init?(_ value: SettingsValue, _ number: Int, _ parent: inout TableReader) {
        var reader = TableReader(value, .access, place: "\(parent.place).access \(number)", folder: nil)
        self.init(
            certificateName: reader.string("certificate"), preSharedKeyUser: reader.string("psk-user"),
            addresses: reader.parsed("address", AddressRange.init(parsing:)),
            user: reader.parsed("user", orNumber: true, userNumber))
        parent.add(reader.finish())
        if self == AccessRule(), reader.errors.isEmpty {
            let message = "a rule without a condition lets everybody in; leave it out, or say whom it lets in"
            parent.add([SettingsError(line: value.line, place: reader.place, message)])
        }
    }
}

/// A user by name or number.
private func userNumber(_ text: String) throws(SettingsError) -> UInt32 {
    if let number = UInt32(text) { return number }
    var entry = unsafe passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 1 << 16)
    unsafe getpwnam_r(text, &entry, &buffer, buffer.count, &found)
    guard unsafe found != nil else { throw SettingsError("there is no user '\(text)' here; a number will do, too") }
    return unsafe entry.pw_uid
}
