// A DVD-ROM as initiators see it: its own answers, and those of the device server, which tells each initiator of
// another disc and lists the commands.

import ATA
import SCSI
import Testing
import Units

@Suite("A DVD-ROM's unit")
struct DiscTests {
    private static let notPresent: [UInt8] = [0x2, 0x3A, 0x00]
    private static let mayHaveChanged: [UInt8] = [0x6, 0x28, 0x00]
    private let inquiry: CommandDescriptorBlock = [0x12, 0, 0, 0, 96, 0]
    private let requestSense: CommandDescriptorBlock = [0x03, 0, 0, 0, 18, 0]
    private let eventStatus: CommandDescriptorBlock = [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, 0]
    private let eject: CommandDescriptorBlock = [0x1B, 0, 0, 0, 2, 0]
    private let load: CommandDescriptorBlock = [0x1B, 0, 0, 0, 3, 0]
    private let read: CommandDescriptorBlock = [0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0]

    @Test("a CD-ROM device answers for itself, and LUN 0 is all there is")
    func answers() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        let data = try bench.send(inquiry, expecting: 96).data
        #expect(data.count == 36 && data[0] == 0x05 && data[1] == 0x80 && data[2] == 0x05)
        #expect(String(decoding: data[8...], as: UTF8.self) == "QEMU    QEMU DVD-ROM    2.5+")
        let capacity = try bench.send([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], expecting: 8).data
        #expect(capacity == [0, 0, 0x03, 0xFF, 0, 0, 0x08, 0])
        let luns = try bench.send([0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0], expecting: 255).data
        #expect(luns == [0, 0, 0, 8] + [UInt8](repeating: 0, count: 12))
        #expect(try bench.send(read, expecting: 4096).data == bench.content(7, 2))
        #expect(
            try bench.send([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], dataOut: [UInt8](repeating: 0, count: 2048)).codes
                == Bench.unknownCommand)
        #expect(try bench.send([0x16, 0, 0, 0, 0, 0]).codes == Bench.unknownCommand)
    }

    @Test("each initiator sees the old disc go, and then the new one")
    func change() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        let other = try bench.connect("b")
        bench.drive.resize(toSectors: 0)
        bench.server.operatorActed(on: bench.drive)
        #expect(try bench.send(.testUnitReady()).codes == Self.notPresent)
        #expect(try bench.send(eventStatus, expecting: 8).data == [0, 4, 4, 0x10, 0, 1, 0, 0])
        bench.drive.resize(toSectors: 512)
        bench.server.operatorActed(on: bench.drive)
        // These do not wait for it.
        #expect(try bench.send(inquiry, expecting: 96).status == .good)
        #expect(try bench.send(eventStatus, expecting: 8).data == [0, 4, 4, 0x10, 2, 2, 0, 0])
        #expect(try bench.send([0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0], expecting: 8).status == .good)
        #expect(try bench.send(read, expecting: 4096).codes == Self.notPresent)
        #expect(try bench.send(.testUnitReady()).codes == Self.mayHaveChanged)
        #expect(try bench.send(.testUnitReady()).status == .good)
        #expect(try bench.send(read, expecting: 4096).data == bench.content(7, 2))
        // The other one is told all the same.
        #expect(try bench.send(.testUnitReady(), as: other).codes == Self.notPresent)
        let sense = try bench.send(requestSense, expecting: 18, as: other).data
        #expect(sense.count == 18 && sense[0] & 0x7F == 0x70 && sense[2] == 6 && sense[12] == 0x28 && sense[13] == 0)
        #expect(try bench.send(.testUnitReady(), as: other).status == .good)
        #expect(try bench.send([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], expecting: 8, as: other).data[3] == 0xFF)
    }

    @Test("a command needs as much memory as it can answer", arguments: [DriveKind.dvdROM, .fullDVDROM])
    func memory(kind: DriveKind) throws {
        var bench = Bench(sectors: 1024, kind: kind)
        func need(_ cdb: CommandDescriptorBlock, expecting expected: UInt32 = 0) -> Int {
            ServedCommand(
                cdb, expectedBytes: expected, reads: expected > 0, writes: false, nexus: bench.nexus,
                unit: bench.drive.facts
            ).bufferNeeds.byteCount
        }
        let all: CommandDescriptorBlock = [0x43, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]
        #expect(need(.testUnitReady()) == 0 && need(load) == 0 && need([0x1E, 0, 0, 0, 1, 0]) == 0)
        #expect(need(inquiry, expecting: 96) == 96 && need(requestSense, expecting: 18) == 32)
        #expect(need([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], expecting: 8) == 16)
        #expect(need(all, expecting: 0xFFFF) == 4096 && need(read, expecting: 4096) == 4096)
        // Whatever is allocated, answers are whole or cut there.
        for length: UInt8 in [0, 1, 15, 16, 17, 36, 255] {
            let count = Int(length)
            for cdb: CommandDescriptorBlock in [
                [0x12, 0, 0, 0, length, 0], [0x12, 1, 0x83, 0, length, 0], [0x1A, 0, 0x2A, 0, length, 0],
                [0x43, 0, 0, 0, 0, 0, 0, 0, length, 0], [0x46, 0, 0, 0, 0, 0, 0, 0, length, 0],
                [0x4A, 1, 0, 0, 0x10, 0, 0, 0, length, 0], [0x51, 0, 0, 0, 0, 0, 0, 0, length, 0],
                [0x5A, 0, 0x2A, 0, 0, 0, 0, 0, length, 0], [0xAD, 0, 0, 0, 0, 0, 0, 0xFF, 0, length, 0, 0],
                [0xBD, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0],
            ] {
                let answer = try bench.send(cdb, expecting: 512)
                if cdb[1] & 1 == 0 || cdb[0] == 0x4A { #expect(answer.status == .good, "\(cdb)") }
                #expect(answer.transferBytes <= UInt64(count), "\(cdb)")
            }
        }
    }

    @Test("who closes the tray knows; others are told")
    func tray() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        let other = try bench.connect("b")
        #expect(try bench.send(eject).status == .good)
        #expect(bench.drive.drive.trayIsOpen)
        #expect(try bench.send(.testUnitReady(), as: other).codes == Self.notPresent)
        #expect(try bench.send(read, expecting: 4096).codes == Self.notPresent)
        #expect(try bench.send(load).status == .good)
        #expect(try bench.send(.testUnitReady()).status == .good)
        #expect(try bench.send(.testUnitReady(), as: other).codes == Self.notPresent)
        #expect(try bench.send(.testUnitReady(), as: other).codes == Self.mayHaveChanged)
        #expect(try bench.send([0x1E, 0, 0, 0, 1, 0]).status == .good)
        #expect(try bench.send(eject, as: other).codes == [0x2, 0x53, 0x00])
        // Both prevent it, and each for itself.
        #expect(try bench.send([0x1E, 0, 0, 0, 1, 0], as: other).status == .good)
        #expect(try bench.send([0x1E, 0, 0, 0, 0, 0]).status == .good)
        #expect(try bench.send(eject).codes == [0x2, 0x53, 0x00])
        // With its nexus the prevention ends.
        #expect(bench.server.preventsRemoval)
        bench.server.disconnect(other)
        #expect(!bench.server.preventsRemoval)
        #expect(try bench.send([0x1E, 0, 0, 0, 1, 0]).status == .good && bench.server.preventsRemoval)
        bench.server.reset()
        #expect(!bench.server.preventsRemoval)
    }

    @Test("each initiator hears of each media event, once", arguments: [DriveKind.dvdROM, .fullDVDROM])
    func mediaEvents(kind: DriveKind) throws {
        let (nothing, ejectRequest, newMedia): (UInt8, UInt8, UInt8) = (0, 1, 2)
        var bench = Bench(sectors: 1024, kind: kind)
        let other = try bench.connect("b")
        func hears(_ nexus: NexusNumber, _ events: UInt8...) throws {
            for event in events {
                let data = try bench.send(eventStatus, expecting: 8, as: nexus).data
                #expect(data[2] == 4 && data[4] == event, "\(data)")
            }
        }
        func insert(_ sectors: UInt64) {
            bench.drive.resize(toSectors: sectors)
            bench.server.operatorActed(on: bench.drive)
        }
        try hears(bench.nexus, nothing)
        insert(512)
        try hears(bench.nexus, newMedia, nothing)
        try hears(other, newMedia, nothing)
        for nexus in [bench.nexus, other] {
            #expect(try bench.send(.testUnitReady(), as: nexus).codes == Self.notPresent)
            #expect(try bench.send(.testUnitReady(), as: nexus).codes == Self.mayHaveChanged)
        }
        // An operator's wish changes no disc, and no command fails.
        #expect(try bench.send([0x1E, 0, 0, 0, 1, 0]).status == .good)
        bench.drive.eject(isForced: false)
        bench.server.operatorActed(on: bench.drive)
        for nexus in [bench.nexus, other] {
            #expect(try bench.send(.testUnitReady(), as: nexus).status == .good)
            try hears(nexus, ejectRequest, nothing)
        }
        // What was asked for is granted in between: the request is nothing any more.
        bench.drive.eject(isForced: false)
        bench.server.operatorActed(on: bench.drive)
        insert(0)
        insert(400)
        try hears(other, newMedia, nothing)
        // Who comes now was told by nobody, but somebody was told.
        try hears(try bench.connect("c"), nothing)
        try hears(bench.nexus, newMedia, nothing)
        // An initiator that comes back hears of what came meanwhile.
        bench.server.disconnect(other)
        insert(300)
        try hears(try bench.connect("b"), newMedia, nothing)
    }

    @Test("who closes the tray itself hears of no event; others do")
    func eventsOfTheTray() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        let other = try bench.connect("b")
        #expect(try bench.send(eject).status == .good)
        #expect(try bench.send(eventStatus, expecting: 8, as: other).data == [0, 4, 4, 0x10, 0, 1, 0, 0])
        #expect(try bench.send(load).status == .good)
        #expect(try bench.send(eventStatus, expecting: 8).data == [0, 4, 4, 0x10, 0, 2, 0, 0])
        #expect(try bench.send(eventStatus, expecting: 8, as: other).data == [0, 4, 4, 0x10, 2, 2, 0, 0])
    }

    @Test(
        "REPORT SUPPORTED OPERATION CODES lists the commands that there are, and no others",
        arguments: [(.dvdROM, []), (.fullDVDROM, [0x55, 0xB9])] as [(DriveKind, Set<UInt8>)])
    func operationCodes(kind: DriveKind, more: Set<UInt8>) throws {
        var bench = Bench(sectors: 1024, kind: kind, hasDisk: false)
        let data = try bench.send([0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0], expecting: 4096).data
        let listed = stride(from: 4, to: data.count, by: 8).map { data[$0] }
        let common: Set<UInt8> = [
            0x00, 0x03, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xA0, 0xA3, 0xA8, 0xAD,
            0xBB,
            0xBD, 0xBE,
        ]
        #expect(listed == common.union(more).sorted())
        for code in UInt8.min...UInt8.max {
            var bench = Bench(sectors: 1024, kind: kind, hasDisk: false)
            let action: UInt8 = code == 0xA3 ? 0x0C : 0
            let isUnknown = try bench.send([code, action], expecting: 64).codes == Bench.unknownCommand
            #expect(isUnknown == !listed.contains(code), "\(code)")
            let one = try bench.send([0xA3, 0x0C, 3, code, 0, action, 0, 0, 0, 64, 0, 0], expecting: 64).data
            #expect(one[1] == (listed.contains(code) ? 3 : 1), "\(code)")
            if listed.contains(code) { #expect(one[4] == code && one.count == 4 + Int(one[3])) }
        }
    }

    @Test("MODE SENSE (6) is MODE SENSE (10) with a shorter header", arguments: [DriveKind.dvdROM, .fullDVDROM])
    func modeSense6(kind: DriveKind) throws {
        var bench = Bench(sectors: 1024, kind: kind)
        let long = try bench.send([0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 255, 0], expecting: 255).data
        let short = try bench.send([0x1A, 0, 0x2A, 0, 255, 0], expecting: 255).data
        #expect(long.count == 30 && short == [25, 0x70, 0, 0] + long[8...])
        #expect(try bench.send([0x1A, 0, 0x2A, 0, 4, 0], expecting: 4).data == [25, 0x70, 0, 0])
        #expect(try bench.send([0x1A, 0, 0x08, 0, 255, 0], expecting: 255).codes == Bench.invalidField)
    }

    @Test("the full drive takes mode parameters that it has, and no others")
    func modeSelect() throws {
        var bench = Bench(sectors: 1024, kind: .fullDVDROM)
        let sense: CommandDescriptorBlock = [0x5A, 0, 0x3F, 0, 0, 0, 0, 2, 0, 0]
        var pages = try bench.send(sense, expecting: 512).data
        #expect(pages.count == 2 + Int(pages[0]) << 8 + Int(pages[1]))
        func select(_ length: Int) -> CommandDescriptorBlock { [0x55, 0x10, 0, 0, 0, 0, 0, 0, UInt8(length), 0] }
        let same = try bench.send(select(pages.count), dataOut: pages)
        #expect(same.status == .good && same.transferBytes == UInt64(pages.count))
        #expect(try bench.send(select(pages.count), dataOut: Array(pages.dropLast())).codes == Bench.wrongLength)
        #expect(try bench.send(select(pages.count - 1), dataOut: Array(pages.dropLast())).codes == [0x5, 0x1A, 0x00])
        pages[11] ^= 1
        #expect(try bench.send(select(pages.count), dataOut: pages).codes == [0x5, 0x26, 0x00])
        #expect(try bench.send([0x55, 0x11, 0, 0, 0, 0, 0, 0, 0, 0]).codes == Bench.invalidField)
    }
}
