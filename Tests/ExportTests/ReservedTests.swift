// A drive that an initiator has reserved: clients of NBD get EPERM for what the reservation keeps others from.

import NBD
import Testing

@testable import Units

@Suite struct ReservedTests {
    @Test(arguments: [
        (Strangers.free, true, true), (Strangers(mayRead: true, mayWrite: false), true, false),
        (Strangers(mayRead: false, mayWrite: false), false, false),
    ])
    func requestsMeetIt(strangers: Strangers, reads: Bool, writes: Bool) throws {
        var bench = Bench(sectors: 64)
        bench.export.strangers = strangers
        let before = bench.disk
        for command in [NBD.Command.write, .writeZeroes, .trim] {
            let payload = command == .write ? [UInt8](repeating: 7, count: 4096) : []
            let served = try bench.serve(command, at: 4096, 4096, payload: payload)
            #expect(served.error == (writes ? nil : .notPermitted), "\(command)")
            #expect(served.steps.isEmpty == !writes, "\(command)")
        }
        #expect((bench.disk == before) == !writes)
        for command in [NBD.Command.read, .cache, .blockStatus] {
            let served = try bench.serve(command, at: 4096, 4096)
            #expect(served.error == (reads ? nil : .notPermitted), "\(command)")
        }
        #expect(try bench.serve(.flush).error == (reads ? nil : .notPermitted))
    }
}
