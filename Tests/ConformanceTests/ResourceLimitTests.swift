// A server that runs into limits of its process: the right error, and it goes on (checklist A, I).

import Foundation
import Support
import Testing

@Suite struct ResourceLimitTests {
    // 109: EFBIG, a file that may not grow, is ENOSPC, and the next requests are served.
    @Test(arguments: ["writeback", "none"], [false, true])
    func aFileThatMayNotGrowHasNoSpace(mode: String, structured: Bool) throws {
        let content = pattern(4096)
        let image = try ServedImage(
            sizeBytes: 8 << 20, content: content, options: ["--cache", mode], limits: ["--fsize=1048576"])
        let client = try image.open(structured: structured)
        #expect(try client.perform(.write(4 << 20, content)).error == ErrorNumber.noSpace)
        try client.performSuccessfully(.write(65536, content))
        #expect(try client.read(65536, 4096) == content)
        #expect(try client.read(4 << 20, 4096) == .zeroes(4096))
        #expect(try image.server.stop() == 0)
    }

    // 10: without descriptors for more connections the server serves those that it has, waits quietly, and takes the
    // next client when one has gone.
    @Test func withoutDescriptorsClientsWait() throws {
        let image = try ServedImage(limits: ["--nofile=16"])
        var clients: [Client] = []
        var waiting: Client?
        while waiting == nil && clients.count < 16 {
            let client = try image.connect()
            if try client.isReadable(withinMilliseconds: 1000) {
                try client.begin()
                try client.go()
                clients.append(client)
            } else {
                waiting = client
            }
        }
        let last = try #require(waiting)
        for client in clients { #expect(try client.read(0, 512) == .zeroes(512)) }
        #expect(image.server.log.split(separator: "\n").count < 10)
        clients.removeFirst().close()
        try last.begin()
        try last.go()
        #expect(try last.read(0, 512) == .zeroes(512))
        #expect(try image.server.stop() == 0)
    }

    // Clients that ask for 2 MiB each, one after the other, and stay: their memory is used again for others.
    @Test func memoryOfClientsThatStayHasABound() throws {
        let image = try ServedImage(sizeBytes: 8 << 20, options: ["--cache", "none", "--threads", "2"])
        let before = image.server.residentBytes
        var clients: [Client] = []
        for _ in 0..<250 {
            let client = try image.open()
            let replies = try client.perform([.read(0, 1 << 20), .read(1 << 20, 1 << 20)])
            try #require(replies.allSatisfy { $0.error == 0 })
            clients.append(client)
        }
        let resident = image.server.residentBytes
        #expect(resident < before + 192 << 20, "\(resident >> 20) MiB, \(before >> 20) MiB before")
        for client in clients { #expect(try client.read(0, 512) == .zeroes(512)) }
        #expect(try image.server.stop() == 0)
    }
}
