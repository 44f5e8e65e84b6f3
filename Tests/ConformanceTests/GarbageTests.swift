// Random bytes in both phases (checklist N): connections may end, the server goes on.

import Support
import Testing

@Suite struct GarbageTests {
    // 170: bytes without any sense, and options with random lengths and contents.
    @Test func garbageInTheHandshakeHarmsNobodyElse() throws {
        let seed = UInt64.random(in: 1 ... .max)
        var numbers = SeededNumbers(seed: seed)
        let image = try ServedImage(threads: 2, options: ["--listen", "tcp:127.0.0.1:0"])
        let witness = try image.open()
        for round in 0..<300 {
            let client = try image.server.connect(tcp: round % 2 == 0)
            var bytes = round % 3 == 0 ? [] : clientFlags(3)
            for _ in 0..<Int.random(in: 1...6, using: &numbers) { bytes += randomOption(&numbers) }
            // The server may close while it is being talked to.
            try? client.send(bytes)
            if round % 10 == 0 { #expect(try witness.read(0, 512) == .zeroes(512), "seed \(seed), round \(round)") }
            client.close()
        }
        #expect(image.server.isRunning, "seed \(seed)")
        #expect(try image.open().read(0, 512) == .zeroes(512), "seed \(seed)")
        #expect(try image.server.stop() == 0, "seed \(seed)")
    }

    private func randomOption(_ numbers: inout SeededNumbers) -> [UInt8] {
        let data = numbers.bytes(Int.random(in: 0...300, using: &numbers))
        let number = UInt32.random(in: 0...12, using: &numbers)
        switch Int.random(in: 0..<5, using: &numbers) {
        case 0: return data
        case 1: return option(number, data)
        case 2: return option(number, informationRequest(bytes: data, [1, 2, 3]))
        case 3:
            var bytes = option(number, informationRequest("disk", [3]))
            bytes[Int.random(in: 0..<bytes.count, using: &numbers)] = UInt8.random(in: 0...255, using: &numbers)
            return bytes
        default: return option(number, informationRequest("disk", [1]))
        }
    }

    // 100, 170: requests with random fields, behind each other, and random bytes.
    @Test func garbageInTheTransmissionPhaseHarmsNobodyElse() throws {
        let seed = UInt64.random(in: 1 ... .max)
        var numbers = SeededNumbers(seed: seed)
        let image = try ServedImage(
            sizeBytes: 1 << 20, threads: 2, options: ["--listen", "tcp:127.0.0.1:0", "bystander=memory:1M"])
        let witness = try image.server.open("bystander")
        for round in 0..<200 {
            let client = try image.server.open("disk", structured: round % 2 == 0, tcp: round % 3 == 0)
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...40, using: &numbers) { bytes += randomRequest(&numbers) }
            try? client.send(bytes)
            if round % 10 == 0 { #expect(try witness.read(0, 512) == .zeroes(512), "seed \(seed), round \(round)") }
            client.close()
        }
        #expect(image.server.isRunning, "seed \(seed)")
        let data = pattern(4096)
        let client = try image.server.open("disk")
        try client.performSuccessfully(.write(100, data))
        #expect(try client.read(100, 4096) == data, "seed \(seed)")
        #expect(try witness.read(0, 1 << 20).difference(from: .zeroes(1 << 20)) == nil, "seed \(seed)")
        #expect(try image.server.stop() == 0, "seed \(seed)")
    }

    private func randomRequest(_ numbers: inout SeededNumbers) -> [UInt8] {
        if Int.random(in: 0..<30, using: &numbers) == 0 {
            return numbers.bytes(Int.random(in: 1...100, using: &numbers))
        }
        let length = UInt32(truncatingIfNeeded: numbers.next()) >> UInt32.random(in: 0...31, using: &numbers)
        var request = Request(
            type: UInt16.random(in: 0...9, using: &numbers), cookie: numbers.next(),
            offset: numbers.next() >> UInt64.random(in: 40...63, using: &numbers), length: UInt64(length))
        if Int.random(in: 0..<10, using: &numbers) == 0 { request.flags = UInt16(truncatingIfNeeded: numbers.next()) }
        if Int.random(in: 0..<10, using: &numbers) == 0 { request.offset = numbers.next() }
        if request.type == CommandNumber.write {
            request.length %= 70_000
            request.payload = numbers.bytes(Int(request.length))
        }
        return request.bytes
    }
}
