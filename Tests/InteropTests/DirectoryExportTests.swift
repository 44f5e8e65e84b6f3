// A directory as a source of drives, which come and go with its files.

import Foundation
import Support
import Testing

@Suite("Drives of a directory")
struct DirectoryExportTests {
    /// The names that clients see; nil if an export went while nbdinfo asked about each of the list.
    private func names(_ server: RunningServer) throws -> [String]? {
        guard let list = try attempt("nbdinfo", ["--list", "--json", server.uri], in: server.folder) else { return nil }
        let object = try JSONSerialization.jsonObject(with: Data(list.utf8)) as? [String: Any]
        return try #require(object?["exports"] as? [[String: Any]]).compactMap { $0["export-name"] as? String }
    }

    private func images(_ names: [String], in folder: TemporaryFolder) throws -> (TemporaryFolder, String) {
        let images = try TemporaryFolder()
        for name in names { _ = try images.file(name, sizeBytes: 1 << 20) }
        return (images, images.path)
    }

    @Test("files are there from the beginning, sorted, and hidden ones are not")
    func theBeginning() throws {
        let folder = try TemporaryFolder()
        let (images, path) = try images(["b.img", "a", ".hidden"], in: folder)
        _ = try images.file("empty", sizeBytes: 0)
        try serving(["--read-only", "one=null:1M", "p-=dir:" + path], in: folder) { server in
            #expect(try names(server) == ["one", "p-a", "p-b.img"])
            #expect(try run("nbdinfo", [server.uri(of: "p-a")], in: folder).contains("is_read_only: true"))
            try waitUntil("the empty file is spoken of: \(server.log)") {
                server.log.contains("image '\(path)/empty' is empty")
            }
        }
        // What is wrong with the directory is wrong with the server.
        let result = try Program.spindle.run(["serve", "dir:\(path)/a"], in: folder)
        #expect(result.status == 1)
        #expect(result.errors == "Error: directory '\(path)/a' cannot be listed: Not a directory\n")
    }

    @Test("files appear when they are whole, and go with their last client")
    func filesComeAndGo() throws {
        let folder = try TemporaryFolder()
        let (images, path) = try images(["a", "b"], in: folder)
        try serving(["dir:" + path], in: folder) { server in
            // Written in place: nobody sees half of it.
            let handle = try #require(fopen(path + "/written", "w"))
            try #require(fwrite([UInt8](repeating: 7, count: 512), 1, 512, handle) == 512 && fflush(handle) == 0)
            // Moved in, and moved over another.
            let other = try folder.file("moved", sizeBytes: 2 << 20)
            try #require(rename(other, path + "/moved") == 0)
            try waitUntil("the moved file is served: \(server.log)") { try names(server)?.contains("moved") == true }
            #expect(try names(server)?.contains("written") == false)
            fclose(handle)
            try waitUntil("the written file is served: \(server.log)") {
                try names(server)?.contains("written") == true
            }
            try expectSize(512, server.uri.replacing("/?", with: "/written?"), in: folder)

            let a = try server.uri(of: "a")
            try nbdsh(
                [a],
                """
                import os
                h.connect_uri(uri[0])
                h.pwrite(b'x' * 512, 0)
                os.remove('\(path)/a')
                while True:
                    try: nbd.NBD().connect_uri(uri[0])
                    except nbd.Error: break
                # A client that has the drive open keeps it.
                assert h.pread(512, 0) == b'x' * 512
                h.pwrite(b'y' * 512, 512)
                h.flush()
                h.shutdown()
                """, in: folder)
            #expect(try names(server) == ["b", "moved", "written"])
            // Another file of the same name is another drive.
            let larger = try folder.file("larger", sizeBytes: 3 << 20)
            try #require(rename(larger, path + "/b") == 0)
            // In between nobody has the name: to be asked then is no failure.
            try waitUntil("the new file is served: \(server.log)") {
                try attempt("nbdinfo", ["--size", server.uri(of: "b")], in: folder) == "\(3 << 20)\n"
            }
            try #require(rename(path + "/moved", path + "/renamed") == 0)
            try waitUntil("the renamed file is served: \(server.log)") {
                guard let names = try names(server) else { return false }
                return names.contains("renamed") && !names.contains("moved")
            }
            withExtendedLifetime(images) {}
        }
    }

    /// Files that cannot be served are left out, said once, and served when they can be.
    @Test("a file that another program has comes when that is done")
    func lockedFiles() throws {
        let folder = try TemporaryFolder()
        let (images, path) = try images(["used"], in: folder)
        _ = try images.file("empty", sizeBytes: 0)
        let holder = try RunningServer([path + "/used"], in: folder)
        try serving(["dir:" + path], in: folder) { server in
            #expect(server.announcement.hasPrefix("serving nothing yet at unix:"))
            try waitUntil("the file is spoken of: \(server.log)") { server.log.contains("/used' is in use by") }
            #expect(try holder.stop() == 0)
            try waitUntil("the file is served: \(server.log)") { try names(server) == ["used"] }
            try #require(truncate(path + "/empty", 512) == 0)
            // Who changes a file closes it.
            close(open(path + "/empty", O_WRONLY))
            try waitUntil("the file is served: \(server.log)") { try names(server) == ["used", "empty"] }
            #expect(server.log.components(separatedBy: "is in use by").count == 2, "\(server.log)")
            #expect(server.log.components(separatedBy: "is empty").count == 2, "\(server.log)")
        }
    }

    @Test("directories of a file come and go when it is read again")
    func reload() throws {
        let folder = try TemporaryFolder()
        let (first, firstPath) = try images(["a", "b"], in: folder)
        let (second, secondPath) = try images(["c"], in: folder)
        let file = folder.path + "/spindle.toml"
        func write(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: file)) }
        try write("[[directory]]\npath = \"\(firstPath)\"")
        try serving(["--config", file, "--sandbox-path", secondPath], in: folder) { server in
            #expect(try names(server) == ["a", "b"])
            // An export that the file names goes before a file of the directory.
            try write(
                "[[export]]\nname = \"a\"\nimage = \"null:5M\"\n[[directory]]\npath = \"\(firstPath)\"\n"
                    + "[[directory]]\npath = \"\(secondPath)\"\nprefix = \"second-\"")
            kill(server.processIdentifier, SIGHUP)
            try waitUntil("the configuration was read: \(server.log)") {
                try names(server) == ["a", "b", "second-c"]
            }
            try expectSize(5 << 20, server.uri(of: "a"), in: folder)
            try write("[[directory]]\npath = \"\(firstPath)\"")
            kill(server.processIdentifier, SIGHUP)
            try waitUntil("the configuration was read: \(server.log)") { Set(try names(server) ?? []) == ["a", "b"] }
            try waitUntil("the file is back: \(server.log)") {
                try attempt("nbdinfo", ["--size", server.uri(of: "a")], in: folder) == "\(1 << 20)\n"
            }
            // Nobody looks at the second one any more.
            _ = try second.file("d", sizeBytes: 512)
            _ = try first.file("d", sizeBytes: 512)
            try waitUntil("the file is served: \(server.log)") { Set(try names(server) ?? []) == ["a", "b", "d"] }
        }
    }
}
