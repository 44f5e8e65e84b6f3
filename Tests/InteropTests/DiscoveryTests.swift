// A discovery session: each SendTargets is answered with the targets of its time.

import Foundation
import Support
import Testing

@Suite struct DiscoveryTests {
    /// More targets than one PDU has room for.
    @Test func aLongListComesInPieces() throws {
        let folder = try TemporaryFolder()
        let files = folder.path + "/files"
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: false)
        let names = (0..<300).map { "file-\($0)" }
        for name in names { try Data(count: 4096).write(to: URL(fileURLWithPath: files + "/" + name)) }
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "dir:" + files], in: folder)
        let port = try HandMadeSession.port(server.announcement)
        let (answer, pieces) = try HandMadeSession.discovery(port: port).negotiateAll(["SendTargets=All"])
        #expect(pieces.count > 2 && pieces.dropLast().allSatisfy { $0 == 8192 } && pieces.last != 0, "\(pieces)")
        let expected = Set(names.map { "iqn.2026-11.org.spindle:\($0)" })
        let found = answer.filter { $0.hasPrefix("TargetName=") }.map { String($0.dropFirst(11)) }
        #expect(found.count == 300 && Set(found) == expected)
        #expect(answer.count { $0 == "TargetAddress=127.0.0.1:\(port),1" } == 300)
        let listed = try run("iscsi-ls", ["iscsi://127.0.0.1:\(port)"], in: folder).split(separator: "\n")
        #expect(Set(listed.compactMap { $0.split(separator: " ").first.map { String($0.dropFirst(7)) } }) == expected)
        #expect(listed.count == 300)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func eachTextIsOfThePresent() throws {
        let folder = try TemporaryFolder()
        let control = "unix:" + folder.path + "/control"
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--control", control, "disk=memory:1M"], in: folder)
        func ctl(_ arguments: [String]) throws {
            let result = try Program.spindle.run(["ctl", "--control", control] + arguments, in: folder)
            #expect(result.status == 0, "\(result.errors)")
        }
        let session = try HandMadeSession.discovery(port: try HandMadeSession.port(server.announcement))
        func targets(_ value: String = "All") throws -> [String] {
            try session.negotiate(["SendTargets=\(value)"]).filter { $0.hasPrefix("TargetName=") }.map {
                String($0.split(separator: ":")[1])
            }
        }
        #expect(try targets() == ["disk"])
        #expect(try targets("iqn.2026-11.org.spindle:more") == [])
        try ctl(["add", "more=memory:1M"])
        #expect(try targets() == ["disk", "more"])
        #expect(try targets("iqn.2026-11.org.spindle:more") == ["more"])
        try ctl(["remove", "disk"])
        #expect(try targets() == ["more"])
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
