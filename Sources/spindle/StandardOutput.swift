// Standard output and standard error without buffering: printed text is out at once.

import Glibc

/// A standard stream could not take all of a report.
struct OutputError: Error, CustomStringConvertible {
    let stream: String
    let code: Int32

    var description: String { unsafe "cannot write to standard \(stream): \(String(cString: strerror(code)))" }
}

/// Writes bytes, all of them.
func writeToStandardOutput(_ bytes: [UInt8]) throws(OutputError) {
    try write(bytes, to: STDOUT_FILENO, named: "output")
}

/// Writes bytes, all of them.
func writeToStandardError(_ bytes: [UInt8]) throws(OutputError) {
    try write(bytes, to: STDERR_FILENO, named: "error")
}

private func write(_ bytes: [UInt8], to descriptor: Int32, named stream: String) throws(OutputError) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count >= 0 {
            rest = rest.dropFirst(count)
        } else if errno != EINTR {
            throw OutputError(stream: stream, code: errno)
        }
    }
}

/// Writes text; that nobody can read it is nothing that anybody could be told.
func writeToStandardError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
