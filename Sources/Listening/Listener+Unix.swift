// Unix sockets with a path (unix(7)): whose file it is, what a dead server left behind, who may connect.

import Glibc
import IOUring

extension Listener {
    static func unix(_ path: String, _ permissions: SocketPermissions) throws(EndpointError) -> Listener {
        let endpoint = Endpoint.unix(path: path, permissions: permissions)
        guard let address = SocketAddress(unix: path.utf8) else { throw .pathTooLong(path) }
        guard !isOtherFile(path) else {
            throw .cannotListen(endpoint, reason: "there is a file that is no socket; choose another path or remove it")
        }
        let descriptor = try makeSocket(AF_UNIX, endpoint)
        // bind(2) gives the file the socket's mode. Else somebody could look the path up before the file has its own,
        // and be connected when the socket listens. apply says who else may connect.
        if let mode = permissions.mode { fchmod(descriptor, mode & 0o700) }
        // Between bind(2) and listen(2) the socket looks like a dead server's: nobody else may look for these
        // meanwhile.
        let lock = FolderLock(of: path)
        defer { lock.release() }
        let code = patiently {
            removeStaleSocket(address, path)
            return address.bind(descriptor)
        }
        guard code == 0 else { throw failure(endpoint, code, descriptor) }
        let file = SocketFile(path)
        if let reason = permissions.apply(to: path) {
            file?.remove()
            Glibc.close(descriptor)
            throw .cannotListen(endpoint, reason: reason)
        }
        guard startListening(descriptor) == 0 else {
            let code = errno
            file?.remove()
            throw failure(endpoint, code, descriptor)
        }
        return Listener(descriptor: descriptor, endpoint: endpoint, ownedFile: file)
    }

    /// Something that is no socket has this name. connect(2) says of it what it says of a socket that nobody listens
    /// on.
    private static func isOtherFile(_ path: String) -> Bool {
        guard let status = LinuxFile.status(path) else { return false }
        return status.st_mode & S_IFMT != S_IFSOCK
    }

    /// A socket file that nobody listens on any more is what a killed server left behind.
    private static func removeStaleSocket(_ address: SocketAddress, _ path: String) {
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return }
        defer { Glibc.close(probe) }
        if address.connect(probe) == ECONNREFUSED { LinuxFile.remove(path) }
    }
}

/// The file of a Unix socket, which another server may have replaced since.
struct SocketFile {
    private let path: String
    private let device: dev_t
    private let number: ino_t

    /// Nil if there is none.
    init?(_ path: String) {
        guard let status = LinuxFile.status(path) else { return nil }
        self.path = path
        device = status.st_dev
        number = status.st_ino
    }

    /// Removes it, if it is still the same.
    func remove() {
        guard let current = SocketFile(path), current.device == device, current.number == number else { return }
        LinuxFile.remove(path)
    }
}

/// Keeps other servers from looking after sockets in a folder, as long as they ask (flock(2)).
private struct FolderLock {
    private let descriptor: Int32

    /// Waits for a second at the most: another program that locks folders is no server, or hangs.
    init(of path: String) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        descriptor = LinuxFile.open(folder, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return }
        for _ in 0..<20 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
            usleep(50_000)
        }
    }

    func release() {
        guard descriptor >= 0 else { return }
        close(descriptor)
    }
}
