// Clients without an I_T nexus meet the reservations of initiators.

import SCSI
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

    /// MODE SELECT (6) of the Control mode page with SWP, and without.
    @Test func writeProtectionKeepsWritesOut() throws {
        var bench = Bench(sectors: 300)
        for (byte, mayWrite) in [(UInt8(0x08), false), (0, true)] {
            let page = try bench.send([0x1A, 0x08, 0x0A, 0, 255, 0], expecting: 255).data
            var list = page
            list[0] = 0
            list[2] = 0
            list[4] &= 0x7F
            list[8] = byte
            let cdb: CommandDescriptorBlock = [0x15, 0x10, 0, 0, UInt8(list.count), 0]
            let answer = try bench.send(cdb, dataOut: list)
            #expect(answer.status == .good, "\(answer)")
            #expect(bench.server.strangers == Strangers(mayRead: true, mayWrite: mayWrite))
        }
    }

    @Test func reserve6KeepsAllOut() throws {
        var bench = Bench(sectors: 300)
        #expect(try bench.send([0x16, 0, 0, 0, 0, 0]).status == .good)
        #expect(bench.server.strangers == Strangers(mayRead: false, mayWrite: false))
        #expect(try bench.send([0x17, 0, 0, 0, 0, 0]).status == .good)
        #expect(bench.server.strangers == .free)
    }
}
