// The user a server becomes: getpwnam(3), setgroups(2), setresgid(2), setresuid(2).

import CSeccomp
import Glibc

/// A user and its groups, looked up by name.
public struct Identity: Equatable, Sendable {
    private let user: uid_t
    private let group: gid_t
    /// All groups, the first one among them.
    private let groups: [gid_t]

    /// Looks up a user, by name or number, and its groups, or the one group that is given instead of them.
    public init(user name: String, group groupName: String?) throws(SandboxError) {
        guard geteuid() == 0 else { throw .notRoot }
        let found = Self.findUser(name)
        guard let user = found?.user ?? UInt32(digits: name) else { throw .unknownUser(name) }
        // -1 says "unchanged" to setresuid(2).
        guard user != uid_t.max else { throw .unknownUser(name) }
        guard user != 0 else { throw .isRoot(option: "--user") }
        self.user = user
        if let groupName {
            group = try Self.findGroup(groupName)
            groups = [group]
        } else if let found {
            group = found.group
            groups = Self.groups(of: found.name, group)
        } else {
            throw .noGroup(user: name)
        }
        // A member of root's group may write what others may not.
        guard group != 0 else { throw .isRoot(option: groupName == nil ? "the group of --user \(name)" : "--group") }
    }

    /// Gives an open file to this user. Some file systems know no owners, or have their own ideas of them: who has to
    /// open the file again is told then that he may not.
    func own(_ file: Int32) { _ = fchown(file, user, group) }

    /// Becomes this user for good, on all threads. (Glibc's functions see to that; the system calls change one thread.)
    func assume() throws(SandboxError) {
        guard unsafe setgroups(groups.count, groups) == 0 else { throw .refused("setgroups", errno: errno) }
        guard setresgid(group, group, group) == 0 else { throw .refused("setresgid", errno: errno) }
        guard setresuid(user, user, user) == 0 else { throw .refused("setresuid", errno: errno) }
        try check()
    }

    /// The rights are gone and do not come back: no call succeeded without doing anything, and no remaining capability
    /// lets the process have them again.
    private func check() throws(SandboxError) {
        var real: UInt32 = 0
        var effective: UInt32 = 0
        var saved: UInt32 = 0
        guard unsafe getresuid(&real, &effective, &saved) == 0, (real, effective, saved) == (user, user, user) else {
            throw .regained("the user")
        }
        guard unsafe getresgid(&real, &effective, &saved) == 0, (real, effective, saved) == (group, group, group) else {
            throw .regained("the group")
        }
        guard setresuid(uid_t.max, 0, uid_t.max) != 0, setresuid(0, 0, 0) != 0 else { throw .regained("user root") }
        guard setresgid(gid_t.max, 0, gid_t.max) != 0, setgroups(0, nil) != 0 else {
            throw .regained("group root")
        }
    }

    private static func findUser(_ name: String) -> (name: String, user: uid_t, group: gid_t)? {
        // A name may consist of digits; so it comes first, as with chown(1).
        var entry = unsafe getpwnam(name)
        if unsafe entry == nil, let number = UInt32(digits: name) { unsafe entry = getpwuid(number) }
        guard let entry = unsafe entry else { return nil }
        return unsafe (String(cString: entry.pointee.pw_name), entry.pointee.pw_uid, entry.pointee.pw_gid)
    }

    private static func findGroup(_ name: String) throws(SandboxError) -> gid_t {
        if let entry = unsafe getgrnam(name) { return unsafe entry.pointee.gr_gid }
        guard let number = UInt32(digits: name), number != gid_t.max else { throw .unknownGroup(name) }
        return number
    }

    private static func groups(of name: String, _ group: gid_t) -> [gid_t] {
        var count: Int32 = 64
        while true {
            var groups = [gid_t](repeating: 0, count: Int(count))
            // -1: there are more, and `count` says how many.
            if unsafe getgrouplist(name, group, &groups, &count) >= 0 { return Array(groups.prefix(Int(count))) }
        }
    }
}

extension UInt32 {
    /// Reads digits and nothing else: no sign.
    fileprivate init?(digits text: String) {
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
        self.init(text)
    }
}
