// A Unix socket for one command only: `--run` without `--listen`.

import Glibc
import Listening
import Server

/// A folder that nobody else may enter, with a socket in it.
struct PrivateSocket {
    /// The folder's path.
    let folder: String

    /// Makes the folder, below $TMPDIR or /tmp.
    init() throws(PrivateSocketError) {
        var parent = "/tmp"
        if let variable = unsafe getenv("TMPDIR"), unsafe variable.pointee != 0 {
            parent = unsafe String(cString: variable)
        }
        var template = Array("\(parent)/spindle-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw PrivateSocketError(parent: parent, reason: unsafe String(cString: strerror(errno)))
        }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Where the server listens.
    var endpoint: Endpoint { .unix(path: folder + "/socket") }

    /// Removes the folder, which is empty when the server has ended.
    func remove() {
        // By the call that a server's sandbox allows.
        _ = unsafe unlinkat(AT_FDCWD, folder, AT_REMOVEDIR)
    }
}

/// Why there can be no private socket.
struct PrivateSocketError: Error, CustomStringConvertible {
    let parent: String
    let reason: String

    var description: String { "cannot make a folder for the private socket in '\(parent)': \(reason)" }
}
