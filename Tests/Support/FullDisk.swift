// A disk whose writes back fail, for real: a loop device whose file lies on a full tmpfs. Writing to it succeeds,
// because it is a copy into the page cache; what comes later does not.

import Foundation
import Glibc

/// An image of 48 MiB: the first 8 MiB are stored, and there is room for nothing more. Only root can make it.
///
/// Writes beyond these bytes should not adjoin them: when a write fails in the middle, a loop device reports success.
public final class FullDisk {
    /// The kinds of images.
    public enum Kind: CaseIterable, Sendable {
        /// The loop device.
        case device
        /// A file on it, on ext4 without a journal. ext4 does not mend its own metadata that it could not store when
        /// there is room.
        case file
    }

    /// The image.
    public let image: String
    private let folder: TemporaryFolder
    private let device: String
    private let mountPoint: String?

    /// Whether this process may mount.
    public static var canBeMade: Bool {
        geteuid() == 0 && access("/dev/loop-control", R_OK | W_OK) == 0
    }

    /// Makes the disk. It is gone with this object, when whoever has it open has ended.
    public init(_ kind: Kind) throws {
        folder = try TemporaryFolder()
        let store = folder.path + "/store"
        try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: false)
        try Self.run("mount", ["-t", "tmpfs", "-o", "size=12m", "none", store], folder)
        let file = try folder.file("store/file", sizeBytes: (kind == .device ? 48 : 64) << 20)
        device = try Self.run("losetup", ["--find", "--show", file], folder).trimmingCharacters(in: .newlines)
        switch kind {
        case .device:
            mountPoint = nil
            image = device
        case .file:
            let path = folder.path + "/disk"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            try Self.run("mkfs.ext4", ["-q", "-O", "^has_journal", "-E", "nodiscard", device], folder)
            try Self.run("mount", [device, path], folder)
            mountPoint = path
            image = path + "/disk.img"
        }
        try Self.run("dd", ["if=/dev/urandom", "of=" + image, "bs=1M", "count=8", "conv=fsync,notrunc"], folder)
        if kind == .file { try Self.run("truncate", ["--size=48M", image], folder) }
        let filled = try Program.tool("dd").run(["if=/dev/zero", "of=\(store)/filler", "bs=4k"], in: folder)
        guard filled.errors.contains("No space left on device") else { throw ProgramFailure(filled.errors) }
    }

    /// The command that makes room for everything.
    public var makingRoom: [String] { ["mount", "-o", "remount,size=128m", folder.path + "/store"] }

    @discardableResult
    private static func run(_ tool: String, _ arguments: [String], _ folder: TemporaryFolder) throws -> String {
        let result = try Program.tool(tool).run(arguments, in: folder)
        guard result.status == 0 else { throw ProgramFailure("\(tool) \(arguments): \(result.errors)") }
        return result.text
    }

    deinit {
        if let mountPoint { umount2(mountPoint, Int32(MNT_DETACH)) }
        _ = try? Self.run("losetup", ["--detach", device], folder)
        umount2(folder.path + "/store", Int32(MNT_DETACH))
    }
}
