// Clients that do not read what they asked for: bounded memory, others are served, nothing is lost (checklist B, N).

import Support
import Testing

@Suite struct UnreadReplyTests {
    // 13, 18: a client that asks much and reads late still gets every answer, and the next ones.
    @Test func answersThatAreReadLateAllCome() throws {
        let names = (0..<100).map { "\($0)" + String(repeating: "n", count: 1000) }
        let image = try ServedImage(options: names.map { "\($0)=memory:512" })
        let raw = try RawConnection(unix: image.server.socketPath)
        // Sent without reading: more answers than a socket holds, and more questions than the server keeps unread.
        let questions =
            (0..<8).flatMap { _ in option(OptionNumber.list) }
            + (0..<6).flatMap { _ in option(4242, pattern(60_000)) }
        try raw.send(clientFlags(3) + questions)
        let client = Client(raw, of: image.server)
        try client.receiveGreeting()
        for _ in 0..<8 { #expect(try client.replies(to: OptionNumber.list).count == 102) }
        for _ in 0..<6 { #expect(try client.replies(to: 4242).map(\.type) == [ReplyType.errorUnsupported]) }
        #expect(try client.go("disk").sizeBytes == UInt64(image.sizeBytes))
    }
}
