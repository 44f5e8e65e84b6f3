// A folder for a test's files.

import Foundation
import Glibc
import Synchronization

/// A folder that disappears, with all that is in it, when this object does.
public final class TemporaryFolder: Sendable {
    /// Its path, short enough for a Unix socket in it.
    public let path: String
    /// Nil if the folder is there for as long as the process.
    private let watch: Int?

    /// Makes the folder.
    ///
    /// - Parameter onDisk: files in it can be opened with O_DIRECT. /tmp is often a tmpfs, which does not know that on
    ///   all kernels; /var/tmp outlives a restart, so it never is one.
    public convenience init(onDisk: Bool = false) throws {
        try self.init(in: onDisk ? "/var/tmp" : Self.usualParent, isWatched: true)
    }

    /// Makes a folder for all tests of the process, which takes it along when it ends.
    public static func ofAllTests() throws -> TemporaryFolder {
        let folder = try TemporaryFolder(in: usualParent, isWatched: false)
        let isFirst = shared.withLock { shared in
            shared.append(folder)
            return shared.count == 1
        }
        if isFirst { atexit { TemporaryFolder.shared.withLock { $0.forEach { $0.remove() } } } }
        return folder
    }

    private static let shared = Mutex<[TemporaryFolder]>([])
    private static var usualParent: String { FileManager.default.temporaryDirectory.path }

    private init(in parent: String, isWatched: Bool) throws {
        path = parent + "/spindle-" + UUID().uuidString.prefix(13)
        watch = isWatched ? TestWatch.begin(path) : nil
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        remove()
        if let watch { TestWatch.end(watch) }
    }

    private func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Makes a sparse file that begins with some bytes.
    public func file(_ name: String, sizeBytes: UInt64, beginning: [UInt8] = []) throws -> String {
        let file = path + "/" + name
        try Data(beginning).write(to: URL(fileURLWithPath: file))
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        try handle.truncate(atOffset: sizeBytes)
        try handle.close()
        return file
    }

    /// The bytes of a file in the folder, or of part of it.
    public func bytes(_ name: String, from offset: UInt64 = 0, count: Int? = nil) throws -> [UInt8] {
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path + "/" + name))
        defer { try? handle.close() }
        try handle.seek(toOffset: offset)
        let data = count == nil ? try handle.readToEnd() : try handle.read(upToCount: count ?? 0)
        return [UInt8](data ?? Data())
    }
}
