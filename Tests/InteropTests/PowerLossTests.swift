// What an initiator finds when its drive has lost its power (`spindle ctl power`), and how it can save what is written.

import Foundation
import Support
import Testing

@Suite struct PowerLossTests {
    private let folder: TemporaryFolder
    private let server: RunningServer

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:0", "--threads", "2", "--control", "unix:\(folder.path)/control",
                "--write-cache-model", "volatile:64K", "--reservations", folder.path,
                "disk=\(image)",
            ], in: folder)
    }

    private func ctl(_ words: String...) throws -> String {
        let result = try Program.spindle.run(["ctl", "--control", "unix:\(folder.path)/control"] + words, in: folder)
        try #require(result.status == 0, "\(result.errors)")
        return result.text
    }

    private func session(_ name: String = "owner") throws -> HandMadeSession {
        try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:" + name)
    }

    /// REGISTER, and RESERVE of type Write Exclusive.
    private static func reserve(_ session: HandMadeSession, persists: Bool) throws {
        var list = [UInt8](repeating: 0, count: 24)
        list[15] = 7
        list[20] = persists ? 1 : 0
        try #require(try session.perform([0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0], out: list) == .good)
        list[7] = 7
        try #require(try session.perform([0x5F, 1, 1, 0, 0, 0, 0, 0, 24, 0], out: list) == .good)
    }

    /// WRITE (10) of a block.
    private static func write(_ session: HandMadeSession) throws -> UInt8 {
        let block = [UInt8](repeating: 7, count: 512)
        return try session.perform([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], out: block).status
    }

    /// Reservations without APTPL (SPC-4 5.13) are gone, for initiators and for NBD; those with it are there.
    @Test(arguments: [false, true]) func reservationsGoUnlessTheyPersist(persists: Bool) throws {
        try Self.reserve(try session(), persists: persists)
        #expect(try Self.write(try session("other")) == 0x18)
        _ = try ctl("power", "disk", "cut")
        let io = try Program.tool("qemu-io").run(["-f", "raw", "-c", "write 0 4k", server.uri], in: folder)
        #expect((io.text + io.errors).contains("Operation not permitted") == persists)
        #expect(try Self.write(try session("other")) == (persists ? 0x18 : 0))
        // REPORT CAPABILITIES: PTPL_A.
        let capabilities = try session().perform([0x5E, 2, 0, 0, 0, 0, 0, 0, 8, 0], expecting: 8).data
        #expect(capabilities[3] & 1 == (persists ? 1 : 0))
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// What SET FEATURES has set is gone, of a drive that has grown meanwhile, too; and it is as large as it was.
    @Test func settingsGoAndTheSizeStays() throws {
        func writeCacheIsOn() throws -> Bool {
            // MODE SENSE (6), Caching mode page: WCE.
            try session().perform([0x1A, 8, 8, 0, 32, 0], expecting: 32).data[6] & 4 != 0
        }
        #expect(try writeCacheIsOn())
        // ATA PASS-THROUGH (16): SET FEATURES, disable the write cache.
        #expect(
            try session().perform([0x85, 6, 0, 0, 0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xEF, 0]).status == 0)
        #expect(try !writeCacheIsOn())
        _ = try ctl("grow", "disk", "2M")
        #expect(try !writeCacheIsOn())
        _ = try ctl("power", "disk", "cut")
        #expect(try writeCacheIsOn())
        // READ CAPACITY (10)
        let capacity = try session().perform([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], expecting: 8).data
        #expect(capacity.prefix(4) == [0, 0, 0x0F, 0xFF])
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// START STOP UNIT that stops saves what is in the cache, and so does STANDBY IMMEDIATE.
    @Test func aDriveThatStopsHasFlushed() throws {
        for command: [UInt8] in [
            [0x1B, 0, 0, 0, 0, 0], [0x85, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE0, 0],
        ] {
            let session = try session()
            #expect(try Self.write(session) == 0)
            #expect(try session.perform(command).status == 0)
            #expect(try ctl("power", "disk", "cut").contains("every write had reached the image"))
            #expect(try Self.write(try self.session()) == 0)
            #expect(try ctl("power", "disk", "cut").contains("Lost:            1 sector"))
            let picture = try ctl("power", "disk", "report", "--picture")
            #expect(picture.contains("Each character is 1 sector:  . stable  - lost\n"), "\(picture)")
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// An initiator's client that hangs gets nothing, until the power is back: then it begins anew.
    @Test func aSessionHangs() throws {
        let session = try session()
        #expect(try Self.write(session) == 0)
        _ = try ctl("power", "disk", "off", "--sessions", "hang", "--keep", "all")
        // TEST UNIT READY
        try session.command(number: 100, flags: 0x80, [0, 0, 0, 0, 0, 0])
        #expect(try ctl("connections").contains("iqn.2026-11.org.example:owner"))
        #expect(throws: HandMadeSession.LoginRefused.self) { try self.session("other") }
        _ = try ctl("power", "disk", "on")
        #expect(throws: (any Error).self) { try session.receive() }
        #expect(try Self.write(try self.session()) == 0)
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
