// Cylinders, heads and sectors per track: from the size, from the partition table, from properties.

import Testing

@testable import ATA

@Suite("Geometry")
struct GeometryTests {
    /// A line of sizes.txt: bytes, sectors, then words of IDENTIFY DEVICE data.
    struct Size {
        var sectors: UInt64
        var columns: [String]

        init(_ line: String) {
            columns = line.split(separator: "|").map {
                $0.trimmingPrefix(" ").split(separator: " ").joined(separator: " ")
            }
            sectors = UInt64(columns[0].split(separator: " ")[1])!
        }
    }

    @Test("and capacity follow from the size as in QEMU")
    func sizes() throws {
        // Without the size that QEMU's own block layer refuses, so that no drive ever had it.
        let lines = try GoldenFiles.lines("ata-registers/sizes.txt").filter { !$0.contains("refused") }
        #expect(lines.count == 42)
        for line in lines { check(Size(line), line) }
    }

    private func check(_ size: Size, _ line: String) {
        let data = Drive.reference(sectors: size.sectors).identifyData
        // From 2^31 cylinders on QEMU's signed 32-bit quotient wraps; this drive keeps 16,383 cylinders.
        let wraps = size.sectors / 1008 >= 1 << 31
        let expected = wraps ? ["16383/16/63", "16383/16/63", "16514064"] : Array(size.columns[1...3])
        #expect("\(data[word: 1])/\(data[word: 3])/\(data[word: 6])" == expected[0], "\(line)")
        #expect("\(data[word: 54])/\(data[word: 55])/\(data[word: 56])" == expected[1], "\(line)")
        #expect("\(data.number(57...58))" == expected[2], "\(line)")
        #expect("\(data.sectors28)" == size.columns[4], "\(line)")
        #expect("\(data.sectors)" == size.columns[5], "\(line)")
    }

    private func geometry(_ bytes: [UInt8], sectors: UInt64 = 2_097_152) -> Geometry? {
        BootSectorGeometry(bootSector: bytes.span.bytes, sectors: sectors)?.geometry
    }

    @Test("comes from the first partition that tells one")
    func partition() {
        let found = Geometry(cylinders: 6553, heads: 10, sectorsPerTrack: 32)
        #expect(geometry(partitionedSector(endHead: 9, endSector: 32)) == found)
        #expect(geometry(partitionedSector(endHead: 9, endSector: 0xE0)) == found)
        for entry in 1..<4 {
            #expect(geometry(partitionedSector(endHead: 9, endSector: 32, entry: entry)) == found)
        }
        var two = partitionedSector(endHead: 9, endSector: 32, entry: 1)
        two.replaceSubrange(446..<462, with: partitionedSector(endHead: 15, endSector: 63)[446..<462])
        #expect(geometry(two) == Geometry(cylinders: 2080, heads: 16, sectorsPerTrack: 63))
    }

    @Test("passes over partitions that tell none")
    func noPartition() {
        #expect(geometry(partitionedSector(endHead: 0, endSector: 32)) == nil)
        #expect(geometry(partitionedSector(endHead: 9, endSector: 0xC0)) == nil)
        var empty = partitionedSector(endHead: 9, endSector: 32)
        empty.replaceSubrange(458..<462, with: [0, 0, 0, 0])
        #expect(geometry(empty) == nil)
        var unsigned = partitionedSector(endHead: 9, endSector: 32)
        unsigned[511] = 0xAB
        #expect(geometry(unsigned) == nil)
        #expect(geometry([0x55, 0xAA]) == nil)
    }

    @Test("from a partition has 1 to 16,383 cylinders and at most 16 heads")
    func limits() {
        let bytes = partitionedSector(endHead: 9, endSector: 32)
        #expect(geometry(bytes, sectors: 319) == nil)
        #expect(geometry(bytes, sectors: 320)?.cylinders == 1)
        #expect(geometry(bytes, sectors: 320 * 16384 - 1)?.cylinders == 16383)
        #expect(geometry(bytes, sectors: 320 * 16384) == nil)
        #expect(geometry(bytes, sectors: .max) == nil)
        // More heads are a BIOS translation; a later partition is not asked any more.
        var translated = partitionedSector(endHead: 9, endSector: 32, entry: 1)
        translated.replaceSubrange(446..<462, with: partitionedSector(endHead: 254, endSector: 63)[446..<462])
        #expect(geometry(translated) == nil)
        #expect(geometry(partitionedSector(endHead: 16, endSector: 63)) == nil)
    }

    @Test("from properties comes before that of the boot sector")
    func properties() {
        let bytes = partitionedSector(endHead: 9, endSector: 32)
        let bootSector = BootSectorGeometry(bootSector: bytes.span.bytes, sectors: 2_097_152)
        var properties = DriveProperties.reference
        properties.geometry = Geometry(cylinders: 65535, heads: 16, sectorsPerTrack: 255)
        let data = Drive(properties, sectors: 2_097_152, bootSector: bootSector, controller: .piix3IDE).identifyData
        #expect(data.defaultGeometry == properties.geometry)
        #expect(data[word: 4] == UInt16(truncatingIfNeeded: 512 * 255))
        #expect(data.number(57...58) == 65535 * 16 * 255)
    }
}
