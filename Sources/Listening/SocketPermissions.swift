// Access to a Unix socket: the owner and the mode of its file (unix(7), "Pathname socket ownership and permissions": a
// client needs the right to write).

import Glibc
import IOUring

/// The differences from a socket file that bind(2) makes.
public struct SocketPermissions: Equatable, Sendable {
    /// The permission bits; nil for what the umask leaves.
    public var mode: UInt32?
    /// The owner, a name or a number; nil for the server's user.
    public var user: String?
    /// The group, a name or a number; nil for the server's.
    public var group: String?

    /// Nothing is different.
    public init() {}

    /// Reads `mode=0660` or `owner=USER`, `owner=USER:GROUP`, `owner=:GROUP`.
    mutating func read(_ property: String) throws(EndpointError) {
        if property.hasPrefix("mode=") {
            let digits = property.dropFirst("mode=".count)
            let isOctal = (3...4).contains(digits.count) && digits.utf8.allSatisfy { (0x30...0x37).contains($0) }
            guard isOctal, let bits = UInt32(digits, radix: 8), bits <= 0o777 else { throw .badMode(String(digits)) }
            mode = bits
        } else if property.hasPrefix("owner=") {
            let names = property.dropFirst("owner=".count).split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard names.contains(where: { !$0.isEmpty }), names.count == 1 || !names[1].isEmpty else {
                throw .badOwner(String(property.dropFirst("owner=".count)))
            }
            user = names[0].isEmpty ? nil : String(names[0])
            group = names.count > 1 ? String(names[1]) : nil
        } else {
            throw .unknownProperty(property)
        }
    }

    /// As ``read(_:)`` takes it, each with a comma before it.
    var properties: String {
        var text = ""
        if let mode { text += ",mode=0" + String(mode, radix: 8).leftPadded(to: 3) }
        if user != nil || group != nil { text += ",owner=" + (user ?? "") + (group.map { ":" + $0 } ?? "") }
        return text
    }

    /// Gives a socket its owner and mode. It must not listen yet, and with a mode of its own it was bound with no more
    /// than its owner's part of that: so nobody gets in who may not.
    ///
    /// - Returns: why that was not possible.
    func apply(to path: String) -> String? {
        guard self != SocketPermissions() else { return nil }
        // By a descriptor, not by its name: a user who may write to the folder could replace the file meanwhile.
        let file = LinuxFile.open(path, LinuxFile.pathOnly | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { return errorText(errno) }
        defer { close(file) }
        guard let status = LinuxFile.status(file), status.st_mode & S_IFMT == S_IFSOCK else {
            return "another file took the socket's place"
        }
        if user != nil || group != nil {
            // All ones leave what is there.
            var owner = uid_t.max
            var ownerGroup = gid_t.max
            if let user {
                guard let number = userNumber(user) else { return "there is no user '\(user)'" }
                owner = number
            }
            if let group {
                guard let number = groupNumber(group) else { return "there is no group '\(group)'" }
                ownerGroup = number
            }
            guard unsafe fchownat(file, "", owner, ownerGroup, LinuxFile.emptyPath) == 0 else {
                return "\(errorText(errno)) while its owner was changed; only root may give it to others, "
                    + "and a user to their own groups"
            }
        }
        // fchmod(2) refuses a descriptor of this kind; its name in /proc leads to the same file.
        if let mode, unsafe chmod("/proc/self/fd/\(file)", mode) != 0 {
            return "\(errorText(errno)) while its mode was changed"
        }
        return nil
    }
}

private func userNumber(_ name: String) -> uid_t? {
    unsafe getpwnam(name)?.pointee.pw_uid ?? uid_t(name)
}

private func groupNumber(_ name: String) -> gid_t? {
    unsafe getgrnam(name)?.pointee.gr_gid ?? gid_t(name)
}

extension String {
    fileprivate func leftPadded(to count: Int) -> String {
        String(repeating: "0", count: max(0, count - self.count)) + self
    }
}
