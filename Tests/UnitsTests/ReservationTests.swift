// Persistent reservations, command by command: the tables of SPC-4 5.13 and SBC-3.

import SCSI
import Testing

@testable import Units

extension Bench {
    /// A parameter list of PERSISTENT RESERVE OUT.
    static func parameters(key: UInt64, newKey: UInt64, flags: UInt8 = 0) -> [UInt8] {
        var list = Answer()
        list.append(key)
        list.append(newKey)
        list.append(UInt32(0))
        list.append(flags)
        list.append(bytes: [0, 0, 0])
        return list.bytes
    }

    /// PERSISTENT RESERVE OUT of an initiator.
    mutating func reserveOut(
        _ action: ReserveOutAction, key: UInt64, newKey: UInt64 = 0, type: UInt8 = 0, flags: UInt8 = 0,
        as other: NexusNumber? = nil
    ) throws -> Answered {
        let list = Self.parameters(key: key, newKey: newKey, flags: flags)
        return try send(
            [0x5F, action.rawValue, type, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list, as: other ?? nexus)
    }

    /// PERSISTENT RESERVE IN.
    mutating func reserveIn(_ action: ReserveInAction, length: UInt16 = 40000) throws -> [UInt8] {
        let cdb: CommandDescriptorBlock = [
            0x5E, action.rawValue, 0, 0, 0, 0, 0, UInt8(length >> 8), UInt8(length & 0xFF), 0,
        ]
        let answer = try send(cdb, expecting: Int(length))
        try #require(answer.status == .good)
        return answer.data
    }

    /// The keys that are registered, and PRGENERATION.
    mutating func keys() throws -> (generation: UInt32, keys: [UInt64]) {
        let data = try reserveIn(.readKeys)
        let bytes = data.span.bytes
        let count: UInt32 = bytes.load(4)
        #expect(Int(count) == data.count - 8)
        return (bytes.load(0), stride(from: 8, to: data.count, by: 8).map { bytes.load($0) })
    }

    /// The holder's key and the type of the reservation.
    mutating func reservation() throws -> (key: UInt64, type: UInt8)? {
        let data = try reserveIn(.readReservation)
        guard data.count > 8 else { return nil }
        #expect(data.count == 24 && data[7] == 16)
        return (data.span.bytes.load(8), data[21])
    }
}

@Suite("Persistent reservations")
struct ReservationTests {
    @Test("which commands are allowed, by the tables", arguments: ReservationType.allCases)
    func access(_ type: ReservationType) throws {
        var bench = Bench(sectors: 300)
        let registered = try bench.connect("b")
        let stranger = try bench.connect("c")
        #expect(try bench.reserveOut(.register, key: 0, newKey: 1).status == .good)
        #expect(try bench.reserveOut(.register, key: 0, newKey: 2, as: registered).status == .good)
        #expect(try bench.reserveOut(.reserve, key: 1, type: type.rawValue).status == .good)
        let reads: [CommandDescriptorBlock] = [
            command(0x28, 0, 0), command(0x2F, 0, 0), command(0x34, 0, 1), [0x1A, 0, 0x3F, 0, 255, 0],
            [0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], [0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0],
        ]
        let writes: [CommandDescriptorBlock] = [
            command(0x2A, 0, 0), command(0x35, 0, 0), [0x15, 0x10, 0, 0, 0, 0], [0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x1B, 0, 0, 0, 0, 0], [0x1E, 0, 0, 0, 1, 0], [0x1D, 4, 0, 0, 0, 0], command(0x93, 0, 1, flags: 1),
            [0x85, 0x06, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE5, 0],
        ]
        let always: [CommandDescriptorBlock] = [
            .testUnitReady(), .inquiry(allocationLength: 96), .readCapacity10(), .reportLUNs(allocationLength: 16),
            [0x03, 0, 0, 0, 18, 0], [0x1B, 0, 0, 0, 1, 0], [0x1E, 0, 0, 0, 0, 0], [0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0],
            .readCapacity16(allocationLength: 32),
        ]
        let letsRegistrantsIn = type != .writeExclusive && type != .exclusiveAccess
        let letsRead = [.writeExclusive, .writeExclusiveRegistrantsOnly, .writeExclusiveAllRegistrants].contains(type)
        let rows: [(NexusNumber, reads: Bool, writes: Bool)] = [
            (bench.nexus, true, true), (registered, letsRegistrantsIn || letsRead, letsRegistrantsIn),
            (stranger, letsRead, false),
        ]
        for (nexus, mayRead, mayWrite) in rows {
            for (cdbs, isAllowed) in [(reads, mayRead), (writes, mayWrite), (always, true)] {
                for cdb in cdbs {
                    let answer = try bench.send(cdb, as: nexus)
                    #expect((answer.status != .reservationConflict) == isAllowed, "\(type) \(nexus) \(cdb[0])")
                }
            }
        }
    }

    @Test("keys, generations, and a reservation", arguments: ReservationType.allCases)
    func life(_ type: ReservationType) throws {
        var bench = Bench(sectors: 300)
        let isOfAll = type.rawValue >= 7
        #expect(try bench.reserveOut(.registerAndIgnoreExistingKey, key: 99, newKey: 0xABCD).status == .good)
        #expect(try bench.keys() == (1, [0xABCD]))
        #expect(try bench.reserveOut(.register, key: 1, newKey: 2).status == .reservationConflict)
        #expect(try bench.reserveOut(.register, key: 0xABCD, newKey: 0x1234_5678_9ABC_DEF0).status == .good)
        #expect(try bench.keys() == (2, [0x1234_5678_9ABC_DEF0]))
        let key: UInt64 = 0x1234_5678_9ABC_DEF0
        #expect(try bench.reserveOut(.reserve, key: 1, type: type.rawValue).status == .reservationConflict)
        for _ in 0..<2 { #expect(try bench.reserveOut(.reserve, key: key, type: type.rawValue).status == .good) }
        let other: UInt8 = type == .writeExclusive ? 3 : 1
        #expect(try bench.reserveOut(.reserve, key: key, type: other).status == .reservationConflict)
        let reservation = try #require(try bench.reservation())
        #expect(reservation == (isOfAll ? 0 : key, type.rawValue))
        #expect(try bench.reserveOut(.release, key: key, type: other).codes == [0x5, 0x26, 0x04])
        #expect(try bench.reserveOut(.release, key: key, type: type.rawValue).status == .good)
        #expect(try bench.reservation() == nil)
        #expect(try bench.reserveOut(.release, key: key, type: type.rawValue).status == .good)
        #expect(try bench.reserveOut(.reserve, key: key, type: type.rawValue).status == .good)
        #expect(try bench.reserveOut(.register, key: key, newKey: 0).status == .good)
        #expect(try bench.keys() == (3, []) && bench.reservation() == nil)
        for wrong: UInt8 in [0, 2, 4, 9, 15, 0x11] {
            _ = try bench.reserveOut(.register, key: 0, newKey: 1)
            #expect(try bench.reserveOut(.reserve, key: 1, type: wrong).codes == Bench.invalidField)
        }
    }

    @Test("registrations stay when a session ends, and are found again")
    func sessions() throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        #expect(try bench.reserveOut(.register, key: 0, newKey: 7, as: other).status == .good)
        #expect(try bench.reserveOut(.reserve, key: 7, type: 3, as: other).status == .good)
        bench.server.disconnect(other)
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512).status == .reservationConflict)
        let third = try bench.connect("c")
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: third).status == .reservationConflict)
        let again = try bench.connect("b")
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: again).status == .good)
        bench.server.reset()
        #expect(try bench.send(.testUnitReady()).codes == [0x6, 0x29, 0x00])
        #expect(try bench.keys().keys == [7])
    }

    @Test("who is told of what", arguments: ReservationType.allCases)
    func notices(_ type: ReservationType) throws {
        var bench = Bench(sectors: 300)
        let registered = try bench.connect("b")
        let stranger = try bench.connect("c")
        func told(_ nexus: NexusNumber, _ expected: [UInt8]?) throws {
            #expect(try bench.send(.testUnitReady(), as: nexus).codes == expected)
            #expect(try bench.send(.testUnitReady(), as: nexus).codes == nil)
        }
        func begin() throws {
            _ = try bench.reserveOut(.registerAndIgnoreExistingKey, key: 0, newKey: 1)
            _ = try bench.reserveOut(.registerAndIgnoreExistingKey, key: 0, newKey: 2, as: registered)
            #expect(try bench.reserveOut(.reserve, key: 1, type: type.rawValue).status == .good)
        }
        let released: [UInt8]? = type.rawValue >= 5 ? [0x6, 0x2A, 0x04] : nil
        try begin()
        #expect(try bench.reserveOut(.release, key: 1, type: type.rawValue).status == .good)
        try told(registered, released)
        try told(stranger, nil)
        try told(bench.nexus, nil)
        try begin()
        #expect(try bench.reserveOut(.clear, key: 2, as: registered).status == .good)
        try told(bench.nexus, [0x6, 0x2A, 0x03])
        try told(registered, nil)
        try told(stranger, nil)
        try begin()
        // A holder that unregisters.
        #expect(try bench.reserveOut(.register, key: 1, newKey: 0).status == .good)
        try told(
            registered,
            type == .writeExclusiveRegistrantsOnly || type == .exclusiveAccessRegistrantsOnly ? released : nil)
        #expect(try (bench.reservation() != nil) == (type.rawValue >= 7))
    }

    @Test("PREEMPT takes the reservation of the key's holder", arguments: [false, true])
    func preempt(_ aborts: Bool) throws {
        var bench = Bench(sectors: 300)
        let holder = try bench.connect("b")
        let registered = try bench.connect("c")
        let action: ReserveOutAction = aborts ? .preemptAndAbort : .preempt
        for (nexus, key): (NexusNumber, UInt64) in [(bench.nexus, 1), (holder, 2), (registered, 3)] {
            #expect(try bench.reserveOut(.register, key: 0, newKey: key, as: nexus).status == .good)
        }
        #expect(try bench.reserveOut(.reserve, key: 2, type: 5, as: holder).status == .good)
        #expect(try bench.reserveOut(action, key: 9, newKey: 2, type: 3).status == .reservationConflict)
        #expect(try bench.reserveOut(action, key: 1, newKey: 9, type: 3).status == .reservationConflict)
        #expect(try bench.reserveOut(action, key: 1, newKey: 0, type: 3).codes == [0x5, 0x26, 0x00])
        #expect(try bench.reserveOut(action, key: 1, newKey: 2, type: 2).codes == Bench.invalidField)
        #expect(try bench.reserveOut(action, key: 1, newKey: 2, type: 3).status == .good)
        #expect(try bench.keys() == (4, [1, 3]))
        let reservation = try #require(try bench.reservation())
        #expect(reservation == (1, 3))
        #expect(bench.server.aborted == (aborts ? [holder] : []))
        if aborts { #expect(try bench.send(.testUnitReady(), as: holder).codes == [0x6, 0x2F, 0x00]) }
        #expect(try bench.send(.testUnitReady(), as: holder).codes == [0x6, 0x2A, 0x05])
        #expect(try bench.send(.testUnitReady(), as: registered).codes == [0x6, 0x2A, 0x04])
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: holder).status == .reservationConflict)
        // A registration that holds nothing.
        #expect(try bench.reserveOut(action, key: 1, newKey: 3, type: 1).status == .good)
        #expect(try bench.keys() == (5, [1]))
        #expect(try #require(try bench.reservation()) == (1, 3))
        #expect(try bench.reserveOut(action, key: 1, newKey: 1, type: 8).status == .good)
        #expect(try #require(try bench.reservation()) == (0, 8))
    }

    @Test("a reservation of all registrants is preempted by key 0, with all of them")
    func preemptAll() throws {
        var bench = Bench(sectors: 300)
        let second = try bench.connect("b")
        let third = try bench.connect("c")
        for (nexus, key): (NexusNumber, UInt64) in [(bench.nexus, 1), (second, 2), (third, 2)] {
            _ = try bench.reserveOut(.register, key: 0, newKey: key, as: nexus)
        }
        #expect(try bench.reserveOut(.reserve, key: 2, type: 7, as: third).status == .good)
        #expect(try bench.reserveOut(.preempt, key: 1, newKey: 0, type: 1).status == .good)
        #expect(try bench.keys() == (4, [1]))
        #expect(try #require(try bench.reservation()) == (1, 1))
        for nexus in [second, third] {
            #expect(try bench.send(.testUnitReady(), as: nexus).codes == [0x6, 0x2A, 0x05])
        }
    }

    @Test("REGISTER AND MOVE gives the reservation to another port", arguments: [false, true])
    func move(_ unregisters: Bool) throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        _ = try bench.reserveOut(.register, key: 0, newKey: 1)
        #expect(try bench.reserveOut(.reserve, key: 1, type: 1).status == .good)
        var port = Answer()
        TransportID.append(Bench.port("b"), to: &port)
        func send(_ key: UInt64, _ newKey: UInt64, _ port: [UInt8], targetPort: UInt8 = 1) throws -> Answered {
            var list = Bench.parameters(key: key, newKey: newKey)
            list[17] = unregisters ? 2 : 0
            list[19] = targetPort
            list[23] = UInt8(port.count)
            list += port
            return try bench.send([0x5F, 0x07, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list)
        }
        #expect(try send(2, 5, port.bytes).status == .reservationConflict)
        #expect(try send(1, 0, port.bytes).codes == [0x5, 0x26, 0x00])
        #expect(try send(1, 5, port.bytes, targetPort: 2).codes == [0x5, 0x26, 0x00])
        #expect(try send(1, 5, [UInt8](repeating: 0, count: 24)).codes == [0x5, 0x26, 0x00])
        var own = Answer()
        TransportID.append(Bench.port("a"), to: &own)
        #expect(try send(1, 5, own.bytes).codes == [0x5, 0x26, 0x00])
        #expect(try send(1, 5, port.bytes).status == .good)
        #expect(try #require(try bench.reservation()) == (5, 1))
        #expect(try bench.keys() == (2, unregisters ? [5] : [1, 5]))
        #expect(try bench.send(command(0x2A, 0, 0), as: other).status == .good)
        #expect(try bench.send(command(0x2A, 0, 0)).status == .reservationConflict)
    }

    @Test("READ FULL STATUS has the ports, REPORT CAPABILITIES the types")
    func status() throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        _ = try bench.reserveOut(.register, key: 0, newKey: 1)
        _ = try bench.reserveOut(.register, key: 0, newKey: 2, as: other)
        _ = try bench.reserveOut(.reserve, key: 2, type: 6, as: other)
        let data = try bench.reserveIn(.readFullStatus)
        let length = Int(data[23 + 8])
        #expect(length == 4 + 44 && data.count == 8 + 2 * (24 + length))
        let second = Array(data[(8 + 24 + length)...])
        #expect(Array(data[16..<22]) == [0, 0, 0, 0, 0, 0] && Array(data[26..<28]) == [0, 1])
        #expect(Array(second[8..<14]) == [0, 0, 0, 0, 1, 6])
        #expect(Array(second[24..<28]) == [0x45, 0, 0, 44])
        #expect(TransportID.port(parsing: Array(second[24...]).span.bytes) == Bench.port("b"))
        #expect(try bench.reserveIn(.reportCapabilities) == [0, 8, 0x04, 0x80, 0xEA, 0x01, 0, 0])
        #expect(try bench.reserveIn(.readKeys, length: 8) == [0, 0, 0, 2, 0, 0, 0, 16])
        for action in UInt8(4)..<0x20 {
            #expect(try bench.send([0x5E, action, 0, 0, 0, 0, 0, 0, 8, 0], expecting: 8).codes == Bench.invalidField)
        }
    }

    @Test("parameter lists that are no good")
    func lists() throws {
        var bench = Bench(sectors: 300)
        let list = Bench.parameters(key: 0, newKey: 1)
        for length in [0, 8, 23] {
            let cdb: CommandDescriptorBlock = [0x5F, 0, 0, 0, 0, 0, 0, 0, UInt8(length), 0]
            #expect(try bench.send(cdb, dataOut: list).codes == [0x5, 0x1A, 0x00])
        }
        let long: CommandDescriptorBlock = [0x5F, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]
        #expect(try bench.send(long, dataOut: list).codes == [0x5, 0x1A, 0x00])
        // SPEC_I_PT, and APTPL where nobody keeps anything; another scope.
        #expect(try bench.reserveOut(.register, key: 0, newKey: 1, flags: 0x08).codes == [0x5, 0x26, 0x00])
        #expect(try bench.reserveOut(.register, key: 0, newKey: 1, flags: 0x01).codes == [0x5, 0x26, 0x00])
        #expect(try bench.reserveOut(.register, key: 0, newKey: 1, type: 0x21).codes == Bench.invalidField)
        #expect(try bench.keys() == (0, []))
    }

    @Test("more registrants than there is room for")
    func limit() {
        var reservations = PersistentReservations()
        for number in 0..<PersistentReservations.registrantLimit {
            let outcome = reservations.register(
                Bench.port("\(number)"), key: 0, newKey: 1, ignoresKey: false, persists: false)
            #expect(outcome == .nothing)
        }
        let more = reservations.register(Bench.port("more"), key: 0, newKey: 1, ignoresKey: false, persists: false)
        #expect(more == .refused(.insufficientRegistrationResources))
        var answer = Answer()
        reservations.answer(.readFullStatus, canPersist: false, to: &answer)
        #expect(answer.bytes.count <= PersistentReservations.longestAnswer)
    }
}
