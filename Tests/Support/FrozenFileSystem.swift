// A file system that can be frozen (fsfreeze(8)).

import Foundation
import Glibc

/// A file system in a file, mounted until this object is gone. Only root can mount it.
public final class FrozenFileSystem {
    /// Where it is mounted.
    public var path: String { fileSystem.path }
    private let folder: TemporaryFolder
    private let fileSystem: MountedFileSystem
    private var thawing: RunningProgram?

    /// Whether this process may make one.
    public static var canBeMade: Bool {
        geteuid() == 0 && access("/dev/loop-control", R_OK | W_OK) == 0
    }

    /// The types that can be made: mkfs(8) with these options.
    public enum FileSystem: String, CaseIterable, Sendable {
        case ext4, xfs, btrfs
    }

    /// Makes and mounts a file system. 320 MiB, of which little is stored: XFS is no smaller than 300.
    public init(_ type: FileSystem = .ext4) throws {
        folder = try TemporaryFolder(onDisk: true)
        let backing = try folder.file("backing", sizeBytes: 320 << 20)
        let options =
            switch type {
            case .ext4: ["-q", "-F"]
            case .xfs, .btrfs: ["-q", "-f"]
            }
        fileSystem = try MountedFileSystem(type.rawValue, options: options, on: backing, in: folder)
    }

    /// From now on whoever writes waits.
    public func freeze() throws {
        // Whatever becomes of this process: nobody may wait for ever. A session of its own, as what this process has
        // started ends with it.
        let script = """
            import os, time
            for number in range(3000):
                if not os.path.exists('/proc/\(getpid())') or not os.path.ismount('\(path)'): break
                time.sleep(0.1)
            os.execlp('fsfreeze', 'fsfreeze', '--unfreeze', '\(path)')
            """
        thawing = try RunningProgram(Program.tool("setsid"), ["--fork", "python3", "-c", script], in: folder)
        // FIFREEZE, _IOWR('X', 119, int).
        try control(0xC004_5877)
    }

    /// Those that wait go on.
    public func thaw() throws {
        // FITHAW, _IOWR('X', 120, int).
        try control(0xC004_5878)
    }

    private func control(_ request: UInt) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(descriptor) }
        guard ioctl(descriptor, request, 0) == 0 else { throw ProgramFailure("ioctl \(request): errno \(errno)") }
    }

    deinit { try? thaw() }
}
