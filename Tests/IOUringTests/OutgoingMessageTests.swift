// A message that goes out in pieces is the same message.

import Glibc
import IOUring
import Seeded
import Testing

@Suite struct OutgoingMessageTests {
    @Test func whatIsSkippedIsNotSentAndTheRestIs() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        let parts = (0..<40).map { part in
            (0..<Int.random(in: 1...300, using: &generator)).map { UInt8(($0 + part) & 255) }
        }
        let bytes = parts.flatMap { $0 }
        let memory = HeapBytes(bytes)
        var ranges: [MemoryRange] = []
        for part in parts {
            let start = ranges.reduce(0) { $0 + $1.count }
            ranges.append(memory.range[start..<start + part.count])
        }
        var skipped = 0
        while skipped < bytes.count {
            var message = OutgoingMessage()
            for range in ranges { message.append(range) }
            var left = skipped
            while left > 0 {
                let count = Int.random(in: 0...left, using: &generator)
                message.skip(count)
                left -= count
            }
            #expect(message.byteCount == bytes.count - skipped, "seed \(seed)")
            #expect(message.parts.reduce(0) { $0 + message[$1].count } == message.byteCount, "seed \(seed)")
            try #require(message.sendNow(to: ends[0]) == message.byteCount, "seed \(seed)")
            var received = [UInt8](repeating: 0, count: bytes.count)
            try #require(read(ends[1], &received, received.count) == message.byteCount, "seed \(seed)")
            #expect(received.prefix(message.byteCount) == bytes[skipped...], "seed \(seed), \(skipped) skipped")
            skipped += Int.random(in: 1...500, using: &generator)
        }
        #expect(memory.range.count == bytes.count)
    }

    @Test func noMorePartsThanFitIn() {
        var message = OutgoingMessage()
        let memory = HeapBytes([1])
        for _ in 0..<OutgoingMessage.capacity - 2 { message.append(memory.range) }
        let (two, three) = (message.hasRoom(for: 2), message.hasRoom(for: 3))
        #expect(two && !three)
        message.append(memory.range)
        message.append(memory.range)
        let (one, count) = (message.hasRoom(for: 1), message.byteCount)
        #expect(!one && count == OutgoingMessage.capacity)
        message.clear()
        let (all, none) = (message.hasRoom(for: OutgoingMessage.capacity), message.byteCount)
        #expect(all && none == 0 && memory.range.count == 1)
    }
}
