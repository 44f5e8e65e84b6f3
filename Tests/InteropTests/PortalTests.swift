// The address that initiators are told, where it is not that of the server's own sockets.

import Support
import Testing

@Suite struct PortalTests {
    private static let target = "iqn.2026-11.org.spindle:disk"

    @Test(arguments: ["storage.example.org:3260", "192.0.2.7:860", "[2001:db8::1]:3260"])
    func initiatorsAreToldThePortal(portal: String) throws {
        let folder = try TemporaryFolder()
        let port = try freePort()
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:\(port),portal=\(portal)", "disk=memory:1M"], in: folder)
        let address = portal.replacing(":3260", with: "")
        #expect(server.announcement.contains("iscsi://\(address)/\(Self.target)/0"), "\(server.announcement)")
        let found = try Program.tool("iscsi-ls").run(["iscsi://127.0.0.1:\(port)"], in: folder)
        #expect(found.text.contains("Target:\(Self.target) Portal:\(portal),1"), "\(found.text)")
        let session = try HandMadeSession.discovery(port: port)
        #expect(
            try session.negotiate(["SendTargets=All"]) == ["TargetName=\(Self.target)", "TargetAddress=\(portal),1"])
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// An initiator goes where it is sent; at an endpoint without a portal, to the address that it has found.
    @Test func anInitiatorFollowsThePortal() throws {
        let folder = try TemporaryFolder()
        let (first, second) = (try freePort(), try freePort())
        let server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:\(first),portal=localhost:\(second)",
                "--listen", "iscsi:127.0.0.1:\(second)", "disk=memory:1M",
            ], in: folder)
        for (port, portal) in [(first, "localhost:\(second)"), (second, "127.0.0.1:\(second)")] {
            let found = try Program.tool("iscsi-ls").run(["-s", "iscsi://127.0.0.1:\(port)"], in: folder)
            #expect(found.text.contains("Portal:\(portal),1"), "\(found.text)")
            #expect(found.text.contains("Lun:0    Type:DIRECT_ACCESS"), "\(found.text)")
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test(arguments: [
        (["iscsi:127.0.0.1:0,portal=0.0.0.0:3260"], "'0.0.0.0:3260' is no portal"),
        (
            ["iscsi://127.0.0.1/iqn.a:b"],
            "'iscsi://127.0.0.1/iqn.a:b' is a URL of clients, and no endpoint; use iscsi:127.0.0.1"
        ),
        (["iscsi:127.0.0.1:3260", "iscsi:127.0.0.1"], "endpoint 'iscsi:127.0.0.1:3260' is given twice"),
        (["tcp:127.0.0.1:3260", "iscsi:127.0.0.1"], "'tcp:127.0.0.1:3260' and 'iscsi:127.0.0.1:3260' are one place"),
    ])
    func wrongEndpointsAreRefused(endpoints: [String], message: String) throws {
        let folder = try TemporaryFolder()
        let result = try Program.spindle.run(
            ["serve"] + endpoints.flatMap { ["--listen", $0] } + ["memory:1M"], in: folder)
        #expect(result.status == 64 && result.errors.contains(message), "\(result.errors)")
        let file = folder.path + "/spindle.toml"
        let list = endpoints.map { "\"\($0)\"" }.joined(separator: ", ")
        try "listen = [\(list)]\n[[export]]\nimage = \"memory:1M\"\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let check = try Program.spindle.run(["check", file], in: folder)
        #expect(check.status == 1 && check.errors.contains("\(file):1: listen: "), "\(check.errors)")
        #expect(check.errors.contains(message), "\(check.errors)")
    }
}
