// Headers of qcow2 images: each number that can be wrong, and what is said of it.

import Seeded
import Testing

@testable import Blocks

@Suite struct Qcow2HeaderTests {
    private static let plain = HandMadeQcow2(.init(clusterBits: 16, sizeBytes: 1 << 30))

    /// The image that `change` makes of a good one.
    private static func changed(_ change: (inout HandMadeQcow2) -> Void) -> HandMadeQcow2 {
        var image = plain
        change(&image)
        return image
    }

    @Test func aGoodHeaderSaysWhereThingsAre() throws {
        let header = try Self.plain.header
        #expect(header.sizeBytes == 1 << 30 && header.clusterBytes == 65536 && header.l1TableOffset == 65536)
        #expect(header.l2EntryBits == 13 && header.unitBytes == 65536 && !header.hasSubclusters)
        let extended = try HandMadeQcow2(.init(clusterBits: 16, hasSubclusters: true)).header
        #expect(extended.l2EntryBits == 12 && extended.unitBytes == 2048 && extended.hasSubclusters)
        let old = try HandMadeQcow2(.init(version: 2, clusterBits: 21)).header
        #expect(old.version == 2 && old.clusterBytes == 2 << 20)
    }

    /// What does not keep a reader away: the dirty and the corrupt bit, lazy refcounts, bitmaps, snapshots, unknown
    /// compatible and autoclear features, unknown extensions, a longer header.
    @Test func whatDoesNotConcernAReaderIsLeftAlone() throws {
        let image = Self.changed {
            $0.put(UInt64(3), at: 72)
            $0.put(UInt64.max, at: 80)
            $0.put(UInt64.max, at: 88)
            $0.put(UInt32(7), at: 60)
            $0.put(UInt32(112), at: 100)
            $0.put(UInt32(0xE279_2ACA), at: 112)
            $0.put(UInt32(5), at: 116)
            $0.put(UInt32(0x1234_5678), at: 128)
            $0.put(UInt32(16), at: 132)
        }
        let (header, plain) = (try image.header, try Self.plain.header)
        #expect(header.sizeBytes == plain.sizeBytes && header.l1TableOffset == plain.l1TableOffset)
        #expect(header.clusterBits == plain.clusterBits && !header.hasSubclusters && header.backing == nil)
    }

    /// What backing files were when an image was made, as a header extension has it; one that is too short says less.
    @Test func stampsAreReadAsTheyWereWritten() throws {
        let stamps = [
            Qcow2Header.BackingStamp(sizeBytes: 8_388_508, seconds: 1_796_112_000, nanoseconds: 999_999_999),
            Qcow2Header.BackingStamp(sizeBytes: 1 << 63, seconds: -1, nanoseconds: 0),
        ]
        for (isQcow2, shape) in [(false, Qcow2Creation.Shape.changes), (true, .sectors)] {
            let backing = Qcow2Header.Backing(name: "base.img", isQcow2: isQcow2)
            let creation = try Qcow2Creation(sizeBytes: 1 << 20, shape: shape, backing: backing, stamps: stamps)
            var bytes: [UInt8] = []
            creation.forEachTable { offset, table in if offset == 0 { bytes = table } }
            var header = try Qcow2Header(bytes, fileBytes: creation.fileBytes)
            #expect(header.stamps == stamps && header.backing == backing)
            // The extension behind the backing file's format: 8 bytes, then as many as it says.
            let place = 112 + 16 + 4
            bytes.replaceSubrange(place..<place + 4, with: [0, 0, 0, 47])
            header = try Qcow2Header(bytes, fileBytes: creation.fileBytes)
            #expect(header.stamps == [stamps[0]])
        }
        #expect(try Self.plain.header.stamps.isEmpty)
    }

    /// A backing file of the same folder is named alone.
    @Test(arguments: [
        ("/a/base.img", "/a", "base.img"), ("/a/base.img", "/a/b", "/a/base.img"), ("/base.img", "/", "base.img"),
        ("/a/b/base.img", "/a", "/a/b/base.img"),
    ])
    func namesOfBackingFiles(path: String, folder: String, name: String) {
        #expect(Qcow2Header.Backing(path: path, isQcow2: false, fromFolder: folder).name == name)
        #expect(Qcow2Header.Backing(path: path, isQcow2: false, fromFolder: nil).name == path)
    }

    /// What keeps a writer away.
    @Test func whatMayNotBeWrittenIsNamed() throws {
        func refusal(_ change: (inout HandMadeQcow2) -> Void) throws -> Qcow2Error? {
            let image = Self.changed {
                $0.put(UInt64(65536 * 3), at: 48)
                $0.put(UInt32(1), at: 56)
                $0.file += [UInt8](repeating: 0, count: 65536 * 4 - $0.file.count)
                change(&$0)
            }
            let header = try image.header
            do throws(Qcow2Error) {
                try header.checkWritable()
                return nil
            } catch {
                return error
            }
        }
        #expect(try refusal { _ in } == nil)
        #expect(try refusal { $0.put(UInt64(1), at: 72) } == .isDirty)
        #expect(try refusal { $0.put(UInt64(3), at: 72) } == .isCorrupt)
        for (offset, clusters) in [
            (0, 1), (65536, 1), (65536 * 3 + 512, 1), (65536 * 4, 1), (65536 * 3, 0), (65536 * 3, 2),
            (65536 * 3, UInt32.max),
            (UInt64.max &- 65535, 1),
        ] as [(UInt64, UInt32)] {
            let expected = Qcow2Error.refcountTable(offset, clusters: UInt64(clusters))
            let found = try refusal {
                $0.put(offset, at: 48)
                $0.put(clusters, at: 56)
            }
            #expect(found == expected && !expected.description.isEmpty)
        }
    }

    @Test func eachMistakeIsNamed() {
        let mistakes: [(Qcow2Error, (inout HandMadeQcow2) -> Void)] = [
            (.noMagic, { $0.put(UInt32(0x5146_49FA), at: 0) }),
            (.noMagic, { $0.file = Array($0.file.prefix(71)) }),
            (.version(1), { $0.put(UInt32(1), at: 4) }),
            (.version(4), { $0.put(UInt32(4), at: 4) }),
            (.clusterBits(8), { $0.put(UInt32(8), at: 20) }),
            (.clusterBits(22), { $0.put(UInt32(22), at: 20) }),
            (.clusterBits(.max), { $0.put(UInt32.max, at: 20) }),
            (.headerLength(103), { $0.put(UInt32(103), at: 100) }),
            (.headerLength(72), { $0.file = Array($0.file.prefix(72)) }),
            (.headerLength(.init(UInt32.max)), { $0.put(UInt32.max, at: 100) }),
            (.refcountOrder(7), { $0.put(UInt32(7), at: 96) }),
            (.externalDataFile, { $0.put(UInt64(4), at: 72) }),
            (.compressionType(0), { $0.put(UInt64(8), at: 72) }),
            (.encrypted(2), { $0.put(UInt32(2), at: 32) }),
            (.l1Size(4_194_305), { $0.put(UInt32(4_194_305), at: 36) }),
            (.l1TooSmall(1, needed: 2), { $0.put(UInt32(1), at: 36) }),
            (.l1TooSmall(2, needed: 3), { $0.put(UInt64(1 << 30 + 1), at: 24) }),
            (.l1TooSmall(2, needed: 1 << 35), { $0.put(UInt64.max, at: 24) }),
            (.l1Offset(0), { $0.put(UInt64(0), at: 40) }),
            (.l1Offset(66048), { $0.put(UInt64(66048), at: 40) }),
            (.l1Outside(131072, fileBytes: 131072), { $0.put(UInt64(131072), at: 40) }),
            (.l1Outside(1 << 63, fileBytes: 131072), { $0.put(UInt64(1) << 63, at: 40) }),
            (.l1Outside(65536, fileBytes: 65551), { $0.file = Array($0.file.prefix(65551)) }),
            (
                .extensionLength(type: 9, 65_425),
                {
                    $0.put(UInt32(9), at: 104)
                    $0.put(UInt32(65_425), at: 108)
                }
            ),
            (
                .extensionLength(type: 9, .init(UInt32.max)),
                {
                    $0.put(UInt32(9), at: 104)
                    $0.put(UInt32.max, at: 108)
                }
            ),
        ]
        for (error, change) in mistakes {
            #expect(throws: error) { try Self.changed(change).header }
            #expect(!error.description.isEmpty)
        }
    }

    @Test func smallClustersHaveNoSubclusters() {
        #expect(throws: Qcow2Error.clusterBits(13)) {
            try HandMadeQcow2(.init(clusterBits: 13, hasSubclusters: true)).header
        }
    }

    @Test func aZstdImageIsNamed() {
        let image = Self.changed {
            $0.put(UInt64(8), at: 72)
            $0.put(UInt32(112), at: 100)
            $0.file[104] = 1
        }
        #expect(throws: Qcow2Error.compressionType(1)) { try image.header }
        let contradiction = Self.changed {
            $0.put(UInt32(112), at: 100)
            $0.file[104] = 1
        }
        #expect(throws: Qcow2Error.compressionType(1)) { try contradiction.header }
    }

    /// The image names features that no reader knew when it was written (Feature name table).
    @Test func anUnknownFeatureIsCalledWhatTheImageCallsIt() {
        let image = Self.changed {
            $0.put(UInt64(1) << 40 | 1, at: 72)
            $0.put(UInt32(0x6803_F857), at: 104)
            $0.put(UInt32(96), at: 108)
            $0.put(UInt16(1 << 8 | 40), at: 112)
            $0.file.replaceSubrange(114..<119, with: "other".utf8)
            $0.put(UInt16(40), at: 160)
            $0.file.replaceSubrange(162..<167, with: "tiers".utf8)
        }
        #expect(throws: Qcow2Error.unknownFeature(bit: 40, name: "tiers")) { try image.header }
        let unnamed = Self.changed { $0.put(UInt64(1) << 63, at: 72) }
        #expect(throws: Qcow2Error.unknownFeature(bit: 63, name: "")) { try unnamed.header }
    }

    /// An image with the name of a backing file, and its format.
    private static func overlay(_ name: String, format: String?, at offset: UInt64 = 1024, count: UInt32? = nil)
        -> HandMadeQcow2
    {
        changed {
            $0.put(offset, at: 8)
            $0.put(count ?? UInt32(name.utf8.count), at: 16)
            $0.file.replaceSubrange(1024..<1024 + name.utf8.count, with: name.utf8)
            guard let format else { return }
            $0.put(UInt32(0xE279_2ACA), at: 104)
            $0.put(UInt32(format.utf8.count), at: 108)
            $0.file.replaceSubrange(112..<112 + format.utf8.count, with: format.utf8)
        }
    }

    @Test func aBackingFileIsNamed() throws {
        let raw = try Self.overlay("base.img", format: "raw").header.backing
        #expect(raw == Qcow2Header.Backing(name: "base.img", isQcow2: false))
        let qcow2 = try Self.overlay("./a:b", format: "qcow2").header.backing
        #expect(qcow2 == Qcow2Header.Backing(name: "./a:b", isQcow2: true))
    }

    /// What is no name of a file here, whatever QEMU would open for it.
    @Test func aBackingFileIsAFileOrRefused() {
        for name in ["nbd:unix:/x", "json:{\"driver\": \"file\"}", "fd:3", "host_device:x"] {
            #expect(throws: Qcow2Error.backingProtocol(name)) { try Self.overlay(name, format: "raw").header }
        }
        for format in [nil, "", "vmdk", "host_device", "raw "] {
            #expect(throws: Qcow2Error.backingFormat(format ?? "", of: "base")) {
                try Self.overlay("base", format: format).header
            }
        }
        for (offset, count) in [(UInt64.max, UInt32(4)), (1 << 40, 4), (65_530, 1023), (1024, 1024), (1024, 0)] {
            #expect(throws: Qcow2Error.backingName) {
                try Self.overlay("base", format: "raw", at: offset, count: count).header
            }
        }
        #expect(throws: Qcow2Error.backingName) { try Self.overlay("ba\0se", format: "raw").header }
    }

    @Test func headersAtRandomAreReadOrRefused() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var goodCount = 0
        for _ in 0..<3000 {
            let image = Self.changed {
                for _ in 0...Int.random(in: 0...3, using: &generator) {
                    let place = Int.random(in: 8..<160, using: &generator)
                    $0.file[place] = Bool.random(using: &generator) ? .random(in: 0...255, using: &generator) : 0xFF
                }
            }
            do {
                let header = try image.header
                #expect(header.l1TableOffset < UInt64(image.file.count), "seed \(seed)")
                goodCount += 1
            } catch {
                #expect(!"\(error)".isEmpty)
            }
        }
        #expect(goodCount > 0, "seed \(seed)")
    }
}
