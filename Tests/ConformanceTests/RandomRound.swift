// Random requests of several clients against an array of bytes.

import Seeded
import Support
import Testing

/// Each client sends requests for all of a part of the image that is its own, in any order, and all at once; then all
/// answers are compared with the model, which becomes what the image should be now. The server may serve them in any
/// order: none of a round overlaps another.
func playRound(
    _ clients: [Client], partBytes: Int, largestBytes: Int, _ model: inout [UInt8], _ numbers: inout SeededNumbers,
    _ context: String
) throws {
    var batches: [[Request]] = []
    for (part, client) in clients.enumerated() {
        var requests: [Request] = []
        var position = part * partBytes
        let end = position + partBytes
        while position < end {
            let count = Int.random(in: 1...min(largestBytes, end - position), using: &numbers)
            switch Int.random(in: 0..<4, using: &numbers) {
            case 0: requests.append(.read(position, count))
            case 1: requests.append(.zero(position, count))
            default: requests.append(.write(position, numbers.bytes(count)))
            }
            position += count
        }
        batches.append(requests.shuffled(using: &numbers).map(client.register))
    }
    for (client, batch) in zip(clients, batches) { try client.send(batch.flatMap(\.bytes)) }
    for (client, batch) in zip(clients, batches) {
        for _ in batch {
            let reply = try client.reply()
            try #require(reply.error == 0, "\(context)")
            guard reply.request.type == CommandNumber.read else { continue }
            let expected = model.bytes(Int(reply.request.offset), Int(reply.request.length))
            try #require(reply.data.difference(from: expected) == nil, "\(context)")
        }
    }
    for request in batches.joined() where request.type != CommandNumber.read {
        let isWrite = request.type == CommandNumber.write
        model.overwrite(Int(request.offset), with: isWrite ? request.payload : .zeroes(Int(request.length)))
    }
}
