// What is answered and made stable when a server ends: also what nobody had looked at yet, and what is on its way out.

import Foundation
import Support
import Testing

@Suite struct StopTests {
    /// Requests that had come, but for which there was no memory: each is answered, if with ESHUTDOWN.
    @Test(arguments: [Style.simple, .structured], [false, true])
    func requestsThatWaitForMemoryAreAnswered(style: Style, tls: Bool) throws {
        let key = try TestKey()
        let image = try ServedImage(
            tls: "on", key, sizeBytes: 64 << 20,
            options: ["--shutdown-seconds", "60", "--stall-seconds", "1000", "--listen", "tcp:127.0.0.1:0"])
        let holder = try image.server.open(tcp: true)
        for _ in 0..<2 { try holder.submit(.read(0, 32 << 20)) }
        #expect(try holder.isReadable(withinMilliseconds: 10_000))
        let client = try image.server.negotiate(tcp: true)
        if tls { try client.startTLS(key.settings) }
        try client.negotiate(style)
        try client.go()
        let requests = [.read(0, 512), .read(0, 20 << 20), .read(512, 512), .read(0, 20 << 20)].map(client.register)
        try client.send(requests.flatMap(\.bytes))
        #expect(try client.reply().error == 0)
        // The server has begun to end when it takes nobody any more.
        kill(image.server.processIdentifier, SIGTERM)
        try waitUntil("nobody is let in") { (try? image.server.negotiate()) == nil }
        for _ in 0..<2 { #expect([0, ErrorNumber.shutdown].contains(try holder.reply().error)) }
        var errors: [UInt32] = []
        for _ in 0..<3 { errors.append(try client.reply().error) }
        #expect(errors.allSatisfy { [0, ErrorNumber.shutdown].contains($0) })
        #expect(try image.server.stop(signal: 0, limitSeconds: 20) == 0)
    }

    /// Requests that had come, but are not begun before an older connection is done with its own.
    @Test func requestsBehindAFenceAreAnswered() throws {
        let image = try ServedImage(options: ["--listen", "tcp:127.0.0.1:0", "--log-level", "info"])
        let before = try image.server.open(tcp: true)
        let write = before.register(.write(0, pattern(4096))).bytes
        // What is answered behind it has been seen, and so has what came before.
        try before.send(before.register(.read(0, 512)).bytes + write.bytes(0, 2000))
        #expect(try before.reply().error == 0)
        let fenced = try image.server.open(tcp: true)
        for number in 0..<3 { try fenced.submit(.read(number * 512, 512)) }
        // A client that is silent in the middle of a request loses its connection to a fence: this one is slow.
        var rest = write.bytes(2000, write.count - 2000)[...]
        func sendOneByte() throws { if rest.count > 1 { try before.send([rest.removeFirst()]) } }
        try waitUntil("the server has taken the requests") {
            try sendOneByte()
            return fenced.isTaken
        }
        kill(image.server.processIdentifier, SIGTERM)
        // A client that came just now might wait for longer than a fence does.
        try waitUntil("it stops") {
            try sendOneByte()
            return image.server.log.contains("stopping")
        }
        try before.send(Array(rest))
        #expect(try before.reply().error == 0)
        for _ in 0..<3 { #expect(try [0, ErrorNumber.shutdown].contains(fenced.reply().error)) }
        #expect(try image.server.stop(signal: 0) == 0)
    }

    /// An export that was removed, and whose client is there until the end, is made stable and closed like the others.
    @Test func aWithdrawnExportIsFlushed() throws {
        for round in 0..<8 {
            let folder = try TemporaryFolder()
            let path = try folder.file("a.img", sizeBytes: 1 << 20)
            let control = "unix:" + folder.path + "/control"
            let server = try RunningServer(["--control", control, "keep=memory:1M", path], in: folder)
            let client = try server.open("a")
            try client.performSuccessfully(.write(0, pattern(8192)))
            let removed = try Program.spindle.run(
                ["ctl", "--control", control, "remove", "--drain", "a"], in: folder)
            try #require(removed.status == 0, "\(removed.errors)")
            try client.performSuccessfully(.write(8192, pattern(4096)))
            #expect(try server.stop() == 0)
            #expect(server.log.contains("unflushed=12288"), "round \(round): \(server.log)")
            #expect(client.isClosedByServer())
            #expect(try folder.bytes("a.img", count: 8192) == pattern(8192))
        }
    }
}
