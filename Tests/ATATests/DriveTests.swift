// The drive's state: write cache, IDENTIFY DEVICE data that are built once, self-test log, queued commands, failures.

import Blocks
import Testing

@testable import ATA

@Suite("Drive")
struct DriveTests {
    private let write = Taskfile(command: 0xCA, count: 8, lba: 100, device: Taskfile.deviceLBA)

    @Test("with the write cache off, a write is flushed before it ends")
    func writeThrough() {
        var properties = DriveProperties.reference
        properties.writeCache = .off
        var drive = Drive(properties, sectors: 1000, bootSector: nil, controller: .piix3IDE)
        #expect(!drive.writeCacheEnabled)
        let (result, asked) = drive.execute(write)
        #expect(asked == [.write(lba: 100, count: 8), .flush])
        #expect(result.status == 0x50 && result.lba == 108 && result.count == 0)

        let failed = drive.execute(write) { $0 == .flush ? .failed(.noSpace) : .done }
        #expect(failed.result.status == 0x41 && failed.result.blockFailure == .noSpace)
        #expect(failed.result.lba == 100 && failed.result.count == 8)

        _ = drive.execute(Taskfile(command: 0xEF, feature: 0x02))
        #expect(drive.writeCacheEnabled)
        #expect(drive.execute(write).asked == [.write(lba: 100, count: 8)])
    }

    @Test("switching the write cache off flushes; it is off even if that fails")
    func disableWriteCache() {
        var drive = Drive.reference()
        #expect(drive.writeCacheEnabled)
        let (result, asked) = drive.execute(Taskfile(command: 0xEF, feature: 0x82)) { _ in .failed(.unrecovered) }
        #expect(asked == [.flush])
        #expect(result.status == 0x41 && result.error == 0x04 && result.blockFailure == .unrecovered)
        #expect(!drive.writeCacheEnabled && drive.identifyData[word: 85] == 0x4001)
    }

    @Test(
        "STANDBY, STANDBY IMMEDIATE and SLEEP flush a write cache that is on; IDLE does not",
        arguments: [0x94, 0x96, 0x99, 0xE0, 0xE2, 0xE6, 0x95, 0x97, 0xE1, 0xE3] as [UInt8])
    func spinDown(_ code: UInt8) {
        let isIdle = [0x95, 0x97, 0xE1, 0xE3].contains(code)
        var drive = Drive.reference()
        let taskfile = Taskfile(command: code, count: 8, lba: 100, device: 0xF0)
        let (result, asked) = drive.execute(taskfile)
        #expect(asked == (isIdle ? [] : [.flush]))
        #expect(result == TaskfileResult(taskfile, status: 0x40))
        if !isIdle {
            let failed = drive.execute(taskfile) { _ in .failed(.unrecovered) }.result
            #expect(failed == TaskfileResult(taskfile, status: 0x41, error: 0x04, blockFailure: .unrecovered))
        }
        _ = drive.execute(Taskfile(command: 0xEF, feature: 0x82))
        #expect(drive.execute(taskfile).asked == [])
    }

    @Test(
        "a medium that fails aborts the command, with the registers as they were",
        arguments: [0xC8, 0xCA, 0x20, 0xC5, 0xE7, 0xEA] as [UInt8])
    func mediaFailure(_ code: UInt8) {
        var drive = Drive.reference()
        let taskfile = Taskfile(command: code, count: 8, lba: 100, device: 0xF0)
        let (result, asked) = drive.execute(taskfile) { _ in .failed(.unrecovered) }
        #expect(asked.count == 1)
        #expect(result == TaskfileResult(taskfile, status: 0x41, error: 0x04, blockFailure: .unrecovered))
    }

    @Test("a medium that fails in the middle: the registers name the sector")
    func mediaFailureInTheMiddle() {
        var drive = Drive.reference(sectors: 1 << 25)
        // READ DMA and WRITE DMA: the address crosses into the device register.
        for code: UInt8 in [0xC8, 0xCA] {
            let taskfile = Taskfile(command: code, count: 8, lba: 0xFF_FFFE, device: 0xE0)
            let (result, _) = drive.execute(taskfile) { _ in .failed(.unrecovered, afterBytes: 3 * 512) }
            #expect(result.status == 0x41 && result.error == 0x04 && result.blockFailure == .unrecovered)
            #expect(result.lba == 1 && result.device == 0xF1)
            #expect(result.count == 5 && result.sectorsTransferred == 3)
        }
        // READ DMA EXT
        let extended = Taskfile(command: 0x25, count: 0x300, lba: 0x1234, device: 0x40)
        #expect(drive.execute(extended) { _ in .failed(.unrecovered, afterBytes: 0x200 * 512) }.result.lba == 0x1434)
        // READ SECTORS, by cylinder 0, head 1, sector 5: sector 67 of the drive.
        let old = Taskfile(command: 0x20, count: 100, lba: 5, device: 0xA1)
        let (result, _) = drive.execute(old) { _ in .failed(.unrecovered, afterBytes: 60 * 512) }
        #expect(result.lba == 2 && result.device & 0x0F == 2)
        // READ FPDMA QUEUED: what the NCQ Command Error log says.
        var serial = Drive(DriveProperties.reference, sectors: 1000, bootSector: nil, controller: .ich9AHCI)
        let queued = Taskfile(command: 0x60, feature: 8, lba: 100, device: 0x40)
        #expect(serial.execute(queued) { _ in .failed(.unrecovered, afterBytes: 5 * 512) }.result.lba == 105)
    }

    @Test("READ VERIFY lets the medium fetch what there is of the range")
    func readVerify() {
        var drive = Drive.reference(sectors: 1000)
        func asked(_ taskfile: Taskfile) -> [BlockRequest] {
            let (result, asked) = drive.execute(taskfile) { _ in .failed(.unrecovered) }
            #expect(result.status == 0x50 && result.blockFailure == nil && result.lba == taskfile.lba)
            return asked
        }
        #expect(asked(Taskfile(command: 0x40, count: 8, lba: 10, device: 0x40)) == [.prefetch(lba: 10, count: 8)])
        #expect(asked(Taskfile(command: 0x41, count: 8, lba: 999, device: 0x40)) == [.prefetch(lba: 999, count: 1)])
        #expect(asked(Taskfile(command: 0x42, count: 0, lba: 0, device: 0x40)) == [.prefetch(lba: 0, count: 1000)])
        #expect(asked(Taskfile(command: 0x42, count: 1, lba: 1000, device: 0x40)).isEmpty)
    }

    @Test("48-bit counts of zero are 65,536 sectors, 28-bit ones 256")
    func zeroCounts() {
        var drive = Drive.reference(controller: .ich9AHCI)
        #expect(drive.begin(Taskfile(command: 0x25, device: 0x40)) == .blocks(.read(lba: 0, count: 65536)))
        #expect(drive.begin(Taskfile(command: 0x35, device: 0x40)) == .blocks(.write(lba: 0, count: 65536)))
        #expect(drive.begin(Taskfile(command: 0x24, device: 0x40)) == .blocks(.read(lba: 0, count: 65536)))
        #expect(drive.begin(Taskfile(command: 0x60, device: 0x40)) == .blocks(.read(lba: 0, count: 65536)))
        #expect(drive.begin(Taskfile(command: 0xC8, device: 0x40)) == .blocks(.read(lba: 0, count: 256)))
        #expect(drive.begin(Taskfile(command: 0xCA, device: 0x40)) == .blocks(.write(lba: 0, count: 256)))
    }

    @Test("takes queued commands on AHCI only, with the count in the feature register")
    func queued() {
        let taskfile = Taskfile(command: 0x61, feature: 0x0108, count: 5 << 3, lba: 0x1234, device: 0x40)
        var parallel = Drive.reference()
        #expect(parallel.execute(taskfile).result.status == 0x41)
        var serial = Drive.reference(controller: .ich9AHCI)
        let (result, asked) = serial.execute(taskfile)
        #expect(asked == [.write(lba: 0x1234, count: 0x108)])
        // A Set Device Bits FIS brings the status and the error register; the others stay, the tag among them.
        var expected = TaskfileResult(taskfile, status: 0x50)
        expected.sectorsTransferred = 0x108
        #expect(result == expected)
        let beyond = Taskfile(command: 0x60, feature: 2, lba: Drive.referenceSectors - 1, device: 0x40)
        #expect(serial.execute(beyond).result.status == 0x41)
    }

    @Test("keeps what the host has set when its medium grows")
    func resize() {
        var drive = Drive.reference()
        _ = drive.execute(Taskfile(command: 0xC6, count: 8))
        _ = drive.begin(Taskfile(command: 0xEC))
        _ = drive.execute(Taskfile(command: 0xEF, feature: 0x82))
        // INITIALIZE DEVICE PARAMETERS: 4 heads, 17 sectors a track.
        _ = drive.execute(Taskfile(command: 0x91, count: 17, device: 0xA3))
        let before = drive.identifyData
        let sectors: UInt64 = 0x1_2345_6789
        drive.resize(toSectors: sectors)
        _ = drive.begin(Taskfile(command: 0xEC))
        let changed = (0..<256).filter { drive.identifyData[word: $0] != before[word: $0] }
        // QEMU's ide_identify_size(): the sizes of 28-bit and of 48-bit commands, and nothing else.
        #expect(changed == [60, 61, 100, 101, 102])
        #expect(drive.identifyData[word: 60] == 0xFFFF && drive.identifyData[word: 61] == 0x0FFF)
        #expect([100, 101, 102, 103].map { drive.identifyData[word: $0] } == [0x6789, 0x2345, 0x0001, 0])
        #expect(!drive.writeCacheEnabled && drive.identifyData[word: 59] == 0x0108)
        // Cylinder 1, head 0, sector 1 is sector 68 of the drive.
        let old = Taskfile(command: 0x20, count: 1, lba: 0x101, device: 0xA0)
        #expect(drive.execute(old).asked == [.read(lba: 68, count: 1)])
        let last = Taskfile(command: 0x24, count: 1, lba: sectors - 1, device: 0x40)
        #expect(drive.execute(last).asked == [.read(lba: sectors - 1, count: 1)])
        #expect(drive.execute(Taskfile(command: 0x24, count: 1, lba: sectors, device: 0x40)).result.status == 0x41)
    }

    @Test("builds IDENTIFY DEVICE data at the first IDENTIFY DEVICE")
    func builtOnce() {
        // What QEMU gives: SET MULTIPLE MODE shows if it came before, a transfer mode if it came after, the write cache
        // always.
        var drive = Drive.reference()
        _ = drive.execute(Taskfile(command: 0xC6, count: 8))
        _ = drive.execute(Taskfile(command: 0xEF, feature: 0x03, count: 0x22))
        _ = drive.execute(Taskfile(command: 0xEF, feature: 0x82))
        _ = drive.begin(Taskfile(command: 0xEC))
        #expect(drive.identifyData[word: 59] == 0x0108)
        #expect(drive.identifyData[word: 63] == 0x0007 && drive.identifyData[word: 88] == 0x203F)
        #expect(drive.identifyData[word: 85] == 0x4001)
        _ = drive.execute(Taskfile(command: 0xC6, count: 4))
        _ = drive.execute(Taskfile(command: 0xEF, feature: 0x03, count: 0x22))
        #expect(drive.identifyData[word: 59] == 0x0108)
        #expect(drive.identifyData[word: 63] == 0x0407 && drive.identifyData[word: 88] == 0x003F)
        #expect(drive.execute(Taskfile(command: 0xC6, count: 3)).result.status == 0x41)
        #expect(drive.begin(Taskfile(command: 0xC4, count: 8, device: 0x40)) == .blocks(.read(lba: 0, count: 8)))
        _ = drive.execute(Taskfile(command: 0xC6, count: 0))
        #expect(drive.execute(Taskfile(command: 0xC4, count: 8, device: 0x40)).result.status == 0x41)
        #expect(drive.execute(Taskfile(command: 0xC5, count: 8, device: 0x40)).result.status == 0x41)
    }

    @Test("remembers 21 self-tests, then writes over the first")
    func selfTestLog() {
        var drive = Drive.reference()
        for index in 0..<23 {
            _ = drive.execute(Taskfile(command: 0xB0, feature: 0xD4, lba: index < 21 ? 0xC2_4F01 : 0xC2_4F02))
        }
        let log = drive.bytes(.smartSelfTestLog)
        #expect(log[508] == 2)
        let tests = (0..<21).map { (index: Int) -> UInt8 in log[2 + 24 * index] }
        #expect(tests == [2, 2] + [UInt8](repeating: 1, count: 19))
        #expect(log.reduce(0, &+) == 0)
    }

    @Test("shows SMART's automatic off-line collection in its data")
    func autosave() {
        var drive = Drive.reference()
        _ = drive.execute(Taskfile(command: 0xB0, feature: 0xD2, lba: 0xC2_4F00))
        #expect(drive.bytes(.smartData)[362] == 0x02)
        #expect(drive.bytes(.smartData).reduce(0, &+) == 0)
        _ = drive.execute(Taskfile(command: 0xB0, feature: 0xD2, lba: 0xC2_4FF1))
        #expect(drive.bytes(.smartData)[362] == 0x82)
    }

    @Test("without sectors it answers, and aborts what needs one")
    func empty() {
        var drive = Drive.reference(sectors: 0)
        #expect(drive.execute(Taskfile(command: 0xF8, device: 0x40)).result.status == 0x41)
        #expect(drive.execute(Taskfile(command: 0x27, device: 0x40)).result.status == 0x41)
        #expect(drive.execute(Taskfile(command: 0x25, count: 1, device: 0x40)).result.status == 0x41)
        #expect(drive.execute(Taskfile(command: 0xE7)).result.status == 0x50)
        #expect(drive.identifyData.sectors == 0)
    }

    @Test("READ NATIVE MAX ADDRESS shows the low bits of what does not fit")
    func nativeMax() {
        // What QEMU gives for 1 TiB.
        var drive = Drive.reference(sectors: 1 << 31)
        let lba28 = drive.execute(Taskfile(command: 0xF8, device: 0x40)).result
        #expect(lba28.lba == 0xFF_FFFF && lba28.device == 0xFF)
        let lba48 = drive.execute(Taskfile(command: 0x27, device: 0x40)).result
        #expect(lba48.lba == 0x7FFF_FFFF && lba48.device == 0xF0)
        let chs = drive.execute(Taskfile(command: 0xF8)).result
        #expect(chs.lba == 0x82_0802 && chs.device == 0xB2)
    }

    @Test("fills as much of a buffer as there is with a page")
    func shortBuffer() {
        var bytes = [UInt8](repeating: 0xEE, count: 4)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        Drive.reference().copy(.smartData, into: &raw)
        #expect(bytes == [1, 0, 1, 3])
        var longer = [UInt8](repeating: 0xEE, count: 513)
        var longerSpan = longer.mutableSpan
        var longerRaw = longerSpan.mutableBytes
        Drive.reference().copy(.identifyDevice, into: &longerRaw)
        #expect(longer[0] == 0x40 && longer[511] == 0 && longer[512] == 0xEE)
    }
}
