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
        #expect(try bench.send(.testUnitReady(), as: other).codes == [0x6, 0x29, 0x00])
        #expect(try bench.send(.testUnitReady(), as: other).status == .good)
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

    @Test("SWP of the Control page write-protects the unit for all", arguments: [false, true])
    func softwareWriteProtect(_ isLong: Bool) throws {
        var bench = Bench(sectors: 300)
        let other = try bench.connect("b")
        func sense(_ control: ModePageControl, page: UInt8 = 0x0A) throws -> [UInt8] {
            let cdb =
                isLong
                ? CommandDescriptorBlock.modeSense10(page: page, control: control, allocationLength: 255)
                : .modeSense6(page: page, control: control, allocationLength: 255)
            return try bench.send(cdb, expecting: 255).data
        }
        let start = (isLong ? 8 : 4) + 8
        #expect(try sense(.changeable)[start + 4] == 0x08)
        var parameters = try sense(.current)
        #expect(parameters[start + 4] == 0)
        for index in 0..<(isLong ? 2 : 1) { parameters[index] = 0 }
        func select(_ isProtected: Bool) throws -> Answered {
            parameters[start + 4] = isProtected ? 0x08 : 0
            let count = UInt8(parameters.count)
            return try bench.send(
                isLong ? [0x55, 0x10, 0, 0, 0, 0, 0, 0, count, 0] : [0x15, 0x10, 0, 0, count, 0], dataOut: parameters)
        }
        #expect(try select(true).status == .good)
        #expect(try bench.send(.testUnitReady(), as: other).codes == [0x6, 0x2A, 0x01])
        let block = [UInt8](repeating: 0, count: 512)
        for nexus in [bench.nexus, other] {
            #expect(try bench.send(command(0x2A, 0, 1), dataOut: block, as: nexus).codes == Bench.writeProtected)
            #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: nexus).status == .good)
        }
        // Nothing is read to be compared.
        let wrong = [UInt8](repeating: 0xEE, count: 1024)
        let compared = try bench.send([0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], dataOut: wrong)
        #expect(compared.codes == Bench.writeProtected && compared.steps.isEmpty)
        let taskfile: CommandDescriptorBlock = [0x85, 0x0A, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x30, 0]
        #expect(try bench.send(taskfile, dataOut: block).codes == Bench.writeProtected)
        #expect(try sense(.current)[start + 4] == 0x08)
        #expect(try sense(.defaults)[start + 4] == 0)
        #expect(try sense(.current, page: 0x3F)[isLong ? 3 : 2] == 0x80)
        // Wrong in another bit: nothing changes.
        parameters[start + 9] ^= 1
        #expect(try select(false).codes == [0x5, 0x26, 0x00])
        #expect(try sense(.current)[start + 4] == 0x08)
        parameters[start + 9] ^= 1
        #expect(try select(false).status == .good)
        #expect(try bench.send(command(0x2A, 0, 1), dataOut: block).status == .good)
        #expect(try select(true).status == .good)
        bench.server.reset()
        #expect(try bench.send(.testUnitReady()).codes == [0x6, 0x29, 0x00])
        #expect(try bench.send(command(0x2A, 0, 1), dataOut: block).status == .good)
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
