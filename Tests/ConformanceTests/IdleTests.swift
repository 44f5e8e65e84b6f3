// A server does nothing while nobody asks for anything.

import Glibc
import Support
import Testing

@Suite struct IdleTests {
    /// Clients that ask for one thing after the other have the server look for the next one; it stops when they do.
    @Test(arguments: [1, 3]) func aServerThatWasBusySleeps(clientCount: Int) throws {
        let content = pattern(1 << 16)
        let image = try ServedImage(content: content)
        let clients = try (0..<clientCount).map { _ in try image.open(.simple) }
        for number in 0..<2000 {
            let offset = number % 16 * 4096
            let bytes = try clients[number % clientCount].read(offset, 4096)
            try #require(bytes == content.bytes(offset, 4096))
        }
        let before = image.server.processorSeconds
        // Nothing comes: this is how long is measured.
        #expect(try !clients[0].isReadable(withinMilliseconds: 1000))
        #expect(image.server.processorSeconds - before < 0.1, "the server is busy")
        #expect(try image.server.stop() == 0)
    }

    /// The server gives back the memory of clients that were silent for five of its seconds. A request at that moment,
    /// here after the second has ended and before the server runs, is served all the same.
    @Test func whatComesAsMemoryIsGivenBackIsServed() throws {
        let content = pattern(1 << 16)
        let image = try ServedImage(content: content)
        let clients = try (0..<20).map { _ in try image.open(.simple) }
        for client in clients { #expect(try client.read(0, 512) == content.bytes(0, 512)) }
        usleep(4_050_000)
        kill(image.server.processIdentifier, SIGSTOP)
        usleep(1_050_000)
        for client in clients { _ = try client.submit(.read(4096, 512)) }
        kill(image.server.processIdentifier, SIGCONT)
        for client in clients { #expect(try client.reply().data == content.bytes(4096, 512)) }
        #expect(try image.server.stop() == 0)
    }
}
