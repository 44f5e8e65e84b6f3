// A discovery session: each SendTargets is answered with the targets of its time.

import Support
import Testing

@Suite struct DiscoveryTests {
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
