// Where a directory's path leads, and watching what is there: inotify(7). A watch belongs to an inode and a
// configuration to a path, so the path is looked at again and again.

import Glibc

/// Watches what a path leads to, for one thread.
struct DirectoryEyes {
    /// How the directory is watched.
    enum Sight: Equatable, Sendable {
        /// The kernel tells what happens.
        case watched
        /// The kernel does not, and why: it is listed every few seconds.
        case listed(reason: String)
        /// There is no such directory now, and why.
        case lost(reason: String)

        /// After so long the path is looked at again, without any event: a mount that comes or goes makes none while
        /// images are open.
        var milliseconds: Int32 {
            if case .lost = self { 1000 } else { 5000 }
        }
    }

    let path: String
    /// For poll(2); -1 if there is none.
    private(set) var descriptor: Int32 = -1
    private(set) var sight = Sight.lost(reason: "")
    private var watch: Int32 = -1
    private var place: FolderIdentity?

    /// Events that say a file is whole, or gone, or linked. A file that is still being written is neither.
    private static let mask = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE) | selfMask
    private static let selfMask = UInt32(IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

    init(path: String) {
        self.path = path
    }

    /// Looks where the path leads, and watches what is there.
    ///
    /// - Returns: whether anything may have happened unseen, so that everything has to be listed.
    mutating func look() -> Bool {
        if watch >= 0, let place, place == FolderIdentity(path) { return false }
        forget()
        let before = sight
        sight = begin()
        if case .lost = sight, case .lost = before { return false }
        return true
    }

    private mutating func begin() -> Sight {
        if descriptor < 0 {
            descriptor = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
            if descriptor < 0 {
                guard FolderIdentity(path) != nil else { return .lost(reason: DirectoryError.text(errno)) }
                return .listed(reason: Self.noInstance(errno))
            }
        }
        // The watch first: if another directory takes the path in between, the next look sees that.
        watch = unsafe inotify_add_watch(descriptor, path, Self.mask)
        let code = errno
        place = FolderIdentity(path)
        if watch >= 0 { return .watched }
        guard code == ENOSPC else { return .lost(reason: DirectoryError.text(code)) }
        return .listed(
            reason: "this user has as many watches of inotify as the sysctl fs.inotify.max_user_watches allows")
    }

    /// inotify_init1(2) has one error for two limits.
    private static func noInstance(_ code: Int32) -> String {
        let other = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
        if other >= 0 { Glibc.close(other) }
        guard code == EMFILE, other >= 0 else {
            return "no descriptor for inotify: \(DirectoryError.text(code)) (RLIMIT_NOFILE, LimitNOFILE=)"
        }
        return "this user has as many instances of inotify as the sysctl fs.inotify.max_user_instances allows"
    }

    /// The watch is about a directory that the path need not lead to any more.
    mutating func forget() {
        if watch >= 0 { _ = inotify_rm_watch(descriptor, watch) }
        watch = -1
        place = nil
    }

    /// The events since the last time, as far as one read brings them.
    func read() -> [DirectoryEvent] {
        guard descriptor >= 0 else { return [] }
        // As much as can be followed in a moment: others wait for the exports meanwhile.
        var buffer = [UInt8](repeating: 0, count: 1 << 14)
        let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
        return count > 0 ? DirectoryEvent.events(in: buffer[..<count], of: watch) : []
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

}

/// Which directory a path leads to (stat(2)).
struct FolderIdentity: Equatable {
    let device: dev_t
    let inode: ino_t

    /// Nil if there is none; `errno` says why.
    init?(_ path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        device = status.st_dev
        inode = status.st_ino
    }
}
