// The forms of a log line, and the one that fits standard error (sd-daemon(3), systemd.exec(5)).

import Glibc

/// A value of `--log-format`.
public enum LogFormat: String, CaseIterable, Sendable {
    /// ``journal`` where the journal reads, else ``text``.
    case auto
    /// `time=... level=... message=...` and fields, as logfmt has them.
    case text
    /// An object a line.
    case json
    /// Message and fields behind the priority that sd-daemon(3) describes; the journal knows the time.
    case journal

    /// The format for a descriptor: what `auto` stands for, everything else as it is.
    ///
    /// systemd sets JOURNAL_STREAM to device and inode of the journal's socket. A program whose standard error was sent
    /// elsewhere inherits the variable all the same, so both are compared.
    func chosen(for descriptor: Int32) -> LogFormat {
        guard self == .auto else { return self }
        guard let variable = unsafe getenv("JOURNAL_STREAM") else { return .text }
        return leads(unsafe String(cString: variable), to: descriptor) ? .journal : .text
    }
}

/// Whether a value of JOURNAL_STREAM names what is behind a descriptor.
func leads(_ journalStream: String, to descriptor: Int32) -> Bool {
    let numbers = journalStream.split(separator: ":", omittingEmptySubsequences: false).map { UInt64($0) }
    var status = stat()
    guard numbers.count == 2, unsafe fstat(descriptor, &status) == 0 else { return false }
    return numbers[0] == UInt64(status.st_dev) && numbers[1] == UInt64(status.st_ino)
}
