// Many images and few descriptors: what is needed is said before anything is opened.

import Foundation
import Support
import Testing

@Suite struct DescriptorLimitTests {
    private func images(_ count: Int, in folder: TemporaryFolder) throws -> [String] {
        try (0..<count).map { number in
            let path = folder.path + "/image\(number)"
            let file = open(path, O_CREAT | O_WRONLY, 0o600)
            try #require(file >= 0 && ftruncate(file, 512) == 0)
            close(file)
            return path
        }
    }

    /// The soft limit of most systems is no limit for who may raise it.
    @Test func manyImagesAtTheSoftLimit() throws {
        let folder = try TemporaryFolder()
        let images = try images(600, in: folder)
        let server = try RunningServer(
            ["--threads", "1", "--read-only"] + images, limits: ["--nofile=1024:8192"], in: folder)
        #expect(server.announcement.split(separator: "\n").count == 600)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Nothing was opened by then: an image of another kind would be what is wrong otherwise.
    @Test func tooManyForTheHardLimit() throws {
        let folder = try TemporaryFolder()
        let images = try images(900, in: folder)
        try #require(unlink(images[0]) == 0 && mkfifo(images[0], 0o600) == 0)
        let result = try Program.tool("prlimit").run(
            ["--nofile=1024:1024", Program.spindle.path, "serve", "--listen", "unix:\(folder.path)/s"] + images,
            in: folder)
        #expect(result.status == 1)
        #expect(
            result.errors.hasPrefix("Error: RLIMIT_NOFILE is 1024, and 900 exports need at least "), "\(result.errors)")
        let words = result.errors.split(separator: " ")
        let enough = try #require(words.first { $0.hasPrefix("LimitNOFILE=") }.flatMap { Int($0.dropFirst(12)) })
        #expect(result.errors.contains("'ulimit -n \(enough)' is enough"))
        // It is.
        try #require(unlink(images[0]) == 0)
        let server = try RunningServer(
            Array(images.dropFirst()), limits: ["--nofile=\(enough)"], in: try TemporaryFolder())
        #expect(server.log.isEmpty, "\(server.log)")
        #expect(try server.stop() == 0)
    }

    /// The least that is asked for is enough to serve a client.
    @Test(arguments: [[], ["--read-only"], ["--cache", "none"]]) func theLeastIsEnough(options: [String]) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let images = try images(40, in: folder)
        let arguments = ["--threads", "2"] + options + images
        let refused = try Program.tool("prlimit").run(
            ["--nofile=30", Program.spindle.path, "serve", "--listen", "unix:\(folder.path)/s"] + arguments, in: folder)
        let text = refused.errors
        let words = try #require(text.range(of: "need at least "), "\(text)")
        let least = try #require(Int(text[words.upperBound...].prefix { $0.isNumber }), "\(text)")
        let server = try RunningServer(arguments, limits: ["--nofile=\(least)"], in: folder)
        try expectSize(512, server.uri, in: folder)
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.processIdentifier)/fd").count
        #expect(open <= least && open > least - 8, "\(open) of \(least)")
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Of a directory the rest is left out in words, and there is room for clients.
    @Test func aDirectoryTakesWhatIsThere() throws {
        let folder = try TemporaryFolder()
        let files = try TemporaryFolder()
        _ = try images(600, in: files)
        let server = try RunningServer(
            ["--threads", "1", "dir:" + files.path], limits: ["--nofile=512:512"], in: folder)
        let count = server.announcement.split(separator: "\n").count
        #expect(count > 50 && count < 200, "\(count)")
        try waitUntil("it is said: \(server.log)") {
            server.log.contains("file left out")
                && server.log.contains("RLIMIT_NOFILE is 512, which is enough for \(count)")
        }
        try nbdsh(
            [server.uri],
            """
            clients = [nbd.NBD() for number in range(40)]
            for client in clients:
                client.connect_uri(uri[0])
                client.pread(512, 0)
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
