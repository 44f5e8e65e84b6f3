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
        #expect(exports.map { $0["logical-block-bytes"] as? Int } == [512, 512])
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

    /// The added export is the answer, even if somebody has removed it before the answer.
    @Test func whatIsAddedIsAnsweredThoughItIsGone() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let remover = """
            import http.client, socket, sys, time
            end = time.monotonic() + 60
            while time.monotonic() < end:
                s = socket.socket(socket.AF_UNIX); s.connect('\(server.socketPath)')
                s.sendall(b'DELETE /v1/exports/b?mode=force HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
                while s.recv(4096): pass
            """
        let program = try RunningProgram(.tool("python3"), ["-c", remover], in: folder)
        let adder = """
            import json, socket
            body = b'{"name": "b", "image": "memory:1M"}'
            added = 0
            for number in range(500):
                s = socket.socket(socket.AF_UNIX); s.connect('\(server.socketPath)')
                s.sendall(b'POST /v1/exports HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\nContent-Length: %d'
                          b'\\r\\n\\r\\n' % len(body) + body)
                answer = b''
                while True:
                    some = s.recv(65536)
                    if not some: break
                    answer += some
                status = int(answer.split()[1])
                assert status in (201, 409), answer
                if status == 201:
                    assert json.loads(answer.split(b'\\r\\n\\r\\n')[1])['name'] == 'b', answer
                    added += 1
            print(added)
            """
        let result = try Program.tool("python3").run(["-c", adder], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        #expect((Int(result.text.dropLast()) ?? 0) > 0, "\(result.text)")
        try program.stop(signal: SIGKILL)
        try server.finish()
    }

    @Test func drivesThatCannotBeToldApart() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(
            ["--device", "ide-hd,serial=ABC,wwn=0x5000c50015ea71ac", "a=memory:1M"], in: folder)
        let added = try server.curl(
            "POST", "/v1/exports",
            "{\"name\": \"b\", \"image\": \"memory:1M\", \"device\": \"ide-hd,serial=ABC,wwn=0x5000c50015ea71ac\"}")
        #expect(added.status == 201)
        let warnings = try #require(try added.object()["warnings"] as? [String])
        #expect(warnings.count == 2 && warnings[0].contains("exports 'a' and 'b' have the same serial number 'ABC'"))
        #expect(warnings[1].contains("the same world wide name 0x5000c50015ea71ac"), "\(warnings)")
        let result = try server.ctl([
            "add", "--device", "ide-hd,serial=0f2a8f5e-1c1c-4f0e-9a7d-000000000001", "c=memory:1M",
        ])
        #expect(result.status == 0 && result.text.contains("Name:         c\n"))
        #expect(
            result.errors.contains(
                "warning: export 'c' has a serial number of 36 characters: the drive has the first 20"),
            "\(result.errors)")
        // Only its own: what was removed is no other drive.
        #expect(try server.curl("DELETE", "/v1/exports/c").status == 204)
        let again = try server.ctl(["add", "--device", "ide-hd,serial=0f2a8f5e-1c1c-4f0e-9", "d=memory:1M"])
        #expect(again.status == 0 && again.errors.isEmpty, "\(again.errors)")
        #expect(
            server.server.log.components(separatedBy: "perhaps not as it was meant").count == 4, "\(server.server.log)")
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

    /// Two at once: whatever comes first, in the end the drive is as large as its image, and each answer was true.
    @Test func twoGrowsAtOnce() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let server = try ControlledServer([image], in: folder)
        let script = """
            import http.client, json, os, socket, threading
            MiB = 1 << 20
            def grow(size):
                connection = http.client.HTTPConnection('localhost', timeout=30)
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect('\(server.socketPath)')
                barrier.wait()
                connection.request('POST', '/v1/exports/disk/grow', json.dumps({'size': str(size)}))
                response = connection.getresponse()
                answers[size] = (response.status, json.loads(response.read()))
            for turn in range(40):
                small, large = (10 * turn + 2) * MiB, (10 * turn + 3) * MiB
                answers, barrier = {}, threading.Barrier(2)
                threads = [threading.Thread(target=grow, args=[size]) for size in (small, large)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                assert answers[large][0] == 200 and answers[large][1]['size-bytes'] == large, answers
                assert answers[small][0] in (200, 422), answers
                assert answers[small][0] == 422 or answers[small][1]['size-bytes'] == small, answers
                assert os.stat('\(image)').st_size == large, turn
                listed = http.client.HTTPConnection('localhost', timeout=30)
                listed.sock = socket.socket(socket.AF_UNIX)
                listed.sock.connect('\(server.socketPath)')
                listed.request('GET', '/v1/exports/disk')
                assert json.loads(listed.getresponse().read())['size-bytes'] == large, turn
            """
        let result = try Program.tool("python3").run(["-c", script], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        // Its space is not taken before it is used.
        var status = stat()
        #expect(stat(image, &status) == 0 && status.st_blocks < 2048)
        try server.finish()
    }
}
