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
            + record(0x100, "begun") + record(0x8000, "") + record(0x2000, "")
        let events: [DirectoryEvent] = [
            .appeared("written"), .appeared("moved here"), .vanished("gone"), .vanished("deleted"), .overflow,
            .gone,
            .appeared("a longer name than 16"), .created("begun"), .gone, .gone,
        ]
        #expect(DirectoryEvent.events(in: bytes[...], of: 1) == events)
        // Of a watch that is no more, only that something was left out counts.
        #expect(DirectoryEvent.events(in: bytes[...], of: 2) == [.overflow])
        // Names are bytes; those of exports are text.
        func nameless(_ mask: Int) -> [DirectoryEvent] {
            let bytes = Array(record(mask, "x").dropLast(16)) + [0xFF] + [UInt8](repeating: 0, count: 15)
            return DirectoryEvent.events(in: bytes[...], of: 1)
        }
        #expect(nameless(0x8) == [.unnameable([0xFF])] && nameless(0x40) == [.vanished("\\xff")])
        #expect(DirectoryEvent.events(in: [], of: 1).isEmpty)
    }

    @Test func filesThatAreExports() throws {
        let folder = try TemporaryFolder()
        for name in ["b", "a.img", "Z", ".hidden", "\u{E9}"] { _ = try folder.file(name, sizeBytes: 512) }
        let path = folder.path
        try FileManager.default.createDirectory(atPath: path + "/folder", withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(atPath: path + "/link", withDestinationPath: path + "/b")
        #expect(mkfifo(path + "/pipe", 0o600) == 0)
        let bytes = Array((path + "/caf").utf8CString.dropLast()) + [CChar(bitPattern: 0xE9), 0]
        close(open(bytes, O_CREAT | O_WRONLY, 0o600))
        let directory = DirectorySettings(path: path, prefix: "p/")
        let listing = try directory.listing()
        #expect(listing.files == ["Z", "a.img", "b", "\u{E9}"])
        #expect(Set(listing.leftOut.map(\.name)) == ["folder", "link", "pipe", "caf\\xe9"])
        #expect(listing.leftOut.first { $0.name == "caf\\xe9" }?.reason.contains("no UTF-8") == true)
        #expect(listing.leftOut.first { $0.name == "pipe" }?.reason.contains("a FIFO") == true)
        let export = try directory.export(of: "a.img")
        #expect(export.name == "p/a.img")
        #expect(export.reference == .file(path: path + "/a.img"))
        let noDirectory = try #require(throws: DirectoryError.self) {
            try DirectorySettings(path: path + "/b").listing()
        }
        #expect(noDirectory.code == ENOTDIR)
        let nothing = try #require(throws: DirectoryError.self) { try DirectorySettings(path: path + "/no").listing() }
        #expect(nothing.code == ENOENT)
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
