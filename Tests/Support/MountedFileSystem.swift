// A file system of a test's own, in a file, on a loop device.

import Foundation
import Glibc

/// A file system that is mounted until this object is gone. Only root can make it.
final class MountedFileSystem {
    /// Where it is mounted.
    let path: String
    private let folder: TemporaryFolder
    private let device: String

    /// Makes a file system in a file, which is overwritten, and mounts it.
    ///
    /// - Parameters:
    ///   - type: as mkfs(8) and mount(8) know it.
    ///   - options: of mkfs(8).
    init(_ type: String, options: [String], on backing: String, in folder: TemporaryFolder) throws {
        self.folder = folder
        path = folder.path + "/mnt"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        func run(_ tool: String, _ arguments: [String]) throws -> String {
            let result = try Program.tool(tool).run(arguments, in: folder)
            guard result.status == 0 else { throw ProgramFailure("\(tool) \(arguments): \(result.errors)") }
            return result.text.trimmingCharacters(in: .newlines)
        }
        _ = try run("mkfs." + type, options + [backing])
        let device = try run("losetup", ["--find", "--show", backing])
        self.device = device
        do {
            _ = try run("mount", ["-t", type, device, path])
        } catch {
            _ = try? run("losetup", ["--detach", device])
            throw error
        }
    }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        _ = try? Program.tool("losetup").run(["--detach", device], in: folder)
    }
}
