// Telling systemd how the service is: sd_notify(3)'s protocol, datagrams to $NOTIFY_SOCKET.

import Glibc
import IOUring

/// The service manager that has started this process and wants to know how it is; in most cases there is none.
///
/// Its socket is made and connected in time: a server that serves can do neither.
public struct ServiceManager: Sendable {
    /// The socket, which nothing but notifications goes through.
    public let descriptor: Int32?

    /// A manager that does not answer within this time is told no more of that.
    private static let patience = timeval(tv_sec: 1, tv_usec: 0)

    /// Connects to the manager, if there is one.
    public init() {
        descriptor = Self.connected()
    }

    /// Tells it that clients are served.
    public func tellReady() {
        tell("READY=1")
    }

    /// Tells it that the server is ending, by anybody's wish.
    public func tellStopping() {
        tell("STOPPING=1")
    }

    /// Tells it that the configuration is being read again; ``tellReady()`` says that this is over.
    public func tellReloading() {
        tell("RELOADING=1\nMONOTONIC_USEC=\(MonotonicClock().now() / 1000)")
    }

    private func tell(_ message: String) {
        guard let descriptor else { return }
        _ = unsafe write(descriptor, message, message.utf8.count)
    }

    private static func connected() -> Int32? {
        guard let path = environment("NOTIFY_SOCKET"), !path.isEmpty else { return nil }
        var name = Array(path.utf8)
        // An `@` stands for the zero byte that begins an abstract socket's name.
        if name[0] == UInt8(ascii: "@") { name[0] = 0 }
        guard let address = SocketAddress(unix: name) else { return nil }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var patience = patience
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        guard address.connect(descriptor) == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}
