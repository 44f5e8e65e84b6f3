// A DVD-ROM behind the layer, byte for byte as Linux 6.1 showed QEMU 7.2's to a program, and its sense data.

import ATA
import Blocks
import SAT
import SCSI
import Testing

@Suite struct PacketTests {
    /// The drive of the golden folder.
    private func initiator(_ folder: String) -> Initiator {
        Initiator(
            Drive(
                DriveProperties(.dvdROM), sectors: folder == "cd-media" ? 1024 : 0, bootSector: nil,
                controller: .piix3IDE))
    }

    /// A file, and the command and the size of the buffer that it came from. It is padded with zeroes.
    @Test(
        arguments: ["cd-media", "cd-empty"],
        [
            ("cd-inquiry", [0x12, 0, 0, 0, 36], 36), ("cd-vpd-00", [0x12, 1, 0, 0, 0xFC], 252),
            ("cd-vpd-83", [0x12, 1, 0x83, 0, 0xFC], 252), ("cd-mode-2a", [0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 0xFC], 252),
            ("cd-getconfig", [0x46, 0, 0, 0, 0, 0, 0, 1, 0], 256),
            ("cd-gesn", [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8], 8),
        ] as [(String, [UInt8], Int)])
    func answers(folder: String, command: (file: String, cdb: [UInt8], length: Int)) throws {
        var initiator = initiator(folder)
        let response = initiator.send(CommandDescriptorBlock(command.cdb), length: command.length)
        let golden = try GoldenFiles.bytes("\(folder)/\(command.file).bin")
        #expect(response.status == .good && response.data.count <= golden.count)
        #expect(response.data + [UInt8](repeating: 0, count: golden.count - response.data.count) == golden)
    }

    @Test(
        arguments: [
            ("cd-readcap10", [0x25], 8), ("cd-toc", [0x43, 0, 0, 0, 0, 0, 0, 0, 64], 64),
        ] as [(String, [UInt8], Int)])
    func answersAboutTheMedium(file: String, cdb: [UInt8], length: Int) throws {
        var full = initiator("cd-media")
        let data = full.send(CommandDescriptorBlock(cdb), length: length).data
        let golden = try GoldenFiles.bytes("cd-media/\(file).bin")
        #expect(data + [UInt8](repeating: 0, count: golden.count - data.count) == golden)
        var empty = initiator("cd-empty")
        let refused = empty.send(CommandDescriptorBlock(cdb), length: length)
        #expect(refused.status == .checkCondition && refused.senseCodes == [0x2, 0x3A, 0x00])
        let text = try GoldenFiles.lines("cd-empty/\(file).err").joined(separator: "\n")
        #expect(text.contains("Sense key: Not Ready") && text.contains("Medium not present"))
        #expect(text.contains("Info fld=0x0") && refused.sense?.information == 0)
    }

    /// The sense of the command that had failed last in the guest: a mode page that is not there, and with no medium
    /// the table of contents. In the golden folder a REQUEST SENSE fetched it once more.
    @Test(
        arguments: [
            ("cd-media", [0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 0xFC, 0]), ("cd-empty", [0x43, 0, 0, 0, 0, 0, 0, 0, 64]),
        ] as [(String, [UInt8])])
    func senseDataAreTheDrives(folder: String, cdb: [UInt8]) throws {
        var initiator = initiator(folder)
        let refused = initiator.send(CommandDescriptorBlock(cdb), length: 252)
        #expect(refused.status == .checkCondition && refused.data.isEmpty)
        let golden = try GoldenFiles.bytes("\(folder)/cd-request-sense.bin")
        #expect(refused.sense?.bytes == Array(golden.prefix(18)))
        let asked = initiator.send([0x03, 0, 0, 0, 252, 0], length: 252)
        #expect(asked.status == .good && asked.data == Array(golden.prefix(18)))
    }

    @Test func aChangedMediumIsAUnitAttentionOnce() {
        var initiator = initiator("cd-media")
        initiator.drive.resize(toSectors: 2048)
        let senses = (0..<3).map { _ in initiator.send([0x00]).senseCodes }
        #expect(senses == [[0x2, 0x3A, 0x00], [0x6, 0x28, 0x00], nil])
    }

    /// Whoever is told of another medium by other means has nothing of that left to hear.
    @Test func revalidationFetchesTheChange() {
        var initiator = initiator("cd-media")
        initiator.drive.resize(toSectors: 2048)
        initiator.layer.revalidate(&initiator.drive)
        #expect(initiator.send([0x00]).status == .good)
        #expect(initiator.send([0x25], length: 8).data == [0, 0, 0x07, 0xFF, 0, 0, 8, 0])
    }

    @Test func readsGoThrough() {
        var initiator = initiator("cd-media")
        let read = initiator.send(.read10(logicalBlockAddress: 1000, transferLength: 24), length: 24 * 2048)
        let blocks = BlockRequest.read(lba: 1000, count: 24)
        #expect(read.steps == [.blocks(blocks, dataOffset: 0, zeroes: false, mayDeallocate: false)])
        #expect(read.status == .good && read.data.count == 24 * 2048)
        // A buffer that is too small, and one that whole sectors do not fit into.
        for cdb: CommandDescriptorBlock in [[0x28, 0, 0, 0, 0, 0, 0, 0, 2], [0xBE, 0, 0, 0, 0, 0, 0, 0, 2, 0xF8]] {
            let short = initiator.send(cdb, length: 4095)
            #expect(short.steps.isEmpty && short.senseCodes == [0xB, 0, 0])
        }
        let raw = initiator.send([0xBE, 0, 0, 0, 0, 0, 0, 0, 2, 0xF8], length: 4704)
        let offsets = raw.steps.map { step in
            if case .blocks(_, let offset, _, _) = step { offset } else { UInt32.max }
        }
        #expect(offsets == [16, 2368] && raw.data.count == 4704)
    }

    @Test func aFailureOfTheMediumIsTheDrivesWord() {
        var initiator = initiator("cd-media")
        let read = initiator.send(.read10(logicalBlockAddress: 0, transferLength: 4), length: 8192) { _ in
            .failed(.unrecovered, afterBytes: 4096)
        }
        #expect(read.status == .checkCondition && read.senseCodes == [0x5, 0x21, 0x00])
        #expect(read.data.count == 4096)
    }

    @Test func whatIsNoPacketIsNotSent() {
        var initiator = initiator("cd-media")
        let before = initiator.drive.taskfilesExecuted
        let read = initiator.send(.read16(logicalBlockAddress: 0, transferLength: 1), length: 2048)
        #expect(read.senseCodes == [0xB, 0, 0])
        #expect(initiator.drive.taskfilesExecuted == before)
        // Commands of a disk are the drive's to refuse.
        for code: UInt8 in [0x08, 0x0A, 0x1A, 0x2A, 0x35, 0x55, 0xA0, 0xA3] {
            #expect(initiator.send(CommandDescriptorBlock([code]), length: 16).senseCodes == [0x5, 0x20, 0x00])
        }
    }

    /// Data whose length is no multiple of 16 go by PIO, where the drive names the bytes of the last block.
    @Test func oddLengthsGoByPIO() {
        var initiator = initiator("cd-media")
        #expect(initiator.send([0x12, 0, 0, 0, 35], length: 35).data.count == 35)
        #expect(initiator.send([0x12, 0, 0, 0, 5], length: 5).data == [0x05, 0x80, 0x05, 0x32, 31])
    }

    @Test func exportsAskForTheMap() {
        var initiator = initiator("cd-media")
        initiator.map = (mapped: false, count: 5000)
        let command = CommandDescriptorBlock.getLBAStatus16(startingLogicalBlockAddress: 1000, allocationLength: 24)
        let status = initiator.send(command, length: 24, origin: .kernel)
        #expect(status.steps == [.lbaStatus(lba: 1000)] && status.data[19] == 24)
        let beyond = CommandDescriptorBlock.getLBAStatus16(startingLogicalBlockAddress: 1024, allocationLength: 24)
        #expect(initiator.send(beyond, length: 24, origin: .kernel).senseCodes == [0x5, 0x21, 0x00])
        // A program's is no packet.
        #expect(initiator.send(command, length: 24).senseCodes == [0xB, 0, 0])
    }
}
