// Commands that only exports may send: PRE-FETCH and GET LBA STATUS. And drives at the ends of the range of sizes.

import ATA
import SAT
import SCSI
import Testing

@Suite("Commands for exports")
struct ExportCommandTests {
    @Test("PRE-FETCH asks the medium for all of the range")
    func preFetch() {
        var initiator = Initiator(sectors: 200_000)
        let some = initiator.send(.preFetch16(logicalBlockAddress: 10, prefetchLength: 70_000), origin: .kernel)
        #expect(some.status == .good)
        #expect(some.operations == [.prefetch(lba: 10, count: 65_535), .prefetch(lba: 65_545, count: 4_465)])
        let short = initiator.send([0x34, 0, 0, 0, 0, 5, 0, 0, 3, 0], origin: .kernel)
        #expect(short.operations == [.prefetch(lba: 5, count: 3)])
        let toTheEnd = initiator.send([0x34, 0, 0, 3, 0x0D, 0x3E, 0, 0, 0, 0], origin: .kernel)
        #expect(toTheEnd.operations == [.prefetch(lba: 199_998, count: 2)])
        let beyond = initiator.send(.preFetch16(logicalBlockAddress: 199_999, prefetchLength: 2), origin: .kernel)
        #expect(beyond.senseCodes == [0x05, 0x21, 0x00])
        let user = initiator.send(.preFetch16(logicalBlockAddress: 0, prefetchLength: 1))
        #expect(user.senseCodes == [0x05, 0x20, 0x00])
    }

    @Test("PRE-FETCH does not mind a medium that fails: nothing was promised")
    func preFetchFailure() {
        var initiator = Initiator()
        let command = CommandDescriptorBlock.preFetch16(logicalBlockAddress: 0, prefetchLength: 1)
        #expect(initiator.send(command, origin: .kernel) { _ in .failed(.unrecovered) }.status == .good)
    }

    @Test("GET LBA STATUS says what the medium says", arguments: [true, false])
    func lbaStatus(_ mapped: Bool) {
        var initiator = Initiator(sectors: 1000)
        initiator.map = (mapped, 90)
        let command = CommandDescriptorBlock.getLBAStatus16(startingLogicalBlockAddress: 900, allocationLength: 24)
        let response = initiator.send(command, length: 24, origin: .kernel)
        #expect(response.steps == [.lbaStatus(lba: 900)])
        #expect(response.status == .good)
        let expected = LBAStatusData(
            logicalBlockAddress: 900, numberOfLogicalBlocks: 90, provisioningStatus: mapped ? .mapped : .deallocated)
        #expect(LBAStatusData(parsing: response.data.span.bytes) == expected)
        // Not beyond the end, whatever the medium says.
        initiator.map.count = 101
        let cut = initiator.send(command, length: 24, origin: .kernel)
        #expect(LBAStatusData(parsing: cut.data.span.bytes)?.numberOfLogicalBlocks == 100)
        #expect(initiator.send(command, length: 9, origin: .kernel).data.count == 9)
    }

    @Test("GET LBA STATUS is not for programs, nor for what is not there")
    func lbaStatusRefused() {
        var initiator = Initiator(sectors: 1000)
        let user = initiator.send(.getLBAStatus16(startingLogicalBlockAddress: 0, allocationLength: 24), length: 24)
        #expect(user.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 1))
        for address: UInt64 in [1000, .max] {
            let command = CommandDescriptorBlock.getLBAStatus16(
                startingLogicalBlockAddress: address, allocationLength: 24)
            #expect(initiator.send(command, length: 24, origin: .kernel).senseCodes == [0x05, 0x21, 0x00])
        }
    }

    @Test("a drive of 2^48 sectors can be read to its last one")
    func largest() {
        var initiator = Initiator(sectors: 1 << 48)
        let last = initiator.send(.read16(logicalBlockAddress: 1 << 48 - 1, transferLength: 1), length: 512)
        #expect(last.operations == [.read(lba: 1 << 48 - 1, count: 1)])
        let capacity = initiator.send(.readCapacity16(allocationLength: 32), length: 32)
        #expect(capacity.data.prefix(8).elementsEqual([0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]))
    }

    @Test("a drive without sectors has nothing to read, and says so")
    func empty() {
        var initiator = Initiator(sectors: 0)
        #expect(initiator.send(.readCapacity10(), length: 8).data.hexadecimal == "ff ff ff ff 00 00 02 00")
        let read = CommandDescriptorBlock.read16(logicalBlockAddress: 0, transferLength: 1)
        #expect(initiator.send(read, length: 512).senseCodes == [0x0B, 0x00, 0x00])
        // 48-bit commands are not believed.
        let long = CommandDescriptorBlock.read16(logicalBlockAddress: 0, transferLength: 257)
        #expect(initiator.send(long, length: 257 * 512).senseCodes == [0x05, 0x21, 0x00])
        #expect(initiator.send(.preFetch16(logicalBlockAddress: 0, prefetchLength: 0), origin: .kernel).steps.isEmpty)
    }
}
