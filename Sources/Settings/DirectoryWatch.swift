// Learning of files that come and go: inotify(7), from a thread of its own.

import Glibc
import Server

/// What has happened in a directory.
enum DirectoryEvent: Equatable {
    /// A file is there, and whoever wrote it is done.
    case appeared(String)
    /// A file is there no longer.
    case vanished(String)
    /// The kernel had to leave events out: anything may have happened.
    case overflow
    /// The directory itself has been removed or moved; nothing more will be heard of it.
    case gone
}

/// A directory that is being watched, until it is closed.
final class DirectoryWatch: Sendable {
    private let descriptor: Int32
    /// A pair of sockets: the thread sees that its owner has closed the other end.
    private let threadEnd: Int32
    private let ownerEnd: Int32

    /// Events that say a file is whole, or gone. A file that is still being written is neither.
    private static let mask = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) | selfMask
    private static let selfMask = UInt32(IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

    /// Begins to watch; events are kept from now on.
    init(path: String) throws {
        descriptor = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        guard descriptor >= 0 else { throw DirectoryError(path: path, code: errno) }
        var pair: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe inotify_add_watch(descriptor, path, Self.mask) >= 0,
            unsafe socketpair(AF_UNIX, kind, 0, &pair) == 0
        else {
            let code = errno
            close(descriptor)
            throw DirectoryError(path: path, code: code)
        }
        (threadEnd, ownerEnd) = (pair[0], pair[1])
    }

    /// Calls `handle` on a thread of its own with what has happened since the watch began, and with nothing when it has
    /// waited for as many milliseconds as `handle` said last. The thread ends with the watch.
    ///
    /// - Parameter milliseconds: how long it waits at first; -1: for ever.
    func run(waiting milliseconds: Int32, _ handle: @escaping @Sendable ([DirectoryEvent]) -> Int32) {
        let watch = self
        pthread_detach(
            startThread {
                var milliseconds = milliseconds
                while watch.wait(milliseconds) { milliseconds = handle(watch.read()) }
                close(watch.descriptor)
                close(watch.threadEnd)
            })
    }

    /// Ends the watch, once; its thread may be at work a little longer.
    func end() {
        close(ownerEnd)
    }

    /// False at the end of the watch.
    private func wait(_ milliseconds: Int32) -> Bool {
        var descriptors = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: threadEnd, events: 0, revents: 0),
        ]
        while unsafe poll(&descriptors, 2, milliseconds) < 0, errno == EINTR {}
        return descriptors[1].revents == 0
    }

    /// What has happened since the last time.
    private func read() -> [DirectoryEvent] {
        var events: [DirectoryEvent] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return events }
            events += Self.events(in: buffer[..<count])
        }
    }

    /// Takes the kernel's records apart: watch, mask, cookie, length of the name, name with zeroes behind it.
    static func events(in bytes: ArraySlice<UInt8>) -> [DirectoryEvent] {
        var events: [DirectoryEvent] = []
        var rest = bytes
        while rest.count >= 16 {
            let mask = word(rest, 4)
            let length = Int(word(rest, 12))
            let name = rest.dropFirst(16).prefix(length).prefix { $0 != 0 }
            rest = rest.dropFirst(16 + length)
            if mask & UInt32(IN_Q_OVERFLOW) != 0 { events.append(.overflow) }
            if mask & UInt32(IN_DELETE_SELF | IN_MOVE_SELF) != 0 { events.append(.gone) }
            // Names that are no UTF-8 cannot be those of exports.
            guard !name.isEmpty, let text = String(validating: name, as: UTF8.self) else { continue }
            if mask & UInt32(IN_CLOSE_WRITE | IN_MOVED_TO) != 0 { events.append(.appeared(text)) }
            if mask & UInt32(IN_DELETE | IN_MOVED_FROM) != 0 { events.append(.vanished(text)) }
        }
        return events
    }

    private static func word(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32 {
        unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }
}
