// ATA PASS-THROUGH (32) (SAT-4 12.2.2.4), whose CDB comes with an additional header segment.

import Support
import Testing

@Suite struct PassThrough32Tests {
    private static func session(_ folder: TemporaryFolder) throws -> (RunningServer, HandMadeSession) {
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "disk=memory:1M"], in: folder)
        return (server, try HandMadeSession(server.announcement))
    }

    /// A CDB: PROTOCOL with EXTEND, T_LENGTH and others, features, count, LBA, device, command.
    private static func cdb(
        _ protocolField: UInt8, _ flags: UInt8, feature: UInt8 = 0, count: UInt8, lba: [UInt8] = [0, 0, 0, 0, 0, 0],
        device: UInt8 = 0x40, _ command: UInt8
    ) -> [UInt8] {
        [0x7F, 0, 0, 0, 0, 0, 0, 0x18, 0x1F, 0xF0, protocolField, flags, 0, 0] + lba
            + [0, feature, 0, count, device, command, 0, 0, 0, 0, 0, 0]
    }

    @Test func itDoesWhatTheShorterOneDoes() throws {
        let folder = try TemporaryFolder()
        let (server, session) = try Self.session(folder)
        // IDENTIFY DEVICE: PIO data-in, a sector.
        let long = try session.perform(Self.cdb(0x08, 0x0E, count: 1, 0xEC), expecting: 512)
        let short = try session.perform(
            [0x85, 0x08, 0x0E, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0xEC, 0], expecting: 512)
        #expect(long.status == 0 && long.data.count == 512 && long == short)
        // WRITE SECTORS EXT and READ SECTORS EXT of sector 0x123: LBA (7:0) is byte 19, LBA (15:8) byte 18.
        let block = [UInt8](repeating: 0x5A, count: 512)
        let lba: [UInt8] = [0, 0, 0, 0, 0x01, 0x23]
        let written = try session.perform(Self.cdb(0x0B, 0x06, count: 1, lba: lba, 0x34), out: block)
        #expect(written.status == 0)
        #expect(try session.perform(Self.cdb(0x09, 0x0E, count: 1, lba: lba, 0x24), expecting: 512).data == block)
        #expect(try session.perform([0x28, 0, 0, 0, 0x01, 0x23, 0, 0, 1, 0], expecting: 512).data == block)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// What is wrong is pointed at where the long CDB has it.
    @Test func mistakesArePointedAt() throws {
        let folder = try TemporaryFolder()
        let (server, session) = try Self.session(folder)
        let good = Self.cdb(0x08, 0x0E, count: 1, 0xEC)
        // A reserved byte, ADDITIONAL CDB LENGTH, a service action that is not there, PROTOCOL.
        for (place, value, pointer) in [
            (2, UInt8(0x80), 2), (12, 1, 12), (26, 4, 26), (7, 0x10, 7), (9, 0xF1, 8), (10, 0x0E, 10),
            // TRUSTED SEND; SET FEATURES, set transfer mode.
            (25, 0x5E, 25), (21, 0x03, 21),
        ] {
            var cdb = good
            cdb[place] = value
            if place == 21 { cdb[25] = 0xEF }
            let ending = try session.perform(cdb, expecting: 512)
            #expect(ending.sense == [5, 0x24, 0], "byte \(place): \(ending)")
            #expect(ending.fieldPointer == pointer, "byte \(place): \(ending)")
        }
        // It has to have 32 bytes.
        #expect(try session.perform(Array(good.prefix(16)), expecting: 512).fieldPointer == 7)
        #expect(try session.perform(Array(good.prefix(28)), expecting: 512).fieldPointer == 7)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// REPORT SUPPORTED OPERATION CODES tells of it, with usage data of 32 bytes.
    @Test func itIsReported() throws {
        let folder = try TemporaryFolder()
        let (server, session) = try Self.session(folder)
        let one = try session.perform([0xA3, 0x0C, 2, 0x7F, 0x1F, 0xF0, 0, 0, 1, 0, 0, 0], expecting: 256).data
        #expect(one.count == 36 && Array(one.prefix(14)) == [0, 3, 0, 32, 0x7F, 0, 0, 0, 0, 0, 0, 0x18, 0x1F, 0xF0])
        let other = try session.perform([0xA3, 0x0C, 2, 0x7F, 0, 9, 0, 0, 1, 0, 0, 0], expecting: 256).data
        #expect(other == [0, 1, 0, 0])
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
