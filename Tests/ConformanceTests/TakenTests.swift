// Tests wait until a server has received what they sent: also when the machine has many sockets.

import Support
import Testing

@Suite struct TakenTests {
    @Test func amongManySocketsAConnectionIsFound() throws {
        // A page of /proc/net/tcp has some 27 lines.
        let image = try ServedImage(options: ["--listen", "tcp:127.0.0.1:0"])
        let clients = try (0..<40).map { _ in try image.server.open(tcp: true) }
        for client in clients {
            try client.submit(.read(0, 512))
            try waitUntil("the server has received a READ") { client.isTaken }
        }
        for client in clients { #expect(try client.reply().error == 0) }
    }
}
