// The load `connect`: how long it takes from nothing to the first byte of an export.

import Glibc
import NBD

/// Connects, reads a block, and disconnects, again and again.
struct ConnectWorker {
    let address: ServerAddress
    let load: Load
    let connection: Int
    let run: RunState

    /// Loads the server until the end of the run.
    func work() throws(BenchError) {
        var tally = Tally()
        var left = load.requests(ofConnection: connection)
        var time = now()
        while left > 0, !run.isOver(at: time) {
            let begun = now()
            let (error, arrival) = try connectOnce()
            time = arrival
            if run.isMeasured(begun) {
                tally.record(
                    UInt8(Command.read.rawValue), byteCount: load.blockBytes, nanoseconds: time - begun, error: error)
                if left != .max { left -= 1 }
            } else {
                tally.recordWarmUp()
            }
            run.publish(&tally, at: time)
        }
    }

    /// - Returns: the error of the reply, and when the first byte of its data, or all of the error, was there.
    private func connectOnce() throws(BenchError) -> (error: UInt32, arrival: UInt64) {
        var link = try Link(address.place)
        let export = try link.negotiate(address, structuredReplies: load.usesStructuredReplies)
        try load.check(export)
        var outbox = Outbox(requestCapacity: 1)
        let cookie = Cookie(.read, slot: 0, sequence: 0)
        outbox.append(PlannedRequest(command: .read, offsetBytes: 0, lengthBytes: load.blockBytes), cookie)
        try link.send(&outbox)
        let isStructured = load.usesStructuredReplies
        let header = try link.receive(isStructured ? 20 : SimpleReply.byteCount)
        guard number(header[0..<4]) == UInt64(isStructured ? Magic.structuredReply : Magic.simpleReply) else {
            throw .violation("what follows a READ does not begin as a reply")
        }
        var error: UInt32 = 0
        if isStructured, number(header[6..<8]) & 0x8000 != 0 {
            error = UInt32(number(try link.receive(4)[...]))
        } else {
            if !isStructured { error = UInt32(number(header[4..<8])) }
            if error == 0 { _ = try link.receive(1) }
        }
        let arrival = now()
        outbox.append(PlannedRequest(command: .disconnect, offsetBytes: 0, lengthBytes: 0), cookie)
        try link.send(&outbox)
        return (error, arrival)
    }
}
