// Files that can still be opened: landlock(7), Documentation/userspace-api/landlock.rst.

import CSeccomp
import Glibc

/// A set of rules that is not in force yet.
struct Landlock: ~Copyable {
    private let descriptor: Int32

    /// The kinds of access to a file (`LANDLOCK_ACCESS_FS_*`).
    private struct Access: OptionSet {
        let rawValue: UInt64

        static let writeFile = Access(rawValue: 1 << 1)
        static let readFile = Access(rawValue: 1 << 2)
        static let readFolder = Access(rawValue: 1 << 3)
        static let removeFolder = Access(rawValue: 1 << 4)
        static let removeFile = Access(rawValue: 1 << 5)
        static let makeFile = Access(rawValue: 1 << 8)
        /// From version 3 on.
        static let truncate = Access(rawValue: 1 << 14)
        /// ioctl(2) on devices, from version 5 on.
        static let control = Access(rawValue: 1 << 15)

        static let reading: Access = [.readFile, .readFolder]
        static let writing: Access = [.readFile, .readFolder, .writeFile, .truncate, .control]
        static let filling: Access = [.readFile, .readFolder, .writeFile, .makeFile]
        /// link(2) and rename(2) in a folder need the rights to make and to remove.
        static let exchanging: Access = [.filling, .writing, .removeFile]
        /// The access that a path can have that is no folder.
        static let ofFiles: Access = [.readFile, .writeFile, .truncate, .control, Access(rawValue: 1)]

        /// Everything that a version of the interface knows, and so can forbid.
        static func all(version: Int32) -> Access {
            switch version {
            case 1: Access(rawValue: (1 << 13) - 1)
            case 2: Access(rawValue: (1 << 14) - 1)
            case 3, 4: Access(rawValue: (1 << 15) - 1)
            default: Access(rawValue: (1 << 16) - 1)
            }
        }
    }

    /// `LANDLOCK_ACCESS_NET_BIND_TCP` and `LANDLOCK_ACCESS_NET_CONNECT_TCP`, from version 4 on. Nothing allows them: a
    /// server is connected to, where it listens already.
    private static let network: UInt64 = 1 << 0 | 1 << 1

    /// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`, from version 6 on: others' sockets without a path are out of reach.
    private static let abstractSockets: UInt64 = 1 << 0

    /// Files that the C library of a running server reads.
    private static let ofLibraries = [
        "/sys/devices/system/cpu", "/etc/localtime", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom",
    ]

    /// Where what nobody wants goes.
    private static let nothing = "/dev/null"

    /// Looks up the paths of the rules.
    ///
    /// - Returns: nil where this kernel has no Landlock, or it was not enabled when it was started.
    init?(_ rules: Sandbox.Rules) throws(SandboxError) {
        // LANDLOCK_CREATE_RULESET_VERSION
        let version = landlock_create_ruleset(nil, 0, 1)
        guard version > 0 else { return nil }
        let known = Access.all(version: version)
        var handled = landlock_ruleset()
        handled.handled_access_fs = known.rawValue
        handled.handled_access_net = version >= 4 ? Self.network : 0
        handled.scoped = version >= 6 ? Self.abstractSockets : 0
        // Zeroes behind the part that a kernel knows are no error (landlock_create_ruleset(2)).
        descriptor = unsafe landlock_create_ruleset(&handled, MemoryLayout<landlock_ruleset>.size, 0)
        guard descriptor >= 0 else { throw .refused("landlock_create_ruleset", errno: errno) }
        // Not every system has all of these.
        for path in Self.ofLibraries { do { try allow(path, .reading, known) } catch {} }
        do { try allow(Self.nothing, .writing, known) } catch {}
        // A rule holds for the object that the path stands for now, and the kernel would make another one of this when
        // memory is short. (libdispatch, which nothing here uses, would look at its threads outside of it.)
        do { try allow("/proc/self", .reading, known, isKept: true) } catch {}
        for path in rules.readable { try allow(path, .reading, known) }
        for path in rules.writable { try allow(path, .writing, known) }
        for path in rules.fillable { try allow(path, .filling, known) }
        for path in rules.exchangeable { try allow(path, .exchanging, known) }
        for path in rules.removable { try allow(folder(of: path), .removeFile, known) }
        for path in rules.removableFolders { try allow(folder(of: path), .removeFolder, known) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// From now on, this thread and those that it starts have no other files.
    func enforce() throws(SandboxError) {
        guard landlock_restrict_self(descriptor) == 0 else { throw .refused("landlock_restrict_self", errno: errno) }
    }

    private func allow(
        _ path: String, _ access: Access, _ known: Access, isKept: Bool = false
    ) throws(SandboxError) {
        let object = unsafe open(path, Int32(LINUX_O_PATH) | O_CLOEXEC)
        guard object >= 0 else { throw .path(path, errno: errno) }
        defer { if !isKept { close(object) } }
        var status = stat()
        guard unsafe fstat(object, &status) == 0 else { throw .path(path, errno: errno) }
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        let possible = isFolder ? known : known.intersection(.ofFiles)
        var rule = landlock_path()
        rule.allowed_access = access.intersection(possible).rawValue
        rule.parent = object
        guard unsafe landlock_add_path(descriptor, &rule) == 0 else { throw .path(path, errno: errno) }
    }
}

/// The folder that a path's last part is in.
private func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}
