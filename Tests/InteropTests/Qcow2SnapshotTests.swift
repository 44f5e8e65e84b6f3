// Internal snapshots of qcow2 images as QEMU makes them: listed, and served as they are.

import Foundation
import Support
import Testing

@Suite struct Qcow2SnapshotTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// An image with snapshots `a` of 4 MiB and `b` of 6 MiB, and another `b`.
    private func image(_ options: String) throws -> String {
        let path = folder.path + "/disk.qcow2"
        try run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", options, path, "4M"], in: folder)
        for (pattern, name) in [(1, "a"), (2, "b"), (3, "b")] {
            try run("qemu-io", ["-f", "qcow2", "-c", "write -P \(pattern) 1M 300k", path], in: folder)
            try run("qemu-img", ["snapshot", "-c", name, path], in: folder)
            if name == "a", options != "compat=0.10" {
                try run("qemu-img", ["resize", "-q", "-f", "qcow2", path, "6M"], in: folder)
            }
        }
        try run("qemu-io", ["-f", "qcow2", "-c", "write -P 4 1M 300k", path], in: folder)
        return path
    }

    @Test(arguments: ["cluster_size=65536", "compat=0.10", "cluster_size=512", "extended_l2=on,cluster_size=16k"])
    func aSnapshotIsTheDiskAsItWas(options: String) throws {
        let path = try image(options)
        let (old, copy) = (folder.path + "/old", folder.path + "/copy")
        for (name, id, pattern) in [("a", "1", 1), ("2", "2", 2), ("3", "3", 3)] {
            try run(
                "qemu-img", ["convert", "-l", "snapshot.id=\(id)", "-f", "qcow2", "-O", "raw", path, old], in: folder)
            try serving(["--read-only", "--image-snapshot", name, "disk=" + path], in: folder) { server in
                try run("nbdcopy", [server.uri, copy], in: folder)
                try run("qemu-io", ["-r", "-f", "raw", "-c", "read -P \(pattern) 1M 300k", server.uri], in: folder)
            }
            // QEMU gives it the size that the disk has now.
            try run("truncate", ["-r", copy, old], in: folder)
            try folder.expectSame(old, copy)
        }
        // An overlay begins with it, and the image stays as it is: changes are not brought there either.
        let before = try run("qemu-img", ["check", "--output=json", path], in: folder)
        let control = "unix:" + folder.path + "/control"
        let arguments = ["--control", control, "--sandbox-path", folder.path, "--image-snapshot", "1"]
        try serving(arguments + ["disk=overlay:" + path], in: folder) { server in
            try run(
                "qemu-io",
                ["-f", "raw"] + ["read -P 1 1M 300k", "write -P 9 1M 5k", "read -P 9 1M 5k"].flatMap { ["-c", $0] }
                    + [server.uri], in: folder)
            let committed = try Program.spindle.run(["ctl", "--control", control, "commit", "disk"], in: folder)
            #expect(committed.status == 1, "\(committed.text)")
            #expect(committed.errors.contains("an internal snapshot of its image"), "\(committed.errors)")
        }
        #expect(try run("qemu-img", ["check", "--output=json", path], in: folder) == before)
        try run("qemu-io", ["-r", "-f", "qcow2", "-c", "read -P 4 1M 300k", path], in: folder)
    }

    @Test func snapshotsAreListed() throws {
        let path = try image("cluster_size=65536")
        struct Image: Decodable {
            struct Snapshot: Decodable {
                let id, name: String
                let dateSec: Int

                enum CodingKeys: String, CodingKey {
                    case id, name
                    case dateSec = "date-sec"
                }
            }

            let snapshots: [Snapshot]
        }
        let seen = try JSONDecoder().decode(
            Image.self, from: Data(run("qemu-img", ["info", "--output=json", path], in: folder).utf8))
        let times = ISO8601DateFormatter()
        let expected = seen.snapshots.map {
            let bytes = $0.id == "1" ? 4 << 20 : 6 << 20
            let time = times.string(from: Date(timeIntervalSince1970: Double($0.dateSec)))
            return "\($0.id)\t\(time)\t\(bytes)\t\($0.name)"
        }
        let listed = try Program.spindle.run(["identify", "--snapshots", path], in: folder)
        #expect(listed.status == 0 && listed.text == expected.joined(separator: "\n") + "\n", "\(listed.text)")
        #expect(expected.count == 3)
        let drive = try Program.spindle.run(["identify", "--image-snapshot", "a", path], in: folder)
        #expect(drive.text.contains("8192 sectors"), "\(drive.text)")
    }

    @Test func whatDoesNotGoTogetherIsRefused() throws {
        let path = try image("cluster_size=65536")
        let raw = try folder.randomFile("disk.img", sizeBytes: 1 << 20)
        let refusals: [([String], String)] = [
            (
                ["--read-only", "--image-snapshot", "c", path],
                "it has no internal snapshot 'c'; it has 'a' (1), 'b' (2), 'b' (3)"
            ),
            (
                ["--read-only", "--image-snapshot", "b", path],
                "2 internal snapshots are called 'b': 'b' (2), 'b' (3); name it"
            ),
            (["--image-snapshot", "a", path], "internal snapshot 'a' of '\(path)' stays as it is: say read-only"),
            (["--read-only", "--image-snapshot", "a", raw], "is no qcow2 image, and has no internal snapshot 'a'"),
            (
                ["--image-snapshot", "a", "--changes", folder.path + "/new.qcow2", "overlay:" + path],
                "cannot say that it begins with internal snapshot 'a'"
            ),
            (
                ["--image-snapshot", "a", "--record", folder.path + "/new.rec", "overlay:" + path],
                "cannot say that it begins with internal snapshot 'a'"
            ),
        ]
        for (arguments, words) in refusals {
            let result = try Program.spindle.run(
                ["serve", "--listen", "unix:" + folder.path + "/s"] + arguments, in: folder)
            #expect(result.status == 1 && result.errors.contains(words), "\(arguments): \(result.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/new.qcow2"))
        // A table that is nowhere.
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seek(toOffset: 64)
        try handle.write(contentsOf: Data([0, 0, 1, 0, 0, 0, 0, 0]))
        try handle.close()
        let lost = try Program.spindle.run(["identify", "--snapshots", path], in: folder)
        #expect(lost.status == 1, "\(lost.errors)")
        #expect(lost.errors.contains("internal snapshot 1, at byte 1099511627776"), "\(lost.errors)")
    }
}
