// Which file it is: stat(2), inode(7).

import Glibc

/// Tells a file from all others as long as somebody has it open, whatever its name.
public struct FileNumber: Equatable, Sendable {
    private let device: dev_t
    private let inode: ino_t

    /// That of a file that was looked at.
    public init(_ status: stat) {
        device = status.st_dev
        inode = status.st_ino
    }

    /// That of an open file; nil if there is none.
    init?(_ descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }
}
