// Tries to break out of the sandbox, one attempt a process: landlock(7), seccomp(2).

import Foundation
import Support
import Testing

@Suite struct SandboxTests {
    private static let isRoot = geteuid() == 0

    /// The result of an attempt.
    private enum Outcome: Equatable {
        case said(String)
        case killed
    }

    /// A folder for the attempts, which everybody may read and write.
    private static func makeFolder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        chmod(folder.path, 0o777)
        for name in ["inside", "readable", "sockets", "outside", "exchange"] {
            try FileManager.default.createDirectory(
                atPath: folder.path + "/" + name, withIntermediateDirectories: false)
            chmod(folder.path + "/" + name, 0o777)
        }
        for name in ["inside/image", "readable/file", "sockets/socket", "outside/file", "exchange/image"] {
            try Data("secret".utf8).write(to: URL(fileURLWithPath: folder.path + "/" + name))
            chmod(folder.path + "/" + name, 0o666)
        }
        symlink("../outside/file", folder.path + "/inside/link")
        return folder
    }

    private func attempt(_ name: String, mode: String = "on", user: String = "") throws -> Outcome {
        let folder = try Self.makeFolder()
        let done = try Program.beside("Breakout").run([mode, user, folder.path, name], in: folder)
        // SIGSYS
        if done.status == 128 + 31 { return .killed }
        guard done.status == 0 else { throw ProgramFailure("'\(name)' ended with \(done.status): \(done.errors)") }
        return .said(done.text.trimmingCharacters(in: .newlines))
    }

    @Test(arguments: [
        "nothing", "open an image", "read a configuration", "list images", "remove a socket", "thread",
        "accept a client", "answer a client", "tell the manager",
        "inotify", "epoll", "random", "time", "write",
        "terminal", "name of a thread",
    ])
    func whatServingTakesIsPossible(_ name: String) throws {
        #expect(try attempt(name) == .said("done"))
    }

    /// Files get other names in the folders that are for that, and nowhere else.
    @Test(arguments: [
        ("exchange: rename", "done"), ("exchange: link", "done"), ("exchange: remove", "done"),
        ("exchange: rename elsewhere", "Permission denied"),
        ("exchange: link from elsewhere", "Invalid cross-device link"),
    ])
    func filesAreExchanged(_ name: String, _ words: String) throws {
        #expect(try attempt(name) == .said(words))
    }

    /// Landlock alone: root, for whom no file's mode matters.
    @Test(arguments: [
        "read /etc/shadow", "read outside", "write outside", "write by /proc/self/root", "write by ..",
        "write by a link",
        "write what is readable", "make a file", "remove an image", "list outside",
        "read beside a socket", "write beside a socket",
    ])
    func otherFilesAreOutOfReach(_ name: String) throws {
        #expect(try attempt(name) == .said("Permission denied"))
    }

    @Test(arguments: [
        "make a symbolic link", "make a folder", "make a device", "change a mode",
        "change a mode by descriptor", "change an owner", "shorten by name", "set an attribute",
        "execve", "execveat", "fork", "vfork", "clone", "ptrace", "read another's memory",
        "signal another", "signal another's thread", "take another's descriptor", "become root",
        "become root by real user", "get groups", "get capabilities",
        "mount", "umount", "open_tree", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open",
        "userfaultfd", "keyctl", "init_module", "kexec_load", "reboot", "open_by_handle_at", "memfd_create",
        "another ring",
        "raise a limit", "posix_spawn",
    ])
    func whatIsForbiddenEndsTheProcess(_ name: String) throws {
        #expect(try attempt(name) == .killed)
    }

    /// Calls that libraries try, and can do without.
    @Test(arguments: [
        ("clone3", ENOSYS), ("call of a newer kernel", ENOSYS), ("executable memory", EACCES),
        ("make memory executable", EACCES),
        // getnameinfo(3)'s question for an interface's name is one of the unknown requests (SIOCGIFNAME).
        // An operator may ask for a snapshot of an overlay anywhere.
        ("rename an image", EACCES), ("link an image", EACCES),
        ("type on the terminal", ENOTTY), ("unknown request", ENOTTY), ("undo no_new_privs", EINVAL),
    ])
    func whatLibrariesTryIsRefused(_ name: String, _ code: Int32) throws {
        #expect(try attempt(name) == .said(String(cString: strerror(code))))
    }

    /// Nothing goes to anybody but clients and the service manager.
    @Test(arguments: [
        "packet socket", "netlink socket", "TCP socket", "UDP socket", "Unix socket", "vsock socket", "pair of sockets",
        "connect", "bind", "listen", "fast open by sendto", "fast open by sendmsg", "fast open without an address",
        "many messages", "another's datagram by sendto", "another's datagram by sendmsg", "the manager by sendmsg",
        "a second number", "a chosen number", "take a descriptor",
    ])
    func thereIsNoWayOutBySockets(_ name: String) throws {
        #expect(try attempt(name) == .said("Permission denied"))
    }

    @Test func aSocketForDatagramsHasOneNumber() throws {
        #expect(try attempt("a second number by fcntl") == .said("Invalid argument"))
    }

    /// The attempts above are possible as such, so that it is the sandbox which stops them.
    @Test(arguments: [
        "TCP socket", "UDP socket", "Unix socket", "another's datagram by sendto", "another's datagram by sendmsg",
        "the manager by sendmsg", "a second number", "a second number by fcntl", "pair of sockets",
    ])
    func withoutASandboxThereAreWaysOut(_ name: String) throws {
        #expect(try attempt(name, mode: "off") == .said("done"))
    }

    /// With the data begins a connection, which nobody takes there.
    @Test(arguments: ["fast open by sendto", "fast open by sendmsg"])
    func withoutASandboxAListenerConnects(_ name: String) throws {
        #expect(
            try [.said("Connection refused"), .said("Operation now in progress")].contains(attempt(name, mode: "off")))
    }

    #if arch(x86_64)
        @Test func callsByTheNumbersOfX32EndTheProcess() throws {
            #expect(try attempt("call of x32") == .killed)
        }
    #endif

    @Test func aLoggingSandboxKillsNobody() throws {
        #expect(try attempt("unshare", mode: "log") != .killed)
        #expect(try attempt("read outside", mode: "log") == .said("Permission denied"))
    }

    @Test func withoutASandboxEverythingIsAsItWas() throws {
        for name in ["read outside", "make a file", "fork", "execve", "posix_spawn"] {
            #expect(try attempt(name, mode: "off") != .killed)
        }
        #expect(try attempt("read outside", mode: "off") == .said("done"))
    }

    @Test(.enabled(if: isRoot, "only root can become somebody else"))
    func whoHasBecomeSomebodyElseStaysSo() throws {
        for name in ["become root", "become root by real user", "get groups"] {
            #expect(try attempt(name, mode: "off", user: "nobody") == .said("Operation not permitted"))
        }
        #expect(try attempt("read /etc/shadow", mode: "off", user: "nobody") == .said("Permission denied"))
        #expect(try attempt("open an image", user: "nobody") == .said("done"))
    }
}
