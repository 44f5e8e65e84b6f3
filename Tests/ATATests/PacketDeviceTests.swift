// A DVD-ROM: its identity and its ATA commands against those of QEMU 7.2's `ide-cd`, and what it remembers.

import Blocks
import Foundation
import Testing

@testable import ATA

extension Drive {
    /// The drive of the golden folders, with a medium of so many blocks.
    static func dvd(blocks: UInt64 = 1024, controller: Controller = .piix3IDE) -> Drive {
        Drive(DriveProperties(.dvdROM), sectors: blocks, bootSector: nil, controller: controller)
    }

    /// What a packet came to.
    struct PacketEnd {
        var result: TaskfileResult
        var byteCount: UInt64
        var reply: [UInt8]
        var asked: [BlockRequest]
    }

    /// Sends a packet, with room for `length` bytes; each operation's outcome is what `perform` says.
    mutating func send(
        _ packet: [UInt8], length: Int = 4096, byDMA: Bool = true, byteCountLimit: UInt64 = 0,
        perform: (BlockRequest) -> BlockOutcome = { _ in .done }
    ) -> PacketEnd {
        var reply = [UInt8](repeating: 0xEE, count: length)
        var asked: [BlockRequest] = []
        var span = reply.mutableSpan
        var raw = span.mutableBytes
        var command = CommandInProgress(
            Taskfile(command: 0xA0, feature: byDMA ? 1 : 0, count: 0x5500, lba: byteCountLimit << 8))
        let bytes = packet + [UInt8](repeating: 0, count: 12 - packet.count)
        var step = begin(&command, packet: CommandPacket { bytes[$0] }, reply: &raw)
        while case .blocks(let request) = step {
            asked.append(request)
            step = resume(&command, perform(request), reply: &raw)
        }
        guard case .packetEnded(let byteCount, let result) = step else { fatalError("\(step) is no end of a packet") }
        let end = min(Int(byteCount), length)
        return PacketEnd(result: result, byteCount: byteCount, reply: Array(reply.prefix(end)), asked: asked)
    }

    /// Sense key and additional sense code, as REQUEST SENSE tells them.
    mutating func sense() -> [UInt8] {
        let data = send([0x03, 0, 0, 0, 18]).reply
        return [data[2], data[12]]
    }

    /// Sends a packet that ends with CHECK CONDITION, and fetches the sense.
    mutating func refusal(_ packet: [UInt8]) -> [UInt8]? {
        let end = send(packet)
        guard end.result.status == 0x41, end.result.count == 3 else { return nil }
        let sense = sense()
        return end.result.error == sense[0] << 4 ? sense : nil
    }
}

@Suite struct PacketDeviceTests {
    private func golden(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: Bundle.module.bundleURL.appendingPathComponent("Golden/\(path)")))
    }

    @Test(arguments: [("cd-media", 1024), ("cd-empty", 0)])
    func identifyPacketDevice(folder: String, blocks: UInt64) throws {
        var drive = Drive.dvd(blocks: blocks)
        guard case .dataIn(let page, let result) = drive.begin(Taskfile(command: 0xA1)) else {
            Issue.record("IDENTIFY PACKET DEVICE has no data")
            return
        }
        #expect(result.status == 0x50)
        #expect(try drive.bytes(page) == golden("\(folder)/poweron-identify-packet.bin"))
        // What Linux does on a PIIX3: multiword DMA 2.
        #expect(drive.execute(Taskfile(command: 0xEF, feature: 0x03, count: 0x22)).result.status == 0x50)
        #expect(try drive.bytes(.identifyDevice) == golden("\(folder)/cd-identify-packet.bin"))
    }

    @Test func propertiesShowInTheIdentity() throws {
        let text = "ide-cd,serial=42,model=ACME DISC,ver=1.0,wwn=0x5000c50015ea71ac,unit=1"
        let properties = try DriveProperties(parsing: text)
        let drive = Drive(properties, sectors: 1, bootSector: nil, controller: .ich9AHCI)
        let data = drive.identifyData
        #expect([data.serialNumber, data.modelNumber, data.firmwareRevision] == ["42", "ACME DISC", "1.0"])
        #expect((108...111).map { data[word: $0] } == [0x5000, 0xC500, 0x15EA, 0x71AC])
        #expect(data[word: 84] == 0x0100 && data[word: 87] == 0x0100 && data.supportsNCQ)
    }

    @Test(arguments: ["rotation_rate=1", "cyls=1,heads=1,secs=1", "lcyls=1", "bios-chs-trans=none"])
    func aDVDHasNoPropertiesOfADisk(text: String) {
        let name = String(text.prefix { $0 != "=" })
        #expect(throws: DevicePropertyError.unknownProperty(name, of: .dvdROM, nearest: nil)) {
            try DriveProperties(parsing: "ide-cd,\(text)")
        }
    }

    @Test func theDeviceMayBeNamedAnywhere() throws {
        let properties = try DriveProperties(parsing: "serial=1,driver=ide-cd,write-cache=on,logical_block_size=512")
        #expect(properties.kind == .dvdROM && properties.logicalBlockSize.bytes == 2048)
    }

    /// Registers of the commands that have the signature as output (ATA/ATAPI-4 9.1).
    @Test(
        arguments: [
            (0xEC, 0x41, 0x04, 0xB0), (0x20, 0x41, 0x04, 0xB0), (0x08, 0x00, 0x01, 0xB0), (0x90, 0x00, 0x01, 0xA0),
        ] as [(UInt8, UInt8, UInt8, UInt8)])
    func signature(command: UInt8, status: UInt8, error: UInt8, device: UInt8) {
        var properties = DriveProperties(.dvdROM)
        properties.unit = 1
        var drive = Drive(properties, sectors: 1, bootSector: nil, controller: .piix3IDE)
        let result = drive.execute(
            Taskfile(command: command, count: 0x1234, lba: 0xAABB_CC01_0203, device: 0x0F)
        ).result
        #expect([result.status, result.error, result.device] == [status, error, device])
        #expect(result.count == 0x1201 && result.lba == 0xAABB_CCEB_1401)
    }

    @Test func allOtherATACommandsAreAborted() {
        let known: Set<UInt8> = [0x08, 0x20, 0x90, 0xA1, 0xE7, 0xEC, 0xEF]
        for code in UInt8.min...UInt8.max where !known.contains(code) {
            var drive = Drive.dvd()
            let (result, asked) = drive.execute(Taskfile(command: code, lba: 0x123456))
            #expect(result.status == 0x41 && result.error == 0x04 && result.lba == 0x123456, "\(code)")
            #expect(asked.isEmpty)
        }
        var drive = Drive.dvd()
        #expect(drive.execute(Taskfile(command: 0xE7)).asked == [.flush])
    }

    @Test func aDiskTakesNoPackets() {
        var disk = Drive.reference()
        let end = disk.send([0x00])
        #expect(end.result.status == 0x41 && end.result.error == 0x04)
    }

    @Test func commandsThatAreNotThereAreRefused() {
        for code in UInt8.min...UInt8.max where PacketCommand(rawValue: code) == nil {
            var drive = Drive.dvd()
            #expect(drive.refusal([code]) == [0x5, 0x20], "\(code)")
        }
    }

    @Test func overlappedCommandsAreAborted() {
        var drive = Drive.dvd()
        var command = CommandInProgress(Taskfile(command: 0xA0, feature: 0x02))
        var none: [UInt8] = []
        var span = none.mutableSpan
        var raw = span.mutableBytes
        let step = drive.begin(&command, packet: CommandPacket { _ in 0 }, reply: &raw)
        guard case .packetEnded(0, let result) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(result.status == 0x41 && result.error == 0x04)
    }
}

/// The medium: there or not, and changed.
@Suite struct PacketMediumTests {
    private static let testUnitReady: [UInt8] = [0x00]

    @Test func withoutAMediumCommandsOfTheMediumAreNotReady() {
        for code in PacketCommand.allCases where code.isCommand(of: .dvdROM) {
            var drive = Drive.dvd(blocks: 0)
            let status = drive.send([code.rawValue, 1, 0, 0, 0xFF, 0, 0, 0, 0xFF, 0xFF]).result.status
            let sense = status == 0x41 ? drive.sense() : []
            #expect((sense == [0x2, 0x3A]) == code.needsMedium, "\(code)")
        }
    }

    @Test func anotherMediumIsToldAsARemovalAndAChange() {
        var drive = Drive.dvd()
        #expect(drive.send(Self.testUnitReady).result.status == 0x50)
        drive.resize(toSectors: 2048)
        // These four tell nothing of it.
        #expect(drive.send([0x12, 0, 0, 0, 36]).result.status == 0x50)
        #expect(drive.refusal(Self.testUnitReady) == [0x2, 0x3A])
        let changed = drive.send(Self.testUnitReady).result
        #expect(changed.status == 0x41 && changed.error == 0x60 && changed.count == 3)
        // The unit attention stays, with MC in the error register and no DRDY, until somebody asks for it.
        let pending = drive.send(Self.testUnitReady).result
        #expect(pending.status == 0x01 && pending.error == 0x60 && pending.count == 0)
        #expect(drive.send([0x46, 0, 0, 0, 0, 0, 0, 0, 8]).result.status == 0x50)
        #expect(drive.sense() == [0x6, 0x28])
        #expect(drive.sense() == [0x0, 0x28])
        #expect(drive.send(Self.testUnitReady).result.status == 0x50)
        #expect(drive.send([0x25]).reply == [0, 0, 0x07, 0xFF, 0, 0, 0x08, 0])
    }

    @Test func aNewMediumIsAnEventOnce() {
        var drive = Drive.dvd()
        let poll: [UInt8] = [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]
        #expect(drive.send(poll).reply == [0, 4, 4, 0x10, 0, 2, 0, 0])
        drive.resize(toSectors: 2048)
        #expect(drive.send(poll).reply == [0, 4, 4, 0x10, 2, 2, 0, 0])
        #expect(drive.send(poll).reply == [0, 4, 4, 0x10, 0, 2, 0, 0])
        // Other classes have no events, and nothing is told unasked.
        #expect(drive.send([0x4A, 1, 0, 0, 0x40, 0, 0, 0, 8]).reply == [0, 0, 0x80, 0x10])
        #expect(drive.refusal([0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8]) == [0x5, 0x24])
    }

    @Test func theTrayOpensUnlessItIsLocked() {
        var drive = Drive.dvd()
        let capabilities: [UInt8] = [0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 30]
        #expect(drive.send([0x1E, 0, 0, 0, 1]).result.status == 0x50)
        #expect(drive.send(capabilities).reply[14] == 0x2B)
        #expect(drive.refusal([0x1B, 0, 0, 0, 2]) == [0x2, 0x53])
        #expect(drive.send([0x1E]).result.status == 0x50)
        #expect(drive.send(capabilities).reply[14] == 0x29)
        // To stop it, or a power condition, moves no tray.
        #expect(drive.send([0x1B]).result.status == 0x50)
        #expect(drive.send([0x1B, 0, 0, 0, 0x12]).result.status == 0x50)
        #expect(drive.send(Self.testUnitReady).result.status == 0x50)
        #expect(drive.send([0x1B, 0, 0, 0, 2]).result.status == 0x50)
        #expect(drive.refusal(Self.testUnitReady) == [0x2, 0x3A])
        #expect(drive.send([0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]).reply == [0, 4, 4, 0x10, 0, 1, 0, 0])
        #expect(drive.send([0x46, 0, 0, 0, 0, 0, 0, 0, 8]).reply == [0, 0, 0, 0x10, 0, 0, 0, 0])
        #expect(drive.send([0x1B, 0, 0, 0, 3]).result.status == 0x50)
        #expect(drive.send(Self.testUnitReady).result.status == 0x50)
        var empty = Drive.dvd(blocks: 0)
        #expect(empty.send([0x1E, 0, 0, 0, 1]).result.status == 0x50)
        #expect(empty.refusal([0x1B, 0, 0, 0, 2]) == [0x5, 0x53])
    }

    @Test func aMediumThatIsTakenOutLeavesTheTrayOpen() {
        var drive = Drive.dvd()
        drive.resize(toSectors: 0)
        #expect(drive.refusal(Self.testUnitReady) == [0x2, 0x3A])
        #expect(drive.send([0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]).reply == [0, 4, 4, 0x10, 0, 1, 0, 0])
    }

    /// 80 minutes of 75 frames a second fit on a CD.
    @Test(arguments: [(360_000, 0x08), (360_001, 0x10)] as [(UInt64, UInt8)])
    func theSizeDecidesOnTheProfile(blocks: UInt64, profile: UInt8) {
        var drive = Drive.dvd(blocks: blocks)
        let expected: [UInt8] = [
            0, 0, 0, 0x10, 0, 0, 0, profile, 0, 0, 3, 8, 0, 0x10, profile == 0x10 ? 1 : 0, 0, 0, 8,
            profile == 8 ? 1 : 0, 0,
        ]
        #expect(drive.send([0x46, 0, 0, 0, 0, 0, 0, 1, 0]).reply == expected)
        #expect(drive.refusal([0x46, 0, 0, 1, 0, 0, 0, 1, 0]) == [0x5, 0x24])
    }
}
