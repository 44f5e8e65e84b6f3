// `--pid-file`: who serves, once clients can connect.

import Glibc

/// A file with the number of this process, which nobody sees half written or too early.
struct PidFile {
    private let path: String
    /// Where it is until it counts: in the same folder, so that rename(2) can do it.
    private let draft: String
    private let device: dev_t
    private let number: ino_t

    /// Writes the file next to the place where it will be, so that what is wrong with that is known before anybody is
    /// served.
    init(_ path: String) throws(PidFileError) {
        var status = stat()
        if unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            throw PidFileError(path: path, reason: "there is something that is no regular file")
        }
        self.path = path
        draft = "\(path).\(getpid())"
        // A process of the same number may have left it behind.
        _ = unsafe unlink(draft)
        let file = unsafe open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw PidFileError(path: path, code: errno) }
        defer { close(file) }
        let text = Array("\(getpid())\n".utf8)
        guard unsafe text.withUnsafeBytes({ unsafe write(file, $0.baseAddress, $0.count) }) == text.count,
            unsafe fstat(file, &status) == 0
        else {
            let code = errno
            _ = unsafe unlink(draft)
            throw PidFileError(path: path, code: code)
        }
        device = status.st_dev
        number = status.st_ino
    }

    /// Clients can connect.
    func publish() throws(PidFileError) {
        guard unsafe rename(draft, path) == 0 else { throw PidFileError(path: path, code: errno) }
    }

    /// The server has ended, or has never begun. A file that the next server may have written stays.
    func remove() {
        for place in [draft, path] {
            var status = stat()
            guard unsafe stat(place, &status) == 0, status.st_dev == device, status.st_ino == number else { continue }
            _ = unsafe unlink(place)
        }
    }
}

/// Why there can be no file.
struct PidFileError: Error, CustomStringConvertible {
    let path: String
    let reason: String

    fileprivate init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    fileprivate init(path: String, code: Int32) {
        self.init(path: path, reason: unsafe String(cString: strerror(code)))
    }

    var description: String { "cannot write the PID file '\(path)': \(reason)" }
}
