// A directory whose path leads elsewhere, and one that the kernel does not watch.

import Foundation
import Support
import Testing

@Suite struct DirectoryWatchTests {
    /// The names that clients see.
    private func names(_ uri: String, in folder: TemporaryFolder) throws -> Set<String> {
        let list = try run("nbdinfo", ["--list", "--json", uri], in: folder)
        let object = try JSONSerialization.jsonObject(with: Data(list.utf8)) as? [String: Any]
        return Set(try #require(object?["exports"] as? [[String: Any]]).compactMap { $0["export-name"] as? String })
    }

    /// A configuration file that serves a directory, with a first image in it.
    private func configuration(_ path: String, in folder: TemporaryFolder) throws -> String {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try run("truncate", ["-s", "1M", path + "/a"], in: folder)
        let file = folder.path + "/c.toml"
        try "[[directory]]\npath = \"\(path)\"\n".write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    /// A watch belongs to an inode, a configuration to a path.
    @Test func aDirectoryIsReplaced() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/parent/d"
        let file = try configuration(path, in: folder)
        try serving(["--config", file], in: folder) { server in
            let client = "h.connect_uri(uri[0]); h.pwrite(b'x' * 512, 0)"
            try nbdsh(
                [server.uri(of: "a")],
                """
                import subprocess
                \(client)
                subprocess.run('mv \(path) \(path).old; mkdir \(path); truncate -s 2M \(path)/b', shell=True, check=True)
                # Whoever has the drive open keeps it.
                h.pwrite(b'y' * 512, 512)
                h.shutdown()
                """, in: folder)
            try waitUntil("the new directory is served: \(server.log)") { try names(server.uri, in: folder) == ["b"] }
            // And watched.
            try run("truncate", ["-s", "1M", path + "/c"], in: folder)
            try waitUntil("it is watched: \(server.log)") { try names(server.uri, in: folder) == ["b", "c"] }
            // It goes, and comes later.
            try run("rm", ["-r", path], in: folder)
            try waitUntil("it is gone: \(server.log)") { try names(server.uri, in: folder) == [] }
            try waitUntil("it is spoken of: \(server.log)") { server.log.contains("directory gone") }
            try run("sh", ["-c", "mkdir \(path); truncate -s 1M \(path)/e"], in: folder)
            try waitUntil("it is back: \(server.log)") { try names(server.uri, in: folder) == ["e"] }
            #expect(server.log.contains("directory watched again"), "\(server.log)")
        }
    }

    /// The sandbox of a server without a configuration file leaves it the folder that the directory is in.
    @Test func aDirectoryOfTheCommandLineIsReplaced() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/parent/d"
        _ = try configuration(path, in: folder)
        try serving(["dir:" + path], in: folder) { server in
            try run(
                "sh", ["-c", "mv \(path) \(path).old; mkdir \(path); truncate -s 2M \(path)/b"], in: folder)
            try waitUntil("the new directory is served: \(server.log)") { try names(server.uri, in: folder) == ["b"] }
            #expect(!server.log.contains("cannot be listed: Permission"), "\(server.log)")
        }
    }

    /// A directory that the sandbox keeps from the server has its watch, and is not served for that.
    @Test func aDirectoryThatCannotBeListedIsNotSaidToBeWatched() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/parent/d"
        _ = try configuration(path, in: folder)
        let link = folder.path + "/link"
        try run("sh", ["-c", "mkdir -p \(folder.path)/elsewhere/e; ln -s \(path) \(link)"], in: folder)
        try serving(["dir:" + link], in: folder) { server in
            try run("rm", [link], in: folder)
            try waitUntil("it is gone: \(server.log)") { server.log.contains("directory gone") }
            try run("ln", ["-s", folder.path + "/elsewhere/e", link], in: folder)
            try waitUntil("it is not listed: \(server.log)") {
                server.log.contains("link' cannot be listed: Permission")
            }
            #expect(!server.log.contains("directory watched again"), "\(server.log)")
            try run("ln", ["-sfn", path, link], in: folder)
            try waitUntil("it is back: \(server.log)") { server.log.contains("directory watched again") }
            #expect(try names(server.uri, in: folder) == ["a"], "\(server.log)")
        }
    }

    /// With its parent, of which the kernel says nothing: a reload looks where the path leads.
    @Test func itsParentIsReplaced() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/above/parent/d"
        let file = try configuration(path, in: folder)
        try serving(["--config", file, "--sandbox-path", folder.path], in: folder) { server in
            try run(
                "sh",
                ["-c", "cd \(folder.path)/above; mv parent old; mkdir -p parent/d; truncate -s 1M parent/d/b"],
                in: folder)
            kill(server.processIdentifier, SIGHUP)
            try waitUntil("it is read again: \(server.log)") { server.log.contains("configuration read again") }
            #expect(try names(server.uri, in: folder) == ["b"], "\(server.log)")
            #expect(server.log.contains("added 'b'; removed 'a'"), "\(server.log)")
            try run("truncate", ["-s", "1M", path + "/c"], in: folder)
            try waitUntil("it is watched: \(server.log)") { try names(server.uri, in: folder) == ["b", "c"] }
        }
    }

    /// A mount that goes lazily makes no event while images are open, and one that comes never does.
    @Test(.enabled(if: geteuid() == 0, "only root may mount")) func aDirectoryIsMountedAgain() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/parent/d"
        let file = try configuration(path, in: folder)
        let script = """
            set -e
            mount --make-rprivate /
            cd \(folder.path)
            mount -t tmpfs one \(path); truncate -s 1M \(path)/first
            '\(Program.spindle.path)' serve --config \(file) --listen unix:s --pid-file pid 2> log > out &
            server=$!
            trap 'kill $server' EXIT
            await() {
                n=0
                until nbdinfo --list --json 'nbd+unix:///?socket=s' 2> /dev/null | grep -q "\\"export-name\\": \\"$1\\""; do
                    n=$((n + 1)); [ $n -lt 200 ] || { echo "no $1"; cat log; exit 1; }; sleep 0.1
                done
            }
            await first
            umount -l \(path)
            mount -t tmpfs two \(path); truncate -s 1M \(path)/second
            await second
            mount -t tmpfs three \(path); truncate -s 1M \(path)/third
            await third
            truncate -s 1M \(path)/fourth
            await fourth
            umount \(path) || umount -l \(path)
            await second
            trap - EXIT
            kill $server; wait $server
            """
        try run("unshare", ["-m", "sh", "-c", script], in: folder)
    }

    /// inotify's limits are named, and the directory is listed instead. A namespace has limits of its own.
    @Test(arguments: ["instances", "watches"]) func inotifysLimits(kind: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/parent/d"
        let file = try configuration(path, in: folder)
        let socket = folder.path + "/s"
        let server = try RunningProgram(
            .tool("unshare"),
            [
                "-Ur", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_\(kind) && exec \"$@\"", "sh",
                Program.spindle.path,
                "serve", "--config", file, "--listen", "unix:" + socket,
            ], in: folder)
        try server.wait("to serve") { server.output.hasPrefix("serving") }
        let uri = "nbd+unix:///?socket=" + socket
        try server.wait("to say why") { server.errors.contains("fs.inotify.max_user_\(kind)") }
        #expect(!server.errors.contains("cannot be listed"), "\(server.errors)")
        try run("truncate", ["-s", "1M", path + "/b"], in: folder)
        try waitUntil("it is listed: \(server.errors)") { try names(uri, in: folder) == ["a", "b"] }
        try run("rm", [path + "/a"], in: folder)
        try run("truncate", ["-s", "1M", path + "/c"], in: folder)
        kill(server.processIdentifier, SIGHUP)
        try waitUntil("it is listed: \(server.errors)") { try names(uri, in: folder) == ["b", "c"] }
        // Said once.
        #expect(server.errors.components(separatedBy: "is listed every 5 seconds").count == 2, "\(server.errors)")
        #expect(try server.stop() == 0, "\(server.errors)")
    }

    /// A new name of a file that this server has served is no other program's doing.
    @Test func aFileIsRenamedWhileItIsInUse() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/d"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try run("truncate", ["-s", "1M", path + "/tmp.part"], in: folder)
        try serving(["dir:" + path], in: folder) { server in
            try nbdsh(
                [server.uri(of: "tmp.part"), server.uri],
                """
                import os, time
                h.connect_uri(uri[0])
                os.rename('\(path)/tmp.part', '\(path)/disk.img')
                end = time.monotonic() + 20
                log = [f for f in os.listdir('\(folder.path)') if f.endswith('.err') and f.startswith('server-')][0]
                while b'clients still have' not in open('\(folder.path)/' + log, 'rb').read():
                    assert time.monotonic() < end
                    time.sleep(0.01)
                h.shutdown()
                """, in: folder)
            try waitUntil("it is served: \(server.log)") { try names(server.uri, in: folder) == ["disk.img"] }
            #expect(server.log.contains("as export 'tmp.part'"), "\(server.log)")
            #expect(!server.log.contains("another program"), "\(server.log)")
        }
        // Without clients it takes a moment, and there is nothing to say.
        try serving(["dir:" + path], in: folder) { server in
            try #require(rename(path + "/disk.img", path + "/again.img") == 0)
            try waitUntil("it is served: \(server.log)") { try names(server.uri, in: folder) == ["again.img"] }
            #expect(!server.log.contains("left out"), "\(server.log)")
        }
    }

    /// A program that runs cannot be written to (ETXTBSY); when it has ended, nothing in the file says so.
    @Test func aFileThatCouldNotBeOpened() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/d"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let program = try Program.tool("sleep").copied(into: folder)
        let running = try RunningProgram(program, ["600"], in: folder)
        try serving(["dir:" + path], in: folder) { server in
            try #require(rename(program.path, path + "/sleep") == 0)
            try waitUntil("it is left out: \(server.log)") { server.log.contains("file left out") }
            #expect(server.log.contains("Text file busy"), "\(server.log)")
            try running.stop(signal: SIGKILL)
            try waitUntil("it is served: \(server.log)") { try names(server.uri, in: folder) == ["sleep"] }
        }
    }

    /// A second name of a whole file makes no event of writing.
    @Test func aFileIsLinked() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/d"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let image = try folder.file("image", sizeBytes: 1 << 20)
        try serving(["dir:" + path], in: folder) { server in
            try #require(link(image, path + "/linked") == 0)
            try waitUntil("it is served: \(server.log)") { try names(server.uri, in: folder) == ["linked"] }
        }
    }

    private func make(_ names: [String], in path: String) throws {
        for name in names {
            let file = open(path + "/" + name, O_CREAT | O_WRONLY, 0o600)
            try #require(file >= 0 && ftruncate(file, 512) == 0)
            close(file)
        }
    }

    /// More files than a server can have exports: the rest is left out in words, and has its turn.
    @Test func fourThousandFiles() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/d"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let start = Date()
        try serving(["--threads", "1", "--read-only", "dir:" + path], in: folder) { server in
            try make((0..<4000).map { "image\($0)" }, in: path)
            try waitUntil("all are served: \(server.log)", limitSeconds: 60) {
                let uri = server.uri.replacing("/?", with: "/image3999?")
                return try Program.tool("nbdinfo").run(["--size", uri], in: folder).text == "512\n"
            }
        }
        print("4000 files added in \(Date().timeIntervalSince(start)) s")
        try make((4000..<4200).map { "image\($0)" }, in: path)
        try serving(["--threads", "1", "--read-only", "dir:" + path], in: folder) { server in
            #expect(server.announcement.split(separator: "\n").count == 4096)
            try waitUntil("the rest is spoken of: \(server.log)") {
                server.log.contains("file left out") && server.log.contains("a server has at most 4096 exports")
            }
            try #require(unlink(path + "/image0") == 0)
            try waitUntil("another has its turn: \(server.log)") {
                server.log.contains("export added")
            }
        }
    }
}
