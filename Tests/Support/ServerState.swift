// A server's possessions, as the kernel sees them: before and after something that is to change nothing.

import Foundation
import Glibc

extension RunningServer {
    /// The files that it has open, by their paths, and how many of everything else.
    public func openFiles() throws -> [String] {
        let folder = "/proc/\(processIdentifier)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: folder).compactMap { name in
            // A connection of the control socket may have gone in between.
            guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: folder + "/" + name) else {
                return nil
            }
            // Sockets, pipes and the like have numbers that tell nothing.
            return target.hasPrefix("/") ? target : String(target.prefix { $0 != ":" })
        }.sorted()
    }
}

/// Whether somebody has a lock on a file that keeps a writer out, as QEMU's protocol has it (F_OFD_GETLK, fcntl(2)).
public func isLocked(_ path: String) throws -> Bool {
    let descriptor = open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw ProgramFailure("cannot open \(path): \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    var range = flock()
    range.l_type = Int16(F_WRLCK)
    range.l_whence = Int16(SEEK_SET)
    range.l_start = 100
    range.l_len = 200
    // F_OFD_GETLK has no name in Swift.
    guard fcntl(descriptor, 36, &range) == 0 else {
        throw ProgramFailure("cannot ask for the locks of \(path): \(String(cString: strerror(errno)))")
    }
    return range.l_type != Int16(F_UNLCK)
}
