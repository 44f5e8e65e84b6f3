// A server that has opened all it needs gives up other rights, files, system calls. credentials(7), prctl(2)
// PR_SET_NO_NEW_PRIVS, landlock(7), seccomp(2).

import CSeccomp
import Glibc

/// The remaining rights of a process after it has given up the others, in two steps, because Landlock holds for threads
/// that begin later, and a ring has to exist before io_uring_setup(2) can be forbidden.
public struct Sandbox: Sendable {
    /// Whether the process is confined.
    public enum Mode: String, CaseIterable, Sendable {
        /// Unneeded calls are forbidden: a forbidden system call ends the process.
        case on
        /// As ``on``, but a system call that would end the process is only written to the kernel's log.
        case log
        /// The files and system calls of the user it runs as.
        case off
    }

    /// Files that can still be opened by name. Open files are not affected.
    public struct Rules: Equatable, Sendable {
        /// Files that may be read, folders with all that is below them.
        public var readable: [String]
        /// The same for files that may be read, written and shortened, but neither made nor removed.
        public var writable: [String]
        /// Folders in which files may be made, read and written, but not removed.
        public var fillable: [String]
        /// Folders in which files may also be removed, and get other names in the same folder.
        public var exchangeable: [String]
        /// Files, sockets among them, that may be removed: so may everything else in their folders and below.
        public var removable: [String]
        /// Folders that may be removed once they are empty: so may others beside them.
        public var removableFolders: [String]
        /// Open files that were made for the user whom the process becomes, and are to be that user's.
        public var owned: [Int32]

        /// Rules that allow nothing but what is listed.
        public init(
            readable: [String] = [], writable: [String] = [], fillable: [String] = [], exchangeable: [String] = [],
            removable: [String] = [], removableFolders: [String] = [], owned: [Int32] = []
        ) {
            self.readable = readable
            self.writable = writable
            self.fillable = fillable
            self.exchangeable = exchangeable
            self.removable = removable
            self.removableFolders = removableFolders
            self.owned = owned
        }
    }

    private let mode: Mode
    private let identity: Identity?

    /// Describes what will remain.
    ///
    /// - Parameter identity: whom to become; nil for no change.
    public init(mode: Mode, identity: Identity?) {
        self.mode = mode
        self.identity = identity
    }

    /// The first step, after everything was opened that needs rights, and before any other thread begins: becomes the
    /// user, gives up gaining rights by executing something, and all files but those of the rules.
    ///
    /// - Returns: false where the sandbox is on but this kernel has no Landlock, so that all files of the user remain.
    @discardableResult
    public func enter(_ rules: Rules) throws(SandboxError) -> Bool {
        precondition(isSingleThreaded(), "a sandbox is entered before other threads begin")
        // Paths are looked up with the rights that the process still has.
        let ruleset = mode == .off ? nil : try Landlock(rules)
        if let identity { for file in rules.owned { identity.own(file) } }
        try identity?.assume()
        guard set_process_option(Int32(LINUX_PR_SET_NO_NEW_PRIVS), 1) == 0 else {
            throw .refused("prctl(PR_SET_NO_NEW_PRIVS)", errno: errno)
        }
        guard mode != .off else { return true }
        guard let ruleset else { return false }
        try ruleset.enforce()
        return true
    }

    /// The second step, once all rings exist: forbids the system calls that a serving process has no use for, on all
    /// threads.
    ///
    /// - Parameters:
    ///   - command: a process that the server has started and may send signals to.
    ///   - datagrams: a connected socket for datagrams, which can be written to and not be given another address.
    ///   - exchangesFiles: files may get other names, where ``Rules/exchangeable`` lets them.
    public func filterSystemCalls(
        command: pid_t? = nil, datagrams: Int32? = nil, exchangesFiles: Bool = false
    ) throws(SandboxError) {
        let action: SystemCallFilter.Action
        switch mode {
        case .off: return
        case .log: action = .log
        case .on: action = .killProcess
        }
        try SystemCallFilter.load(
            otherwise: action, command: command, datagrams: datagrams, exchangesFiles: exchangesFiles)
    }
}

/// Why a process could not be confined, or not become another user.
public enum SandboxError: Error, Equatable, CustomStringConvertible {
    /// No user has this name.
    case unknownUser(String)
    /// No group has this name.
    case unknownGroup(String)
    /// A user without an entry in the system's database, and so without a group.
    case noGroup(user: String)
    /// Root is what is to be given up.
    case isRoot(option: String)
    /// Only root can become somebody else.
    case notRoot
    /// The rights that were given up could be had again.
    case regained(String)
    /// A path of the rules cannot be looked up.
    case path(String, errno: Int32)
    /// The kernel, or a sandbox around this one, does not allow the call.
    case refused(String, errno: Int32)
    /// This kernel has no filter for system calls.
    case noFilter(errno: Int32)
    /// Locked memory is limited to so many bytes.
    case lockedMemory(limitBytes: UInt64)

    /// The failure and the right way.
    public var description: String {
        switch self {
        case .unknownUser(let name): "there is no user '\(name)': a name or a number of /etc/passwd is needed"
        case .unknownGroup(let name): "there is no group '\(name)': a name or a number of /etc/group is needed"
        case .noGroup(let user):
            "user \(user) is not in /etc/passwd, so that its group is not known: give it with --group"
        case .isRoot(let option): "\(option) is root: rights are given up by becoming somebody else"
        case .notRoot: "only root can become another user: start the server as root, or without --user and --group"
        case .regained(let what): "\(what) could be had again after it was given up"
        case .path(let path, let code): "'\(path)' cannot be kept reachable in the sandbox: \(text(code))"
        case .refused(let call, let code): "\(call) failed: \(text(code)); --sandbox off serves without a sandbox"
        case .noFilter(let code):
            "this kernel does not filter system calls (\(text(code))); --sandbox off serves without a sandbox"
        case .lockedMemory(let limit):
            "memory cannot be locked: RLIMIT_MEMLOCK is \(limit) bytes, and connections to come need theirs; "
                + "LimitMEMLOCK=infinity (systemd) or 'ulimit -l unlimited' is needed"
        }
    }

    private func text(_ code: Int32) -> String {
        unsafe String(cString: strerror(code))
    }
}

/// Whether this is the only thread; true where /proc does not say.
private func isSingleThreaded() -> Bool {
    guard let folder = unsafe opendir("/proc/self/task") else { return true }
    defer { unsafe closedir(folder) }
    var threads = 0
    while let entry = unsafe readdir(folder) {
        if unsafe entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { threads += 1 }
    }
    return threads <= 1
}
