// Users by their names: getpwnam(3), passwd(5).

import Glibc
import Synchronization

/// Finds the numbers of users.
///
/// Until it is sealed, it asks the system, which may ask a directory service by way of a module (nsswitch.conf(5)).
/// Such a module may do anything, depending on the name, and the filter for system calls ends a server that does
/// something unexpected. So a server seals it before it filters: from then on there are the users that were looked up
/// before, and those of /etc/passwd.
public final class UserNames: Sendable {
    private let file: String
    private let state = Mutex(State())

    private struct State {
        var numbers: [String: UInt32] = [:]
        var isSealed = false
    }

    /// Asks the system.
    public convenience init() {
        self.init(file: "/etc/passwd")
    }

    /// The file is the one that is read once this is sealed.
    init(file: String) {
        self.file = file
    }

    /// Asks nobody but the file from now on.
    public func seal() {
        state.withLock { $0.isSealed = true }
    }

    /// The number of a user, which may be given as digits; nil if nobody has this name.
    func number(of name: String) -> UInt32? {
        if let number = UInt32(name) { return number }
        return state.withLock { state in
            let number = state.isSealed ? listed(name) ?? state.numbers[name] : Self.known(name)
            state.numbers[name] = number
            return number
        }
    }

    private static func known(_ name: String) -> UInt32? {
        var entry = unsafe passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 1 << 16)
        unsafe getpwnam_r(name, &entry, &buffer, buffer.count, &found)
        return unsafe found == nil ? nil : entry.pw_uid
    }

    private func listed(_ name: String) -> UInt32? {
        guard let stream = unsafe fopen(file, "re") else { return nil }
        defer { unsafe fclose(stream) }
        while let entry = unsafe fgetpwent(stream) {
            if unsafe String(cString: entry.pointee.pw_name) == name { return unsafe entry.pointee.pw_uid }
        }
        return nil
    }
}
