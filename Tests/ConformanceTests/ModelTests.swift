// Random requests against an array of bytes (checklist I, J, K): what is read, which error is given, and what is in the
// file at the end.

import Support
import Testing

@Suite struct ModelTests {
    private static let size = 128 << 10

    // 92, 101, 102, 106, 107, 113, 116, 120, 121, 135, 172: one request after the other.
    @Test(arguments: Style.allCases, ["writeback", "none"])
    func randomRequestsDoWhatAnArrayOfBytesDoes(style: Style, mode: String) throws {
        let seed = UInt64.random(in: 1 ... .max)
        var numbers = SeededNumbers(seed: seed)
        var model = pattern(Self.size)
        let image = try ServedImage(sizeBytes: Self.size, content: model, options: ["--cache", mode])
        let client = try image.open(style)
        for step in 0..<600 {
            let request = randomRequest(&numbers)
            let reply = try client.perform(request)
            let place = "seed \(seed), step \(step): command \(request.type) at \(request.offset) of \(request.length)"
            let error = expectedError(reply.request)
            try #require(reply.error == error, "\(place)")
            guard error == 0 else { continue }
            let offset = Int(request.offset)
            let length = Int(request.length)
            switch request.type {
            case CommandNumber.read:
                try #require(reply.data.difference(from: model.bytes(offset, length)) == nil, "\(place)")
            case CommandNumber.write:
                model.overwrite(offset, with: request.payload)
            case CommandNumber.writeZeroes:
                model.overwrite(offset, with: .zeroes(length))
            case CommandNumber.trim:
                // The content there now stays there.
                let after = try client.read(offset, length)
                try #require(
                    zip(after, model[offset..<offset + length]).allSatisfy { $0 == 0 || $0 == $1 }, "\(place)")
                model.overwrite(offset, with: after)
            default:
                break
            }
        }
        #expect(try client.read(0, Self.size).difference(from: model) == nil, "seed \(seed)")
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes().difference(from: model) == nil, "seed \(seed)")
    }

    // 99, 116, 131: several clients, each with many requests under way in a part of the image that is its own; the
    // server may serve them in any order, so that none of a batch overlaps another.
    @Test(arguments: [1, 2])
    func batchesOfRandomRequestsDoWhatAnArrayOfBytesDoes(threads: Int) throws {
        let seed = UInt64.random(in: 1 ... .max)
        var numbers = SeededNumbers(seed: seed)
        let parts = 4
        let partBytes = 100_003
        var model = pattern(parts * partBytes)
        let image = try ServedImage(sizeBytes: model.count, content: model, threads: threads)
        let clients = try (0..<parts).map { try image.open(Style.allCases[$0 % 3]) }
        for round in 0..<12 {
            try playRound(
                clients, partBytes: partBytes, largestBytes: 3000, &model, &numbers, "seed \(seed), round \(round)")
        }
        #expect(try clients[0].read(0, model.count).difference(from: model) == nil, "seed \(seed)")
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes().difference(from: model) == nil, "seed \(seed)")
    }

    private func randomRequest(_ numbers: inout SeededNumbers) -> Request {
        var offset = UInt64.random(in: 0..<UInt64(Self.size), using: &numbers)
        var length = UInt64.random(in: 0...9000, using: &numbers)
        if Bool.random(using: &numbers) {
            offset = offset / 512 * 512
            length = length / 512 * 512
        }
        if Int.random(in: 0..<40, using: &numbers) == 0 { offset = numbers.next() }
        let type = UInt16.random(in: 0...8, using: &numbers)
        var flags: UInt16 = 0
        if type == CommandNumber.writeZeroes && Bool.random(using: &numbers) { flags = CommandFlag.noHole }
        if Int.random(in: 0..<40, using: &numbers) == 0 { flags = 1 << UInt16.random(in: 6...15, using: &numbers) }
        var request = Request(type: type, flags: flags, offset: offset, length: length)
        if type == CommandNumber.disconnect { request.type = CommandNumber.read }
        if type == CommandNumber.flush { (request.offset, request.length) = (0, 0) }
        if type == CommandNumber.write { request.payload = numbers.bytes(Int(length)) }
        return request
    }

    /// The document's error, and for zero lengths this server's choice.
    private func expectedError(_ request: Request) -> UInt32 {
        guard request.type <= CommandNumber.writeZeroes else { return ErrorNumber.invalid }
        guard request.flags & ~(CommandFlag.noHole | CommandFlag.payloadLength) == 0 else { return ErrorNumber.invalid }
        if request.type == CommandNumber.flush { return 0 }
        guard request.length > 0 else { return ErrorNumber.invalid }
        let (end, overflows) = request.offset.addingReportingOverflow(request.length)
        guard overflows || end > UInt64(Self.size) else { return 0 }
        let writes = request.type == CommandNumber.write || request.type == CommandNumber.writeZeroes
        return writes ? ErrorNumber.noSpace : ErrorNumber.invalid
    }
}
