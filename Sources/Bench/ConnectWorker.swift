// The load `connect`: how long it takes from nothing to the first byte of an export.

import Glibc
import ISCSI
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
            let (error, arrival) = if let unit = address.logicalUnit { try logInOnce(unit) } else { try connectOnce() }
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
        var session = TransmissionSession(blockBytes: load.blockBytes, isStructured: load.usesStructuredReplies)
        unsafe session.begin(firstRead, Cookie(.read, slot: 0, sequence: 0), payload: Self.nothing, into: &outbox)
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
        session.sayGoodbye(into: &outbox)
        try link.send(&outbox)
        return (error, arrival)
    }

    /// - Returns: the error of the reply, and when all of it was there: one Data-In PDU for a small block.
    private func logInOnce(_ unit: Int) throws(BenchError) -> (error: UInt32, arrival: UInt64) {
        var link = try Link(address.place)
        var inbox = Inbox()
        var session = try InitiatorSession(
            link.logIn(load.wishes(for: address, connection: connection), &inbox),
            logicalUnit: LogicalUnitNumber(unit), depth: 1)
        try load.check(session.inquire(&link, &inbox))
        var outbox = Outbox(requestCapacity: InitiatorSession.maximumPings)
        unsafe session.begin(firstRead, Cookie(.read, slot: 0, sequence: 0), payload: Self.nothing, into: &outbox)
        while true {
            let step = try session.converse(&link, &inbox, &outbox)
            if case .reply(_, let error, _) = step {
                let arrival = now()
                try session.takeLeave(&link, &inbox, &outbox)
                return (error, arrival)
            }
            if outbox.isEmpty { try inbox.receiveMore(from: &link) }
        }
    }

    private var firstRead: PlannedRequest {
        PlannedRequest(command: .read, offsetBytes: 0, lengthBytes: load.blockBytes)
    }

    private static var nothing: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
}
