// A server of many exports: what its list costs each connection.

import Foundation
import Support
import Testing

@Suite struct ManyExportsTests {
    /// Connections share the list of exports. With a copy for each, 200 of NBD had 21 MiB of it, and now 3.
    @Test(arguments: ["nbd", "iscsi"]) func theListIsNotCopiedForEachConnection(protocol name: String) throws {
        let folder = try TemporaryFolder()
        let files = folder.path + "/files"
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: false)
        for number in 0..<2000 {
            try #require(FileManager.default.createFile(atPath: "\(files)/file-\(number)", contents: Data(count: 512)))
        }
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "--threads", "1", "dir:" + files], in: folder)
        let before = server.residentBytes
        var connections: [RawConnection] = []
        for _ in 0..<200 {
            if name == "nbd" {
                let connection = try RawConnection(unix: server.socketPath)
                _ = try connection.receive(18)
                connections.append(connection)
            } else {
                connections.append(try RawConnection(port: try #require(server.port)))
            }
        }
        // The loop takes connections in their order: these have all begun.
        _ = try HandMadeSession(server.announcement, target: "iqn.2026-11.org.spindle:file-0")
        let grown = server.residentBytes - before
        #expect(grown < 12 << 20, "\(grown >> 10) KiB for \(connections.count) connections")
        #expect(try server.stop() == 0)
    }
}
