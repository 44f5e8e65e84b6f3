// Commands whose answers are libata's: their bytes, cut to what was asked for and to what there is.

import ATA
import SCSI
import Testing
import Units

@Suite("Answers of the translation layer")
struct PageTests {
    @Test("are as long as they say, and no longer than the allocation length")
    func lengths() throws {
        var bench = Bench(sectors: 300)
        let inquiry = try bench.send(.inquiry(allocationLength: 255), expecting: 255)
        #expect(inquiry.data.count == 96 && inquiry.data[4] == 91 && inquiry.transferBytes == 96)
        for length in [0, 5, 36, 95, 96, 97, 511, 512] {
            let cut = try bench.send(.inquiry(allocationLength: UInt16(length)), expecting: length)
            #expect(cut.data == Array(inquiry.data.prefix(length)) && cut.status == .good, "\(length)")
        }
        let serial = try bench.send(.inquiry(page: 0x80, allocationLength: 255), expecting: 255)
        #expect(serial.data.count == 24 && serial.data[3] == 20)
        let ata = try bench.send(.inquiry(page: 0x89, allocationLength: 4096), expecting: 4096)
        #expect(ata.data.count == 572 && ata.status == .good)
        let part = try bench.send(.inquiry(page: 0x89, allocationLength: 60), expecting: 60)
        #expect(part.data == Array(ata.data.prefix(60)))
        let mode = try bench.send(.modeSense6(page: 0x3F, control: .current, allocationLength: 255), expecting: 255)
        #expect(mode.data.count == Int(mode.data[0]) + 1)
        #expect(try bench.send(.readCapacity10(), expecting: 8).data == [0, 0, 1, 43, 0, 0, 2, 0])
        #expect(try bench.send(.readCapacity16(allocationLength: 252), expecting: 252).data.count == 32)
    }

    @Test("that are longer than expected leave a residual")
    func residual() throws {
        var bench = Bench(sectors: 300)
        let answer = try bench.send(.inquiry(allocationLength: 255), expecting: 10)
        #expect(answer.data.count == 10 && answer.transferBytes == 96)
    }

    @Test("ATA PASS-THROUGH brings IDENTIFY DEVICE data, with the registers if they are wanted")
    func passThrough() throws {
        var bench = Bench(sectors: 300)
        var cdb: [UInt8] = [0x85, 0x08, 0x0E, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xEC, 0]
        let good = try bench.send(CommandDescriptorBlock(cdb), expecting: 512)
        #expect(good.status == .good && good.data.count == 512 && good.data[0] == 0x40)
        cdb[2] |= 0x20
        let checked = try bench.send(CommandDescriptorBlock(cdb), expecting: 512)
        #expect(checked.codes == [0x1, 0x00, 0x1D] && checked.data == good.data)
        #expect(checked.sense?.ataStatusReturn?.status == 0x50)
    }

    @Test("MODE SELECT switches the write cache of the unit")
    func modeSelect() throws {
        var bench = Bench(sectors: 300)
        #expect(bench.drive.hasWriteCache)
        let page = try bench.send(.modeSense6(page: 0x08, control: .current, allocationLength: 255), expecting: 255)
        var parameters = page.data
        parameters[0] = 0
        parameters[14] &= ~0x04
        let cdb: CommandDescriptorBlock = [0x15, 0x10, 0, 0, UInt8(parameters.count), 0]
        let answer = try bench.send(cdb, dataOut: parameters)
        #expect(answer.status == .good && answer.transferBytes == UInt64(parameters.count))
        #expect(!bench.drive.hasWriteCache)
        let short = try bench.send(cdb, dataOut: Array(parameters.prefix(8)))
        #expect(short.codes == [0x5, 0x1A, 0x00])
    }
}
