// A folder of images in which somebody swaps links in: renameat2(2), RENAME_EXCHANGE.

import Foundation
import Support
import Testing

@Suite struct SwappedLinkTests {
    /// The server looks at a file and opens it a moment later. Whoever may write to the folder, and nowhere else, tries
    /// to have it open a link in between, and so an image that is not there.
    @Test func aLinkIsNotFollowed() throws {
        let folder = try TemporaryFolder()
        let secret = try folder.file("secret.img", sizeBytes: 3 << 20)
        let images = folder.path + "/images"
        try FileManager.default.createDirectory(atPath: images, withIntermediateDirectories: false)
        let swapped = try folder.file("images/a.img", sizeBytes: 1 << 20)
        #expect(symlink(secret, folder.path + "/link") == 0)
        let server = try RunningServer(["secret=\(try folder.file("x", sizeBytes: 512))", "dir:\(images)"], in: folder)
        let script = """
            import ctypes, sys
            exchange = ctypes.CDLL(None).renameat2
            print('ready', flush=True)
            while True: exchange(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)
            """
        let attacker = try RunningProgram(
            Program.tool("python3"), ["-c", script, swapped, folder.path + "/link"], in: folder)
        try attacker.wait("to begin") { attacker.output.contains("ready") }
        let deadline = Date(timeIntervalSinceNow: 6)
        var hasFollowed = false
        while Date() < deadline, !hasFollowed {
            hasFollowed = Self.openFiles(server.processIdentifier).contains(secret)
        }
        try attacker.stop(signal: SIGKILL)
        #expect(!hasFollowed, "\(server.log.suffix(2000))")
        // When the swapping ends with the file in its place, it is served.
        var status = stat()
        if lstat(swapped, &status) == 0, status.st_mode & S_IFMT == S_IFLNK {
            #expect(rename(folder.path + "/link", swapped) == 0)
        }
        try waitUntil("the file is served: \(server.log.suffix(2000))") {
            Self.openFiles(server.processIdentifier).contains(swapped)
        }
        #expect(try server.stop() == 0)
    }

    /// The paths of what a process has open.
    private static func openFiles(_ process: Int32) -> Set<String> {
        let folder = "/proc/\(process)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return Set(names.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)") })
    }
}
