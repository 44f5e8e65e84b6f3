// What a client is told of an export, row by row: each flag comes from the drive's IDENTIFY DEVICE data.

import ATA
import Export
import NBD
import Testing

@Suite struct InformationTests {
    private func information(
        sectors: UInt64 = 6_291_456, controller: Controller = .piix3IDE, isReadOnly: Bool = false,
        zeroesFast: Bool = true, change: (inout DriveProperties) -> Void = { _ in }
    ) throws -> ExportInformation {
        try Bench(sectors: sectors, controller: controller, hasDisk: false, change: change)
            .information(isReadOnly: isReadOnly, zeroesFast: zeroesFast)
    }

    /// A QEMU HARDDISK on a file: no FUA, because it has no WRITE DMA FUA EXT.
    @Test(arguments: Controller.allCases)
    func aDefaultDrive(controller: Controller) throws {
        let information = try information(controller: controller)
        #expect(
            information.flags == [
                .hasFlags, .sendFlush, .rotational, .sendTrim, .sendWriteZeroes, .sendDF, .canMultiConn, .sendCache,
                .sendFastZero,
            ])
        #expect(information.sizeBytes == 3_221_225_472)
        #expect(information.blockSizes.minimumBytes == 512)
        #expect(information.blockSizes.maximumPayloadBytes == 33_554_432)
    }

    @Test func theWriteCacheIsSendFlush() throws {
        #expect(try information { $0.writeCache = .on }.flags.contains(.sendFlush))
        #expect(try !information { $0.writeCache = .off }.flags.contains(.sendFlush))
    }

    @Test func trimIsSendTrim() throws {
        #expect(try information { $0.supportsTrim = true }.flags.contains(.sendTrim))
        #expect(try !information { $0.supportsTrim = false }.flags.contains(.sendTrim))
    }

    @Test(arguments: [(UInt16(0), true), (1, false), (2, true), (7200, true), (0xFFFE, true)])
    func onlyARotationRateOfOneDoesNotRotate(rate: UInt16, rotates: Bool) throws {
        #expect(try information { $0.rotationRate = rate }.flags.contains(.rotational) == rotates)
    }

    @Test func forceUnitAccessIsSendFUA() throws {
        var bytes = [UInt8](repeating: 0, count: 512)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        Bench(sectors: 1, hasDisk: false).export.drive.identifyData.copy(into: &raw)
        for word in [84, 87] { bytes[2 * word] |= 0x40 }
        let traits = BlockTraits(isReadOnly: false, zeroesFast: false)
        let withFUA = try ExportInformation(
            name: "", identifyData: IdentifyData(parsing: bytes.span.bytes), blocks: traits)
        #expect(withFUA.flags.contains(.sendFUA))
        bytes[2 * 84] ^= 0x40
        let without = try ExportInformation(
            name: "", identifyData: IdentifyData(parsing: bytes.span.bytes), blocks: traits)
        #expect(!without.flags.contains(.sendFUA))
    }

    @Test func zeroesThatAreSlowAreNotFast() throws {
        let flags = try information(zeroesFast: false).flags
        #expect(!flags.contains(.sendFastZero) && flags.contains(.sendWriteZeroes))
    }

    /// Nothing that writes is offered, and what reads still is.
    @Test func aWriteProtectedMediumIsReadOnly() throws {
        let flags = try information(isReadOnly: true).flags
        #expect(flags.isSuperset(of: [.hasFlags, .readOnly, .sendDF, .sendCache, .canMultiConn]))
        #expect(flags.isDisjoint(with: [.sendWriteZeroes, .sendFastZero, .sendTrim, .sendFUA]))
    }

    @Test(arguments: [UInt32(512), 4096, 16384, 2 << 20])
    func theSectorsAreTheBlockSizes(physical: UInt32) throws {
        let sizes = try information { $0.physicalBlockBytes = physical }.blockSizes
        #expect(sizes.minimumBytes == 512)
        // Less than a page of memory is no good advice for anybody.
        #expect(sizes.preferredBytes == max(physical, 4096))
    }

    @Test(
        arguments: [
            (1, 512), (2097, 1_073_664), (268_435_457, 137_438_953_984), (281_474_976_710_656, 144_115_188_075_855_872),
        ] as [(UInt64, UInt64)])
    func theSizeIsThatOfTheSectors(sectors: UInt64, bytes: UInt64) throws {
        #expect(try information(sectors: sectors).sizeBytes == bytes)
    }

    @Test func theDescriptionSaysWhatTheDriveIs() throws {
        let reference = try information { $0.serialNumber = "918a6997-1928-38a1-9" }
        #expect(
            String(decoding: reference.description, as: UTF8.self)
                == "QEMU HARDDISK 2.5+, serial 918a6997-1928-38a1-9, 6291456 sectors")
        let other = try information(sectors: 1) {
            $0.modelNumber = "Spinning Rust"
            $0.firmwareRevision = "0.1"
            $0.serialNumber = "X"
        }
        #expect(String(decoding: other.description, as: UTF8.self) == "Spinning Rust 0.1, serial X, 1 sector")
        #expect(String(decoding: other.name, as: UTF8.self) == "disk")
    }

    /// What the drive's state says, not what it was made with: SET FEATURES switches the cache off.
    @Test func theStateOfTheDriveCounts() throws {
        var bench = Bench(sectors: 100, hasDisk: false)
        var command = CommandInProgress(Taskfile(command: 0xEF, feature: 0x82))
        #expect(bench.export.drive.begin(&command, data: RawSpan()) == .blocks(.flush))
        #expect(try !bench.information().flags.contains(.sendFlush))
        #expect(try bench.serve(.write, at: 0, 512, payload: [UInt8](repeating: 1, count: 512)).steps.count == 2)
    }

    @Test func aNameThatIsTooLongIsAnError() throws {
        let data = Bench(sectors: 1, hasDisk: false).export.drive.identifyData
        let traits = BlockTraits(isReadOnly: false, zeroesFast: false)
        let name = String(repeating: "x", count: 4097)
        #expect(throws: ExportInformationError.stringTooLong("name", bytes: 4097)) {
            try ExportInformation(name: name, identifyData: data, blocks: traits)
        }
        #expect(throws: Never.self) {
            try ExportInformation(name: String(repeating: "x", count: 4096), identifyData: data, blocks: traits)
        }
    }
}
