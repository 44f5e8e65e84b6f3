// Learning of files that come and go in a directory, from a thread of its own.

import Glibc
import Server
import Threads

/// The news of a watch.
struct DirectoryNews {
    /// In their order; none if only some time has passed.
    var events: [DirectoryEvent] = []
    /// Anything may have happened beside them.
    var needsListing = false
    /// How the directory is watched now.
    var sight: DirectoryEyes.Sight
}

/// A directory that is being watched, until that is ended.
final class DirectoryWatch: Sendable {
    /// A pipe: the thread sees what its owner says, and that it has closed the other end.
    private let threadEnd: Int32
    private let ownerEnd: Int32

    /// Makes a watch, which does not run yet.
    init(path: String) throws(DirectoryError) {
        var pair: [Int32] = [-1, -1]
        guard unsafe pipe(&pair) == 0 else { throw DirectoryError(path: path, code: errno) }
        for end in pair {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        (threadEnd, ownerEnd) = (pair[0], pair[1])
    }

    /// Calls `follow` on a thread of its own with what has happened since `eyes` looked last, until the watch ends.
    ///
    /// - Parameter follow: is told the news, and says for how many milliseconds at most to wait for more; -1: it does
    ///   not matter.
    func run(_ eyes: DirectoryEyes, waiting: Int32, _ follow: @escaping @Sendable (DirectoryNews) -> Int32) {
        let watch = self
        let begun = startDetachedThread {
            var eyes = eyes
            var waiting = waiting
            var nextLook = ContinuousClock.now + .milliseconds(eyes.sight.milliseconds)
            while let isAsked = watch.wait(for: eyes.descriptor, waiting, until: nextLook) {
                var news = DirectoryNews(events: eyes.read(), sight: eyes.sight)
                if news.events.contains(.gone) { eyes.forget() }
                if isAsked || news.events.contains(.gone) || ContinuousClock.now >= nextLook {
                    news.needsListing = eyes.look()
                    news.sight = eyes.sight
                    nextLook = ContinuousClock.now + .milliseconds(eyes.sight.milliseconds)
                }
                waiting = follow(news)
            }
            eyes.close()
            close(watch.threadEnd)
        }
        precondition(begun, "a thread could not be started")
    }

    /// Has the thread look at once where the path leads.
    func look() {
        let byte: [UInt8] = [0]
        // If there is no room for it, the thread has not looked since others were sent.
        _ = unsafe write(ownerEnd, byte, 1)
    }

    /// Ends the watch, once; its thread may be at work a little longer.
    func end() {
        close(ownerEnd)
    }

    /// Waits for events, its owner or a moment; nil at the end of the watch.
    ///
    /// - Returns: whether its owner wants it to look.
    private func wait(for descriptor: Int32, _ milliseconds: Int32, until moment: ContinuousClock.Instant) -> Bool? {
        let left = max((moment - .now) / .milliseconds(1), 0).rounded(.up)
        var timeout = Int32(left)
        if milliseconds >= 0 { timeout = min(timeout, milliseconds) }
        var descriptors = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: threadEnd, events: Int16(POLLIN), revents: 0),
        ]
        while unsafe poll(&descriptors, 2, timeout) < 0, errno == EINTR {}
        var asked: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0]
        let count = unsafe read(threadEnd, &asked, asked.count)
        return count == 0 ? nil : count > 0
    }
}
