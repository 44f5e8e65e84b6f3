// The kernel's news of a directory: the records of inotify(7).

import Glibc
import Logs

/// An event in a directory.
enum DirectoryEvent: Equatable {
    /// A file is there, and whoever wrote it is done.
    case appeared(String)
    /// There is an entry that was not there: a file that is about to be written, a link to a whole one, a folder.
    case created(String)
    /// A file is there no longer: its name, as it can be shown if it is no UTF-8.
    case vanished(String)
    /// Something is there whose name is no UTF-8.
    case unnameable([UInt8])
    /// The kernel had to leave events out: anything may have happened.
    case overflow
    /// The directory itself has been removed, moved or unmounted.
    case gone

    /// Takes the kernel's records apart: watch, mask, cookie, length of the name, name with zeroes behind it.
    ///
    /// - Parameter watch: whose events count; others are about a directory that was there before.
    static func events(in bytes: ArraySlice<UInt8>, of watch: Int32) -> [DirectoryEvent] {
        var events: [DirectoryEvent] = []
        var rest = bytes
        while rest.count >= 16 {
            let origin = Int32(bitPattern: word(rest, 0))
            let mask = word(rest, 4)
            let length = Int(word(rest, 12))
            let name = Array(rest.dropFirst(16).prefix(length).prefix { $0 != 0 })
            rest = rest.dropFirst(16 + length)
            if mask & UInt32(IN_Q_OVERFLOW) != 0 { events.append(.overflow) }
            guard origin == watch else { continue }
            if mask & UInt32(IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED) != 0 { events.append(.gone) }
            if !name.isEmpty, let event = event(mask, name) { events.append(event) }
        }
        return events
    }

    private static func event(_ mask: UInt32, _ name: [UInt8]) -> DirectoryEvent? {
        let isThere = mask & UInt32(IN_CLOSE_WRITE | IN_MOVED_TO) != 0
        let isGone = mask & UInt32(IN_DELETE | IN_MOVED_FROM) != 0
        guard let text = String(validating: name, as: UTF8.self) else {
            if isThere || mask & UInt32(IN_CREATE) != 0 { return .unnameable(name) }
            // The log keeps the shown name of such a file, and would for ever.
            return isGone ? .vanished(String(showing: name)) : nil
        }
        if isThere { return .appeared(text) }
        if mask & UInt32(IN_CREATE) != 0 { return .created(text) }
        return isGone ? .vanished(text) : nil
    }

    private static func word(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32 {
        unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }
}
