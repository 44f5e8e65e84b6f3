// A client that is there before the server: standard input, as inetd, systemd's Accept=yes and nbd_connect_command(3)
// connect it.

import Glibc
import IOUring

/// The one connection that a server has that does not listen.
struct InheritedConnection {
    let descriptor: Int32
    /// TCP options are set on it.
    let isTCP: Bool

    /// Takes standard input, which is /dev/null from then on.
    static func standardInput() throws(EndpointError) -> InheritedConnection {
        var type: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let needed = "a client's connection is needed, as inetd and systemd (Accept=yes, StandardInput=socket) pass it"
        guard unsafe getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &length) == 0 else {
            throw .cannotListen(.standardInput, reason: "standard input is no socket; \(needed)")
        }
        var peer = sockaddr_storage()
        var peerLength = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let code = unsafe withUnsafeMutablePointer(to: &peer) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getpeername(STDIN_FILENO, $0, &peerLength)
            }
        }
        guard code == 0, type == Int32(SOCK_STREAM.rawValue) else {
            throw .cannotListen(
                .standardInput,
                reason: "standard input is a socket that nobody is connected to; \(needed). "
                    + "A socket that listens is fd:0")
        }
        let descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
        guard descriptor >= 0 else { throw .cannotListen(.standardInput, reason: errorText(errno)) }
        replaceByNothing(STDIN_FILENO)
        // As those are that the server accepts: a ring may have a thread of its own wait for a socket, unless that does not
        // block. Whoever else has it open, if anybody, is meant to leave it alone.
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        return InheritedConnection(descriptor: descriptor, isTCP: LocalAddress(descriptor).isTCP)
    }
}

/// Whoever connects standard input to a client often connects standard output, and inetd(8) standard error, to the same
/// socket: nothing that is printed or logged may go there. Those that do go nowhere from now on.
public func keepOutputFromStandardInput() {
    var input = stat()
    guard unsafe fstat(STDIN_FILENO, &input) == 0, input.st_mode & S_IFMT == S_IFSOCK else { return }
    for output in [STDOUT_FILENO, STDERR_FILENO] {
        var status = stat()
        guard unsafe fstat(output, &status) == 0 else { continue }
        if status.st_dev == input.st_dev, status.st_ino == input.st_ino { replaceByNothing(output) }
    }
}

private func replaceByNothing(_ descriptor: Int32) {
    let nothing = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    guard nothing >= 0 else {
        close(descriptor)
        return
    }
    dup2(nothing, descriptor)
    if nothing != descriptor { close(nothing) }
}
