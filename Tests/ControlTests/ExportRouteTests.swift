// Exports over the control socket: seen, added, removed, grown, by curl; and what their clients notice.

import Foundation
import Support
import Testing

@Suite struct ExportRouteTests {
    @Test func exportsAreListed() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M", "--read-only", "b=memory:3G"], in: folder)
        let list = try server.curl("GET", "/v1/exports")
        #expect(list.status == 200)
        #expect(list.header.contains("Content-Type: application/json"))
        let exports = try #require(try list.object()["exports"] as? [[String: Any]])
        #expect(exports.map { $0["name"] as? String } == ["a", "b"])
        #expect(exports.map { $0["size-bytes"] as? Int } == [1 << 20, 3 << 30])
        #expect(exports.allSatisfy { $0["read-only"] as? Bool == true && $0["connections"] as? Int == 0 })
        let one = try server.curl("GET", "/v1/exports/b").object()
        #expect(one["description"] as? String == "QEMU HARDDISK 2.5+, serial QM00002, 6291456 sectors")
        // The content is described, and not sent.
        let head = try RawConnection(unix: server.socketPath)
        try head.send(Array("HEAD /v1/exports HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        let described = head.receiveAll()
        #expect(described.contains("\r\nContent-Length: \(list.body.utf8.count)\r\n"), "\(described)")
        #expect(described.hasSuffix("\r\n\r\n"))
        try server.finish()
    }

    @Test func anExportIsAddedAndServed() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let image = try folder.file("disk.img", sizeBytes: 5 << 20)
        let added = try server.curl(
            "POST", "/v1/exports",
            "{\"name\": \"new disk/ü\", \"image\": \"\(image)\", \"device\": \"ide-hd,serial=42\"}")
        #expect(added.status == 201, "\(added.body)")
        #expect(added.header.contains("Location: /v1/exports/new%20disk%2F%C3%BC\r\n"))
        #expect(try added.object()["description"] as? String == "QEMU HARDDISK 2.5+, serial 42, 10240 sectors")
        #expect(try server.size(of: "new%20disk/%C3%BC") == 5 << 20)
        #expect(try server.curl("GET", "/v1/exports/new%20disk%2F%C3%BC").status == 200)
        #expect(try server.curl("DELETE", "/v1/exports/new%20disk%2F%C3%BC").status == 204)
        #expect(try server.size(of: "new%20disk/%C3%BC") == nil)
        // The image is closed: it can be locked by others.
        #expect(try Program.tool("qemu-img").run(["resize", "-f", "raw", image, "6M"], in: folder).status == 0)
        try server.finish()
    }

    @Test func whatCannotBeAddedIsRefusedInWords() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let missing = folder.path + "/missing.img"
        let cases: [(String, Int, String)] = [
            ("", 400, "no content"),
            ("{", 400, "no JSON"),
            ("{\"name\": \"b\", \"image\": \"memory:1M\"} x", 400, "no JSON"),
            (String(repeating: "[", count: 60_000), 400, "no JSON"),
            ("[]", 422, "a list"),
            ("{}", 422, "image is missing"),
            ("{\"image\": 1}", 422, "a number stands where a string belongs"),
            ("{\"image\": \"memory:1M\", \"name\": \"a\\u0000b\"}", 422, "NUL"),
            ("{\"image\": \"memory:1M\", \"cahce\": \"none\"}", 422, "'cache'"),
            ("{\"image\": \"memory:1M\", \"cache\": \"fast\"}", 422, "'fast'"),
            ("{\"image\": \"memory:1M\", \"read-only\": \"yes\"}", 422, "read-only"),
            ("{\"image\": \"memory:1M\", \"device\": \"ide-hd,serail=1\"}", 422, "'serial'"),
            ("{\"image\": \"memory:0\"}", 422, "memory:0"),
            ("{\"image\": \"\(missing)\"}", 422, missing),
            ("{\"image\": \"\(folder.path)\"}", 422, folder.path),
            ("{\"name\": \"a\", \"image\": \"memory:1M\"}", 409, "'a'"),
            ("{\"name\": \"a\", \"image\": \"\(missing)\"}", 409, "'a'"),
        ]
        for (body, status, words) in cases {
            let reply = try server.curl("POST", "/v1/exports", body)
            #expect(reply.status == status, "\(body): \(reply.body)")
            #expect(try reply.error().contains(words), "\(body): \(reply.body)")
        }
        #expect(try (server.curl("GET", "/v1/exports").object()["exports"] as? [Any])?.count == 1)
        try server.finish()
    }

    @Test func theSandboxIsNamedWhenItHidesAnImage() throws {
        let folder = try TemporaryFolder()
        let hidden = try TemporaryFolder()
        let path = try hidden.file("hidden.img", sizeBytes: 1 << 20)
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let reply = try server.curl("POST", "/v1/exports", "{\"image\": \"\(path)\"}")
        #expect(reply.status == 422)
        #expect(try reply.error().contains("--sandbox-path"), "\(reply.body)")
        try server.finish()
    }

    @Test func anExportThatDoesNotExistIsNotFound() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        for (method, path) in [("GET", "/v1/exports/b"), ("DELETE", "/v1/exports/b"), ("POST", "/v1/exports/b/grow")] {
            let reply = try server.curl(method, path)
            #expect(reply.status == 404, "\(method) \(path)")
            #expect(try reply.error().contains("'b'"))
        }
        try server.finish()
    }

    @Test func anExportInUseStaysUnlessItIsForced() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M", "b=memory:1M"], in: folder)
        let client = try SteeredClient(server.uri("a"), then: "h.pread(512, 0)", in: folder)
        for path in ["/v1/exports/a", "/v1/exports/a?mode=safe"] {
            let refused = try server.curl("DELETE", path)
            #expect(refused.status == 409)
            #expect(try refused.error().contains("1 connection"), "\(refused.body)")
        }
        #expect(try server.curl("DELETE", "/v1/exports/a?mode=kindly").status == 400)
        #expect(try server.curl("DELETE", "/v1/exports/a?mod=force").status == 400)
        #expect(try server.size(of: "a") == 1 << 20)
        #expect(try server.curl("DELETE", "/v1/exports/a?mode=force").status == 204)
        #expect(try client.go().hasPrefix("failed"))
        #expect(try server.size(of: "a") == nil)
        #expect(try server.size(of: "b") == 1 << 20)
        try server.finish()
    }

    @Test func aDrainingExportLetsItsClientFinish() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("a.img", sizeBytes: 1 << 20)
        let server = try ControlledServer([image], in: folder)
        let client = try SteeredClient(
            server.uri("a"), then: "h.pwrite(b'x' * 512, 512); h.flush(); h.shutdown()", in: folder)
        let draining = try server.curl("DELETE", "/v1/exports/a?mode=drain")
        #expect(draining.status == 202)
        #expect(try draining.object()["draining"] as? Bool == true)
        #expect(try server.size(of: "a") == nil)
        #expect(try server.curl("GET", "/v1/exports/a").object()["connections"] as? Int == 1)
        #expect(try client.go() == "done")
        try waitUntil("it is gone") { try server.curl("GET", "/v1/exports/a").status == 404 }
        #expect(try folder.bytes("a.img", from: 512, count: 512) == [UInt8](repeating: UInt8(ascii: "x"), count: 512))
        // Without clients it goes at once.
        #expect(try server.curl("POST", "/v1/exports", "{\"image\": \"\(image)\"}").status == 201)
        #expect(try server.curl("DELETE", "/v1/exports/a?mode=drain").status == 204)
        try server.finish()
    }

    @Test func aGrownDriveIsSeenByThoseWhoConnectThen() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("a.img", sizeBytes: 1 << 20)
        let server = try ControlledServer([image], in: folder)
        let client = try SteeredClient(
            server.uri("a"), then: "assert h.get_size() == 1 << 20; h.pread(512, (1 << 20) - 512)", in: folder)
        // One that knows of the new size by other ways, as Linux can.
        let informed = try SteeredClient(
            server.uri("a"), then: "h.set_strict_mode(0); h.pwrite(b'x' * 512, (5 << 20) - 512)", in: folder)
        let beyond = try SteeredClient(server.uri("a"), then: "h.set_strict_mode(0); h.pread(512, 5 << 20)", in: folder)
        // By whoever owns the image...
        try folder.file("a.img", growTo: 2 << 20)
        #expect(try server.size(of: "a") == 1 << 20)
        let grown = try server.curl("POST", "/v1/exports/a/grow")
        #expect(grown.status == 200, "\(grown.body)")
        #expect(try grown.object()["size-bytes"] as? Int == 2 << 20)
        #expect(try grown.object()["description"] as? String == "QEMU HARDDISK 2.5+, serial QM00001, 4096 sectors")
        #expect(try server.size(of: "a") == 2 << 20)
        // ...or by the server.
        #expect(try server.curl("POST", "/v1/exports/a/grow", "{\"size\": \"5M\"}").status == 200)
        #expect(try server.size(of: "a") == 5 << 20)
        #expect(try folder.bytes("a.img").count == 5 << 20)
        #expect(try client.go() == "done")
        #expect(try informed.go() == "done")
        #expect(try beyond.go().hasPrefix("failed"))
        let cases: [(String, Int, String)] = [
            ("{\"size\": \"1M\"}", 422, "'a'"), ("{\"size\": \"5X\"}", 422, "'5X'"), ("{\"size\": 5}", 422, "'size'"),
            ("{\"bytes\": \"9M\"}", 422, "'bytes'"), ("[]", 400, "object"), ("{", 400, "no JSON"),
        ]
        for (body, status, words) in cases {
            let reply = try server.curl("POST", "/v1/exports/a/grow", body)
            #expect(reply.status == status, "\(body): \(reply.body)")
            #expect(try reply.error().contains(words), "\(body): \(reply.body)")
        }
        #expect(try server.size(of: "a") == 5 << 20)
        try server.finish()
    }
}

extension TemporaryFolder {
    /// Makes a file of the folder longer.
    fileprivate func file(_ name: String, growTo sizeBytes: UInt64) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path + "/" + name))
        try handle.truncate(atOffset: sizeBytes)
        try handle.close()
    }
}
