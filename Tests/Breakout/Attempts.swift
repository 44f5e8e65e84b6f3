// Attempts of an attacker who has taken over the server, and calls that the server itself has to be able to make.

import Foundation
import Glibc

/// Things to try; each returns 0 or an errno.
struct Attempts {
    let folder: String
    let sockets: Sockets

    typealias Attempt = @Sendable () -> Int32

    var byName: [String: Attempt] {
        files.merging(processes) { $1 }.merging(system) { $1 }.merging(service) { $1 }.merging(sockets.attempts) { $1 }
    }

    /// Files that are not the server's.
    private var files: [String: Attempt] {
        let folder = folder
        return [
            "read /etc/shadow": { opening("/etc/shadow", O_RDONLY) },
            "read outside": { opening(folder + "/outside/file", O_RDONLY) },
            "write outside": { opening(folder + "/outside/file", O_WRONLY) },
            "write by /proc/self/root": { opening("/proc/self/root" + folder + "/outside/file", O_WRONLY) },
            "write by ..": { opening(folder + "/inside/../outside/file", O_WRONLY) },
            "write by a link": { opening(folder + "/inside/link", O_WRONLY) },
            "write what is readable": { opening(folder + "/readable/file", O_WRONLY) },
            "make a file": { opening(folder + "/inside/new", O_WRONLY | O_CREAT) },
            "remove an image": { result(unlink(folder + "/inside/image")) },
            "read beside a socket": { opening(folder + "/sockets/socket", O_RDONLY) },
            "write beside a socket": { opening(folder + "/sockets/socket", O_WRONLY) },
            "list outside": { opendir(folder + "/outside") == nil ? errno : 0 },
            "rename an image": { result(rename(folder + "/inside/image", folder + "/inside/other")) },
            "link an image": { result(link(folder + "/inside/image", folder + "/inside/other")) },
            "exchange: rename": { result(rename(folder + "/exchange/image", folder + "/exchange/other")) },
            "exchange: link": { result(link(folder + "/exchange/image", folder + "/exchange/other")) },
            "exchange: remove": { result(unlink(folder + "/exchange/image")) },
            "exchange: rename elsewhere": { result(rename(folder + "/inside/image", folder + "/inside/other")) },
            "exchange: link from elsewhere": { result(link(folder + "/inside/image", folder + "/exchange/other")) },
            "make a symbolic link": { result(symlink("/etc", folder + "/inside/etc")) },
            "make a folder": { result(mkdir(folder + "/inside/folder", 0o700)) },
            "make a device": { result(mknod(folder + "/inside/device", S_IFBLK | 0o600, 0)) },
            "change a mode": { result(chmod(folder + "/inside/image", 0o4755)) },
            "change a mode by descriptor": { result(fchmod(0, 0o4755)) },
            "change an owner": { result(chown(folder + "/inside/image", 0, 0)) },
            "shorten by name": { result(truncate(folder + "/outside/file", 0)) },
            "set an attribute": { call("setxattr", folder + "/inside/image", "user.x") },
        ]
    }

    /// Other programs.
    private var processes: [String: Attempt] {
        [
            "execve": { execute("/bin/true") },
            "execveat": { call("execveat", -1, "/bin/true", 0, 0, 0) },
            "fork": { call("fork") },
            "vfork": { call("vfork") },
            "clone": { call("clone", Int(SIGCHLD), 0, 0, 0, 0) },
            "clone3": { call("clone3", 0, 0) },
            "posix_spawn": { spawn("/bin/true") },
            "ptrace": { call("ptrace", 16, Int(getppid()), 0, 0) },
            "read another's memory": { call("process_vm_readv", Int(getppid()), 0, 0, 0, 0, 0) },
            "signal another": { result(kill(getppid(), 0)) },
            "signal another's thread": { call("tgkill", Int(getppid()), Int(getppid()), 0) },
            "take another's descriptor": { call("pidfd_getfd", 0, 0, 0) },
            "become root": { result(setuid(0)) },
            "become root by real user": { call("setresuid", 0, 0, 0) },
            "get groups": { call("setgroups", 0, 0) },
            "get capabilities": { call("capset", 0, 0) },
        ]
    }

    /// The kernel.
    private var system: [String: Attempt] {
        [
            "packet socket": { result(socket(AF_PACKET, Int32(SOCK_RAW.rawValue), 0)) },
            "netlink socket": { result(socket(AF_NETLINK, Int32(SOCK_RAW.rawValue), 0)) },
            "mount": { call("mount", 0, 0, 0, 0, 0) },
            "umount": { call("umount2", 0, 0) },
            "open_tree": { call("open_tree", 0, 0, 0) },
            "pivot_root": { call("pivot_root", 0, 0) },
            "chroot": { call("chroot", 0) },
            "unshare": { call("unshare", 0x1000_0000) },
            "setns": { call("setns", 0, 0) },
            "bpf": { call("bpf", 0, 0, 0) },
            "perf_event_open": { call("perf_event_open", 0, 0, 0, 0, 0) },
            "userfaultfd": { call("userfaultfd", 0) },
            "keyctl": { call("keyctl", 0, 0, 0, 0, 0) },
            "init_module": { call("init_module", 0, 0, 0) },
            "kexec_load": { call("kexec_load", 0, 0, 0, 0) },
            "reboot": { call("reboot", 0, 0, 0, 0) },
            "open_by_handle_at": { call("open_by_handle_at", 0, 0, 0) },
            "memfd_create": { call("memfd_create", "x", 0) },
            "another ring": { call("io_uring_setup", 8, 0) },
            "type on the terminal": { call("ioctl", 0, 0x5412, "x") },
            "unknown request": { call("ioctl", 0, 0x8910, "x") },
            "undo no_new_privs": { call("prctl", 38, 0, 0, 0, 0) },
            "raise a limit": { raiseLimit() },
            "executable memory": { map(PROT_READ | PROT_WRITE | PROT_EXEC) },
            "make memory executable": { makeExecutable() },
            "call of a newer kernel": { call(number: 462) },
            // The numbers of the x32 interface are those of another architecture.
            "call of x32": { call(number: 0x4000_0000 + 39) },
        ]
    }

    /// Calls of a serving process.
    private var service: [String: Attempt] {
        let folder = folder
        return [
            "nothing": { 0 },
            "open an image": { opening(folder + "/inside/image", O_RDWR) },
            "read a configuration": { opening(folder + "/readable/file", O_RDONLY) },
            "list images": { opendir(folder + "/inside") == nil ? errno : 0 },
            "remove a socket": { result(unlink(folder + "/sockets/socket")) },
            "thread": { startAndJoin() },
            "inotify": { result(inotify_add_watch(inotify_init1(0), folder + "/inside", UInt32(IN_CREATE))) },
            "epoll": { call("epoll_create1", 0) },
            "terminal": { terminal() },
            "name of a thread": { call("prctl", 15, "loop") },
            "random": { call("getrandom", folder, 0, 0) },
            "time": { localTime() },
            "write": { result(Int32(write(1, "", 0))) },
        ]
    }
}
