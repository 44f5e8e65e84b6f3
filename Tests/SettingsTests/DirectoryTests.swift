// Files of a directory, and what the kernel says of them.

import Foundation
import Support
import Testing

@testable import Settings

@Suite struct DirectoryTests {
    /// A record of inotify(7).
    private func record(_ mask: Int, _ name: String, padding: Int = 16) -> [UInt8] {
        var bytes: [UInt8] = [1, 0, 0, 0]
        let length = name.isEmpty ? 0 : padding
        for word in [mask, 0, length] { bytes += (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        return bytes + Array(name.utf8) + [UInt8](repeating: 0, count: length - name.utf8.count)
    }

    @Test func recordsOfTheKernel() {
        let bytes =
            record(0x8, "written") + record(0x80, "moved here") + record(0x40, "gone") + record(0x200, "deleted")
            + record(0x4000, "") + record(0x400, "") + record(0x8, "a longer name than 16", padding: 32)
            + record(0x100, "begun") + record(0x8000, "")
        #expect(
            DirectoryWatch.events(in: bytes[...]) == [
                .appeared("written"), .appeared("moved here"), .vanished("gone"), .vanished("deleted"), .overflow,
                .gone,
                .appeared("a longer name than 16"),
            ])
        // Names are bytes; those of exports are text.
        #expect(
            DirectoryWatch.events(
                in: (Array(record(0x8, "x").dropLast(16)) + [0xFF] + [UInt8](repeating: 0, count: 15))[...]
            ).isEmpty)
        #expect(DirectoryWatch.events(in: []).isEmpty)
    }

    @Test func filesThatAreExports() throws {
        let folder = try TemporaryFolder()
        for name in ["b", "a.img", "Z", ".hidden", "\u{E9}"] { _ = try folder.file(name, sizeBytes: 512) }
        let path = folder.path
        try FileManager.default.createDirectory(atPath: path + "/folder", withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(atPath: path + "/link", withDestinationPath: path + "/b")
        #expect(mkfifo(path + "/pipe", 0o600) == 0)
        let directory = DirectorySettings(path: path, prefix: "p/")
        #expect(try directory.files() == ["Z", "a.img", "b", "\u{E9}"])
        let export = try directory.export(of: "a.img")
        #expect(export.name == "p/a.img")
        #expect(export.reference == .file(path: path + "/a.img"))
        #expect(throws: DirectoryError.self) { try DirectorySettings(path: path + "/b").files() }
        #expect(throws: DirectoryError.self) { try DirectorySettings(path: path + "/none").files() }
    }

    @Test func filesThatAreTheSame() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a", sizeBytes: 512)
        let other = FileIdentity(try folder.file("b", sizeBytes: 512))
        let first = try #require(FileIdentity(path))
        #expect(first == FileIdentity(path))
        #expect(!first.isSameFile(as: other) && !first.isSameFile(as: nil))
        _ = try folder.file("a", sizeBytes: 1024)
        let second = FileIdentity(path)
        #expect(first != second && first.isSameFile(as: second))
        #expect(FileIdentity(folder.path) == nil)
        #expect(FileIdentity(folder.path + "/none") == nil)
    }
}
