// The keys of an element of `access`.

import ISCSI
import Listening
import Logs
import Loop
import Server

extension AccessRule {
    private static func initiatorName(_ text: String) throws(SettingsError) -> String {
        guard let name = Initiator.normalizedName(text) else {
            throw SettingsError("'\(text.visible)' is no name of an initiator, as in iqn.2026-11.org.example:host1")
        }
        return name
    }

    /// Reads the rules of an export, a directory or a target; mistakes go to its reader.
    static func read(_ reader: inout TableReader) -> [AccessRule] {
        let (isSaid, line) = (reader.has("access"), reader.line(of: "access"))
        let tables = reader.tables("access")
        if isSaid, tables.isEmpty, reader.errors.isEmpty {
            let message = "a list without a rule lets everybody in; leave it out, or say whom it lets in"
            reader.add("access", line: line, message)
        }
        return tables.enumerated().compactMap { AccessRule($0.element, $0.offset + 1, &reader) }
    }

    /// Reads a rule; mistakes go to the reader of the list.
    private init?(_ value: SettingsValue, _ number: Int, _ parent: inout TableReader) {
        var reader = TableReader(
            value, .access, place: "\(parent.place).access \(number)", folder: nil, users: parent.users)
        let users = parent.users
        self.init(
            certificateName: reader.string("certificate"), preSharedKeyUser: reader.string("psk-user"),
            addresses: reader.parsed("address", AddressRange.init(parsing:)),
            user: reader.parsed("user", orNumber: true) { name throws(SettingsError) in
                if let number = users.number(of: name) { return number }
                throw SettingsError("there is no user '\(name)' here; a number will do, too")
            },
            initiatorName: reader.parsed("initiator", Self.initiatorName), chapUser: reader.string("chap-user"))
        parent.add(reader.finish())
        if self == AccessRule(), reader.errors.isEmpty {
            let message = "a rule without a condition lets everybody in; leave it out, or say whom it lets in"
            parent.add([SettingsError(line: value.line, place: reader.place, message)])
        }
    }
}
