// Who has no I_T nexus meets the reservations of those who have.

import Testing

@testable import Units

@Suite struct StrangersTests {
    /// SPC-4, table of the types: exclusive access keeps reads out, too.
    @Test(arguments: ReservationType.allCases)
    func aReservationIsSomebodyElses(type: ReservationType) throws {
        var bench = Bench(sectors: 300)
        #expect(bench.server.strangers == .free)
        #expect(try bench.reserveOut(.register, key: 0, newKey: 1).status == .good)
        #expect(bench.server.strangers == .free)
        #expect(try bench.reserveOut(.reserve, key: 1, type: type.rawValue).status == .good)
        let exclusive: [UInt8] = [3, 6, 8]
        #expect(bench.server.strangers == Strangers(mayRead: !exclusive.contains(type.rawValue), mayWrite: false))
        #expect(try bench.reserveOut(.release, key: 1, type: type.rawValue).status == .good)
        #expect(bench.server.strangers == .free)
    }

    @Test func reserve6KeepsAllOut() throws {
        var bench = Bench(sectors: 300)
        #expect(try bench.send([0x16, 0, 0, 0, 0, 0]).status == .good)
        #expect(bench.server.strangers == Strangers(mayRead: false, mayWrite: false))
        #expect(try bench.send([0x17, 0, 0, 0, 0, 0]).status == .good)
        #expect(bench.server.strangers == .free)
    }
}
