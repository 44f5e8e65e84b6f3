// The DVD-ROM that has what MMC-6 makes mandatory, where QEMU's has not.

import Blocks
import Testing

@testable import ATA

@Suite struct FullDVDTests {
    private static func drive(blocks: UInt64 = 1024) -> Drive {
        Drive(DriveProperties(.fullDVDROM), sectors: blocks, bootSector: nil, controller: .piix3IDE)
    }

    /// Feature codes, whether they are current, and their data.
    private func features(_ drive: inout Drive, _ rt: UInt8 = 0, from first: UInt8 = 0) -> [(
        code: Int, isCurrent: Bool, data: [UInt8]
    )] {
        let answer = drive.send([0x46, rt, 0, first, 0, 0, 0, 0x10, 0]).reply
        #expect(Int(answer[2]) << 8 + Int(answer[3]) + 4 == answer.count)
        var list: [(code: Int, isCurrent: Bool, data: [UInt8])] = []
        var offset = 8
        while offset < answer.count {
            let end = offset + 4 + Int(answer[offset + 3])
            list.append(
                (
                    Int(answer[offset]) << 8 + Int(answer[offset + 1]), answer[offset + 2] & 1 != 0,
                    Array(answer[offset + 4..<end])
                ))
            offset = end
        }
        #expect(offset == answer.count)
        return list
    }

    /// MMC-6 5.4, the features that profiles 0008h and 0010h make mandatory.
    @Test(arguments: [(1024, 0x08), (400_000, 0x10), (0, 0)] as [(UInt64, UInt8)])
    func hasTheMandatoryFeatures(blocks: UInt64, profile: UInt8) {
        var drive = Self.drive(blocks: blocks)
        #expect(drive.send([0x46, 0, 0, 0, 0, 0, 0, 0, 8]).reply[6...] == [0, profile])
        let all = features(&drive)
        #expect(all.map(\.code) == [0x0, 0x1, 0x2, 0x3, 0x10, 0x1E, 0x1F, 0x100, 0x105, 0x108])
        let current = Set(all.filter(\.isCurrent).map(\.code))
        let always: Set = [0x0, 0x1, 0x2, 0x3, 0x100, 0x105, 0x108]
        #expect(current == always.union(profile == 0x08 ? [0x10, 0x1E] : profile == 0x10 ? [0x10, 0x1F] : []))
        #expect(Set(features(&drive, 1).map(\.code)) == current)
        #expect(features(&drive, 2, from: 3).map(\.code) == [3])
        #expect(features(&drive, 2, from: 4).isEmpty)
        #expect(features(&drive, 0, from: 0x1F).map(\.code) == [0x1F, 0x100, 0x105, 0x108])
        #expect(drive.refusal([0x46, 3, 0, 0, 0, 0, 0, 0, 64]) == [0x5, 0x24])
        #expect(all[0].data == [0, 0x10, profile == 0x10 ? 1 : 0, 0, 0, 0x08, profile == 0x08 ? 1 : 0, 0])
        #expect(all.last?.data == Array("QM00001             ".utf8))
    }

    @Test func hasAllPagesAtOnce() {
        var drive = Self.drive()
        let pages = drive.send([0x5A, 0, 0x3F, 0, 0, 0, 0, 2, 0]).reply
        let changeable = drive.send([0x5A, 0, 0x7F, 0, 0, 0, 0, 2, 0]).reply
        #expect(drive.send([0x5A, 0, 0xBF, 0, 0, 0, 0, 2, 0]).reply == pages)
        #expect(drive.refusal([0x5A, 0, 0xFF, 0, 0, 0, 0, 2, 0]) == [0x5, 0x39])
        var (offset, codes) = (8, [UInt8]())
        while offset < pages.count {
            codes.append(pages[offset])
            let end = offset + 2 + Int(pages[offset + 1])
            #expect(changeable[offset..<offset + 2] == pages[offset..<offset + 2])
            #expect(changeable[offset + 2..<end].allSatisfy { $0 == 0 })
            let one = drive.send([0x5A, 0, pages[offset], 0, 0, 0, 0, 2, 0]).reply
            #expect(Array(one[8...]) == Array(pages[offset..<end]))
            offset = end
        }
        #expect(offset == pages.count && codes == [0x01, 0x0E, 0x1A, 0x1D, 0x2A])
        #expect(drive.refusal([0x5A, 0, 0x08, 0, 0, 0, 0, 2, 0]) == [0x5, 0x24])
    }

    @Test func tellsEventsOfFourClasses() {
        var drive = Self.drive()
        func ask(_ classes: UInt8) -> [UInt8] { drive.send([0x4A, 1, 0, 0, classes, 0, 0, 0, 8]).reply }
        #expect(ask(0x01) == [0, 2, 0x80, 0x56])
        #expect(ask(0x10) == [0, 6, 4, 0x56, 0, 2, 0, 0])
        #expect(ask(0x56) == [0, 6, 1, 0x56, 0, 0, 0, 0])
        #expect(ask(0x04) == [0, 6, 2, 0x56, 0, 1, 0, 0])
        #expect(ask(0x40) == [0, 6, 6, 0x56, 0, 0, 0, 0])
        drive.resize(toSectors: 0)
        drive.resize(toSectors: 5)
        // What is new comes first.
        #expect(ask(0x56)[2] == 4)
        #expect(ask(0x56)[2] == 1)
    }

    @Test func readsByTime() {
        var drive = Self.drive()
        // 00:02:07 is block 7.
        let end = drive.send([0xB9, 0, 0, 0, 2, 7, 0, 2, 10, 0x10])
        #expect(end.asked == [.read(lba: 7, count: 3)] && end.byteCount == 3 * 2048)
        #expect(drive.refusal([0xB9, 0, 0, 0, 2, 7, 0, 2, 6, 0x10]) == [0x5, 0x24])
        #expect(drive.refusal([0xB9, 0, 0, 0, 1, 0, 0, 2, 6, 0x10]) == [0x5, 0x21])
        #expect(drive.refusal([0xB9, 0, 0, 99, 2, 7, 99, 2, 8, 0x10]) == [0x5, 0x21])
        var qemu = Drive.dvd()
        #expect(qemu.refusal([0xB9, 0, 0, 0, 2, 7, 0, 2, 10, 0x10]) == [0x5, 0x20])
    }

    @Test func saysWhichBlockCannotBeRead() {
        var drive = Self.drive()
        let end = drive.send([0x28, 0, 0, 0, 0, 4, 0, 0, 8], length: 8 * 2048) { _ in
            .failed(.unrecovered, afterBytes: 3 * 2048)
        }
        #expect(end.result.error == 0x30 && end.byteCount == 3 * 2048)
        let sense = drive.send([0x03, 0, 0, 0, 18]).reply
        #expect(sense[0] == 0xF0 && sense[2] == 3 && sense[12] == 0x11 && Array(sense[3..<7]) == [0, 0, 0, 7])
        _ = drive.refusal([0xFF])
        #expect(drive.send([0x03, 0, 0, 0, 18]).reply[0] == 0x70)
    }

    @Test func aDVDBeginsAtBlock30000() {
        var drive = Self.drive(blocks: 400_000)
        let answer = drive.send([0xAD, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]).reply
        #expect(answer[4..<20] == [0x01, 0x0F, 0x01, 0, 0, 3, 0, 0, 0, 9, 0x1A, 0x7F, 0, 0, 0, 0])
        let list = drive.send([0xAD, 0, 0, 0, 0, 0, 0, 0xFF, 0x10, 0]).reply
        #expect(stride(from: 4, to: list.count, by: 4).map { list[$0] } == [0, 1, 4])
        // The place of the format that MMC has, not only that of SFF-8020.
        #expect(
            drive.send([0x43, 0, 1, 0, 0, 0, 0, 0, 32]).reply
                == drive.send([0x43, 0, 0, 0, 0, 0, 0, 0, 32, 0x40]).reply)
    }

    @Test func anOperatorsWishIsAnEvent() {
        for kind in [DriveKind.dvdROM, .fullDVDROM] {
            var drive = Drive(DriveProperties(kind), sectors: 1024, bootSector: nil, controller: .piix3IDE)
            _ = drive.send([0x1E, 0, 0, 0, 1])
            drive.eject(isForced: false)
            #expect(drive.hasMedium)
            // MEC_EJECT_REQUESTED, once.
            #expect(drive.send([0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]).reply[4] == 1)
            #expect(drive.send([0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]).reply[4] == 0)
            drive.eject(isForced: true)
            #expect(!drive.hasMedium && drive.trayIsOpen)
            drive.resize(toSectors: 10)
            drive.unlockTray()
            drive.eject(isForced: false)
            #expect(!drive.hasMedium)
        }
    }
}
