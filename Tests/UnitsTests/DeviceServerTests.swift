// What the device server answers itself, and what it changes in libata's answers.

import ATA
import SCSI
import Testing
import Units

@Suite("Device server")
struct DeviceServerTests {
    private func page(_ bench: inout Bench, _ code: UInt8) throws -> [UInt8] {
        let answer = try bench.send(.inquiry(page: code, allocationLength: 1024), expecting: 1024)
        let length = Int(answer.data[2]) << 8 | Int(answer.data[3])
        #expect(answer.status == .good && answer.data.count == 4 + length)
        return answer.data
    }

    @Test("claims its standards, and keeps libata's identity")
    func standards() throws {
        var bench = Bench(sectors: 300)
        let data = try bench.send(.inquiry(allocationLength: 96), expecting: 96).data
        #expect(String(decoding: data[8..<32], as: UTF8.self) == "ATA     QEMU HARDDISK   ")
        #expect(Array(data[58..<68]) == [0x00, 0xA0, 0x09, 0x60, 0x04, 0x60, 0x04, 0xC0, 0, 0])
        let noPage = try bench.send([0x12, 0, 0x80, 0, 96, 0], expecting: 96)
        #expect(noPage.codes == Bench.invalidField && noPage.sense?.fieldPointer?.byte == 2)
    }

    @Test("lists the pages that it has, in their order")
    func pages() throws {
        var bench = Bench(sectors: 300)
        let codes = try page(&bench, 0x00).dropFirst(4)
        #expect(Array(codes) == [0x00, 0x80, 0x83, 0x89, 0xB0, 0xB1, 0xB2])
        for code in UInt8.min...UInt8.max {
            let answer = try bench.send(.inquiry(page: code, allocationLength: 255), expecting: 255)
            #expect((answer.status == .good) == codes.contains(code), "\(code)")
        }
    }

    @Test("has limits, which are those of its commands", arguments: [false, true])
    func limits(_ supportsTrim: Bool) throws {
        var bench = Bench(sectors: 300, change: { $0.supportsTrim = supportsTrim })
        let limits = try page(&bench, 0xB0)
        #expect(limits.count == 64 && limits[5] == 255 && Array(limits[8..<12]) == [0, 1, 0, 0])
        let unmap: [UInt8] = supportsTrim ? [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1, 0] : [0, 0, 0, 0, 0, 0, 0, 0]
        #expect(Array(limits[20..<28]) == unmap)
        #expect(try page(&bench, 0xB2)[5] == (supportsTrim ? 0xE0 : 0))
    }

    @Test("adds the names of a target to libata's designators")
    func names() throws {
        var bench = Bench(sectors: 300, change: { $0.serialNumber = "S1" })
        let bare = try page(&bench, 0x83)
        // A name that is too long for any designator is none that a target can have.
        bench.server = DeviceServer(targetName: [UInt8](repeating: 0x61, count: 70_000))
        #expect(try page(&bench, 0x83).count < 1000)
        bench.server = DeviceServer(targetName: Array("iqn.2026-11.net.example:disk".utf8))
        let connected = bench.server.connect(initiatorPort: Bench.port("a"))
        bench.nexus = try #require(connected)
        let named = try page(&bench, 0x83)
        #expect(named[4..<bare.count] == bare[4...])
        var rest = named[bare.count...]
        #expect(Array(rest.prefix(8)) == [0x51, 0x94, 0, 4, 0, 0, 0, 1])
        rest = rest.dropFirst(8)
        #expect(Array(rest.prefix(4)) == [0x53, 0x98, 0, 40])
        #expect(
            String(decoding: rest.dropFirst(4).prefix(37), as: UTF8.self) == "iqn.2026-11.net.example:disk,t,0x0001")
        rest = rest.dropFirst(44)
        #expect(Array(rest.prefix(4)) == [0x53, 0xA8, 0, 32] && rest.count == 36)
        // However little is asked for, the length is that of all.
        let cut = try bench.send(.inquiry(page: 0x83, allocationLength: 5), expecting: 5)
        #expect(cut.data == Array(named.prefix(5)) && cut.transferBytes == 5)
    }

    @Test("REQUEST SENSE is GOOD, and brings what is pending")
    func requestSense() throws {
        var bench = Bench(sectors: 300)
        let nothing = try bench.send([0x03, 0, 0, 0, 252, 0], expecting: 252)
        #expect(
            nothing.status == .good && nothing.data == [0x70, 0, 0, 0, 0, 0, 0, 10] + [UInt8](repeating: 0, count: 10))
        bench.server.capacityChanged()
        let pending = try bench.send([0x03, 1, 0, 0, 252, 0], expecting: 252)
        #expect(pending.data == [0x72, 0x06, 0x2A, 0x09, 0, 0, 0, 0])
        #expect(try bench.send(.testUnitReady()).status == .good)
    }

    @Test("REPORT LUNS names LUN 0", arguments: [DriveKind.disk, .dvdROM])
    func reportLUNs(_ kind: DriveKind) throws {
        var bench = Bench(sectors: 300, kind: kind)
        let all = try bench.send(.reportLUNs(allocationLength: 512), expecting: 512)
        #expect(all.data == [0, 0, 0, 8, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8))
        let wellKnown = try bench.send([0xA0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0], expecting: 512)
        #expect(wellKnown.data == [UInt8](repeating: 0, count: 8))
        #expect(try bench.send([0xA0, 0, 3, 0, 0, 0, 0, 0, 2, 0, 0, 0]).codes == Bench.invalidField)
        #expect(try bench.send(.reportLUNs(allocationLength: 4), expecting: 4).data == [0, 0, 0, 8])
    }

    @Test("a logical unit that is not there says so")
    func absent() throws {
        var bench = Bench(sectors: 300)
        bench.isAbsent = true
        bench.server.capacityChanged()
        let inquiry = try bench.send(.inquiry(allocationLength: 96), expecting: 96)
        #expect(inquiry.status == .good && inquiry.data.count == 36 && inquiry.data[0] == 0x7F && inquiry.data[4] == 31)
        #expect(try bench.send(.reportLUNs(allocationLength: 64), expecting: 64).data.count == 16)
        let sense = try bench.send([0x03, 0, 0, 0, 252, 0], expecting: 252)
        #expect(sense.data.count == 18 && sense.data[2] == 0x05 && sense.data[12] == 0x25)
        for code in UInt8.min...UInt8.max where ![0x03, 0x12, 0xA0].contains(code) {
            let answer = try bench.send(CommandDescriptorBlock([code]), expecting: 512)
            #expect(answer.codes == [0x5, 0x25, 0x00] && answer.transferBytes == 0)
        }
        bench.isAbsent = false
        #expect(try bench.send(.testUnitReady()).codes == [0x6, 0x2A, 0x09])
    }

    @Test("a read-only unit says so in its mode parameters")
    func writeProtected() throws {
        var bench = Bench(sectors: 300)
        for isReadOnly in [false, true] {
            bench.drive.isReadOnly = isReadOnly
            let short = try bench.send(
                .modeSense6(page: 0x3F, control: .current, allocationLength: 255), expecting: 255)
            let long = try bench.send(
                .modeSense10(page: 0x3F, control: .current, allocationLength: 255), expecting: 255)
            #expect(short.data[2] == (isReadOnly ? 0x80 : 0) && long.data[3] == (isReadOnly ? 0x80 : 0))
            _ = try bench.send(.modeSense6(page: 0x3F, control: .current, allocationLength: 2), expecting: 2)
        }
    }

    @Test("PREVENT ALLOW MEDIUM REMOVAL is accepted, SANITIZE and what nobody knows are not")
    func others() throws {
        var bench = Bench(sectors: 300)
        #expect(try bench.send([0x1E, 0, 0, 0, 1, 0]).status == .good)
        #expect(try bench.send([0x1E, 0, 0, 0, 0, 0]).status == .good)
        #expect(try bench.send([0x48, 1, 0, 0, 0, 0, 0, 0, 0, 0]).codes == Bench.unknownCommand)
        #expect(try bench.send([0x8B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).codes == Bench.unknownCommand)
        #expect(try bench.send([0x9E, 0x1F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).codes == Bench.invalidField)
        // SYNCHRONIZE CACHE, and PRE-FETCH of a range and a group.
        #expect(try bench.send(command(0x35, 299, 2)).codes == Bench.outOfRange)
        #expect(try bench.send(command(0x91, 0, 0)).steps == [.perform(.flush, bufferOffset: 0)])
        let fetched = try bench.send([0x34, 0x02, 0, 0, 0, 9, 3, 0, 4, 0])
        #expect(fetched.steps == [.perform(.prefetch(lba: 9, count: 4), bufferOffset: 0)])
    }
}
