// Which file it is: stat(2), inode(7).

import Glibc

/// Tells a file from all others as long as somebody has it open, whatever its name.
public struct FileNumber: Hashable, Sendable {
    private let device: dev_t
    private let inode: ino_t

    /// That of a file that was looked at.
    public init(_ status: stat) {
        device = status.st_dev
        inode = status.st_ino
    }

    /// That of the file that a path leads to; nil and errno if it leads nowhere.
    public init?(path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// That of the folder that a path's last part is in; nil and errno if there is none.
    public init?(folderOf path: String) { self.init(path: folder(of: path) + "/.") }

    /// That of an open file; nil if there is none.
    init?(_ descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }
}
