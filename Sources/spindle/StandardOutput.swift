// Standard output and standard error without buffering: what was printed has been printed.

import Glibc

/// Standard output could not take all of a report.
struct OutputError: Error, CustomStringConvertible {
    let code: Int32

    var description: String { unsafe "cannot write to standard output: \(String(cString: strerror(code)))" }
}

/// Writes bytes, all of them.
func writeToStandardOutput(_ bytes: [UInt8]) throws(OutputError) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes { unsafe write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        if count >= 0 {
            rest = rest.dropFirst(count)
        } else if errno != EINTR {
            throw OutputError(code: errno)
        }
    }
}

/// Writes text; that nobody can read it is nothing that anybody could be told.
func writeToStandardError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
