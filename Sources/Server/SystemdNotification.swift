// Telling systemd how the service is: sd_notify(3)'s protocol, a datagram to $NOTIFY_SOCKET.

import Glibc

/// Tells systemd, if it started this process and wants to know, that clients are served.
public func notifyReady() {
    notify("READY=1")
}

/// Tells it that the server is ending, whoever asked for that.
func notifyStopping() {
    notify("STOPPING=1")
}

/// Tells systemd that the configuration is being read again; ``notifyReady()`` says that this is over.
public func notifyReloading() {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    notify("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)")
}

private func notify(_ message: String) {
    guard let path = environment("NOTIFY_SOCKET"), path.utf8.count <= Endpoint.maximumPathBytes, !path.isEmpty else {
        return
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var name = Array(path.utf8)
    // An `@` stands for the zero byte that begins an abstract socket's name.
    if name[0] == UInt8(ascii: "@") { name[0] = 0 }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    _ = unsafe withUnsafePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe sendto(descriptor, message, message.utf8.count, Int32(MSG_NOSIGNAL), $0, length)
        }
    }
}
