// Unit attention conditions of initiators, and RESERVE (6).

import SCSI
import Testing

@testable import Units

@Suite("Unit attentions")
struct AttentionTests {
    @Test("a new initiator is told first; INQUIRY, REPORT LUNS and REQUEST SENSE pass")
    func beginning() throws {
        var bench = Bench(sectors: 300)
        let connected = bench.server.connect(initiatorPort: Bench.port("b"))
        let other = try #require(connected)
        #expect(try bench.send(.inquiry(allocationLength: 96), expecting: 96, as: other).status == .good)
        #expect(try bench.send(.reportLUNs(allocationLength: 16), expecting: 16, as: other).status == .good)
        let told = try bench.send(command(0x28, 0, 1), expecting: 512, as: other)
        #expect(told.codes == [0x6, 0x29, 0x00] && told.steps.isEmpty && told.transferBytes == 0)
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: other).status == .good)
        #expect(try bench.send(.testUnitReady()).status == .good)
    }

    @Test("each kind is told once, a reset instead of all")
    func order() throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        for _ in 0..<1000 { bench.server.capacityChanged() }
        #expect(try bench.send(.testUnitReady(), as: other).codes == [0x6, 0x2A, 0x09])
        #expect(try bench.send(.testUnitReady(), as: other).status == .good)
        bench.server.capacityChanged()
        bench.server.reset()
        bench.server.capacityChanged()
        #expect(try bench.send(.testUnitReady(), as: other).codes == [0x6, 0x29, 0x00])
        #expect(try bench.send(.testUnitReady(), as: other).codes == [0x6, 0x2A, 0x09])
        #expect(try bench.send(.testUnitReady(), as: other).status == .good)
    }

    @Test("descriptor format is for unit attentions, too, and MODE SELECT is told to the others")
    func modeParameters() throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        // D_SENSE of the Control page.
        let parameters: [UInt8] = [0, 0, 0, 0, 0x0A, 0x0A, 0x06, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 30]
        let cdb: CommandDescriptorBlock = [0x15, 0x10, 0, 0, UInt8(parameters.count), 0]
        #expect(try bench.send(cdb, dataOut: parameters).status == .good)
        let told = try bench.send(.testUnitReady(), as: other)
        #expect(told.codes == [0x6, 0x2A, 0x01] && told.sense?.format == .descriptor)
        #expect(try bench.send(.testUnitReady()).status == .good)
        let wrong = try bench.send(command(0x28, 300, 1), expecting: 512)
        #expect(wrong.codes == Bench.outOfRange && wrong.sense?.format == .descriptor)
    }

    @Test("so many nexuses, and no more")
    func nexuses() throws {
        var server = DeviceServer()
        var numbers: [NexusNumber] = []
        while let number = server.connect(initiatorPort: Bench.port("\(numbers.count)")) { numbers.append(number) }
        #expect(numbers.count == DeviceServer.nexusLimit)
        server.disconnect(numbers[7])
        #expect(server.connect(initiatorPort: Bench.port("again")) == numbers[7])
        server.disconnect(numbers[0])
        #expect(server.connect(initiatorPort: [UInt8](repeating: 0x61, count: 241)) == nil)
    }
}

@Suite("RESERVE (6)")
struct ReserveTests {
    private static let reserve: CommandDescriptorBlock = [0x16, 0, 0, 0, 0, 0]
    private static let release: CommandDescriptorBlock = [0x17, 0, 0, 0, 0, 0]

    @Test("keeps others out until it is released")
    func reserve() throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        let sense = CommandDescriptorBlock.modeSense6(page: 0x3F, control: .current, allocationLength: 255)
        for _ in 0..<2 { #expect(try bench.send(Self.reserve).status == .good) }
        #expect(try bench.send(Self.reserve, as: other).status == .reservationConflict)
        #expect(try bench.send(Self.release, as: other).status == .good)
        #expect(try bench.send(sense, expecting: 255).status == .good)
        for cdb in [sense, .testUnitReady(), command(0x28, 0, 1), command(0x2A, 0, 1)] {
            let kept = try bench.send(cdb, as: other)
            #expect(kept.status == .reservationConflict && kept.sense == nil && kept.steps.isEmpty)
        }
        #expect(try bench.send(.inquiry(allocationLength: 96), expecting: 96, as: other).status == .good)
        #expect(try bench.send(Self.release).status == .good)
        #expect(try bench.send(Self.reserve, as: other).status == .good)
        // The session of its holder, or a reset, ends it.
        bench.server.disconnect(other)
        #expect(try bench.send(.testUnitReady()).status == .good)
        let third = try bench.connect("c")
        #expect(try bench.send(Self.reserve, as: third).status == .good)
        bench.server.reset()
        #expect(try bench.send(.testUnitReady()).codes == [0x6, 0x29, 0x00])
        #expect(try bench.send(.testUnitReady()).status == .good)
    }

    @Test("does not go with registrations")
    func registrations() throws {
        var bench = Bench(sectors: 300)
        #expect(try bench.reserveOut(.register, key: 0, newKey: 5).status == .good)
        #expect(try bench.send(Self.reserve).status == .reservationConflict)
        #expect(try bench.send(Self.release).status == .reservationConflict)
        #expect(try bench.reserveOut(.clear, key: 5).status == .good)
        #expect(try bench.send(Self.reserve).status == .good)
    }
}
