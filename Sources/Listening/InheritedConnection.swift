// A client that is there before the server: standard input, as inetd, systemd's Accept=yes and nbd_connect_command(3)
// connect it.

import Glibc
import IOUring

/// The one connection that a server has that does not listen.
public struct InheritedConnection: Sendable {
    /// Its socket.
    public let descriptor: Int32
    /// TCP options are set on it.
    public let isTCP: Bool

    /// Takes standard input, which is /dev/null from then on.
    static func standardInput() throws(EndpointError) -> InheritedConnection {
        let needed = "a client's connection is needed, as inetd and systemd (Accept=yes, StandardInput=socket) pass it"
        guard let type = SocketOption.value(STDIN_FILENO, SOL_SOCKET, SO_TYPE) else {
            throw .cannotListen(.standardInput, reason: "standard input is no socket; \(needed)")
        }
        guard SocketAddress(ofPeer: STDIN_FILENO) != nil, type == Int32(SOCK_STREAM.rawValue) else {
            throw .cannotListen(
                .standardInput,
                reason: "standard input is a socket that nobody is connected to; \(needed). "
                    + "A socket that listens is fd:0")
        }
        let descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
        guard descriptor >= 0 else { throw .cannotListen(.standardInput, reason: errorText(errno)) }
        replaceByNothing(STDIN_FILENO)
        // As those are that the server accepts: a ring may have a thread of its own wait for a socket, unless that does
        // not block. Nobody else uses this socket.
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        return InheritedConnection(descriptor: descriptor, isTCP: SocketAddress(of: descriptor)?.isTCP == true)
    }
}

/// A program that connects standard input to a client often connects standard output, and inetd(8) standard error, to
/// the same socket: no output and no log may go there. Those that do go nowhere from now on.
public func keepOutputFromStandardInput() {
    guard let input = LinuxFile.status(STDIN_FILENO), input.st_mode & S_IFMT == S_IFSOCK else { return }
    for output in [STDOUT_FILENO, STDERR_FILENO] {
        guard let status = LinuxFile.status(output) else { continue }
        if status.st_dev == input.st_dev, status.st_ino == input.st_ino { replaceByNothing(output) }
    }
}

private func replaceByNothing(_ descriptor: Int32) {
    let nothing = LinuxFile.open("/dev/null", O_RDWR | O_CLOEXEC)
    guard nothing >= 0 else {
        close(descriptor)
        return
    }
    dup2(nothing, descriptor)
    if nothing != descriptor { close(nothing) }
}
