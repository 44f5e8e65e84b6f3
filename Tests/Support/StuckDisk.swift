// A disk that stops to answer, for real: a loop device whose file is on a FUSE that hangs (FaultyFile).

import Foundation
import Glibc

/// An ext4 on such a disk, mounted until this object is gone. Only root can make it.
public final class StuckDisk {
    /// Where it is mounted.
    public var path: String { fileSystem.path }
    private let disk: FaultyFile
    private let fileSystem: MountedFileSystem

    /// Whether this process may make one.
    public static var canBeMade: Bool { FaultyFile.canBeMade && FrozenFileSystem.canBeMade }

    /// Makes and mounts a file system of so many bytes, which are in memory.
    public init(sizeBytes: Int) throws {
        disk = try FaultyFile(content: [UInt8](repeating: 0, count: sizeBytes))
        fileSystem = try MountedFileSystem(
            "ext4", options: ["-q", "-F", "-E", "nodiscard"], on: disk.path, in: TemporaryFolder(onDisk: true))
    }

    /// From now on the disk answers nothing; what is in the page cache can still be read.
    public func hang() {
        disk.hang()
    }

    /// What was asked meanwhile is answered, and all that comes.
    public func goOn() {
        disk.goOn()
    }

    /// Makes a file on it stable, and takes it out of the page cache: also what the loop device has read of its own
    /// file.
    public func evict(_ path: String) throws {
        for file in [path, disk.path] {
            let descriptor = open(file, O_RDONLY | O_CLOEXEC)
            defer { close(descriptor) }
            guard fsync(descriptor) == 0, posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0 else {
                throw ProgramFailure("\(file): errno \(errno)")
            }
        }
    }

    deinit { goOn() }
}
