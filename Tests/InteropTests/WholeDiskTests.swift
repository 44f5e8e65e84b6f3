// The whole disks over iSCSI and NBD, in the eyes of the tools that people trust.

import Foundation
import Support
import Testing

@Suite struct WholeDiskTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func serve(_ device: String = "spindle-hd", size: String = "64M", _ more: [String] = []) throws -> (
        RunningServer, GenericDevice
    ) {
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--device", device] + more + ["disk=memory:\(size)"], in: folder)
        return (server, try GenericDevice(server, in: folder))
    }

    /// Raw values of attributes by their numbers.
    private func attributes(_ object: [String: Any]) -> [Int: Int] {
        let table: [[String: Any]] = object.at("ata_smart_attributes", "table") ?? []
        var values: [Int: Int] = [:]
        for row in table {
            if let id = row["id"] as? Int, let value: Int = row.at("raw", "value") { values[id] = value }
        }
        return values
    }

    /// Device Statistics by their names.
    private func statistics(_ object: [String: Any]) -> [String: Int] {
        let pages: [[String: Any]] = object.at("ata_device_statistics", "pages") ?? []
        var values: [String: Int] = [:]
        for row in pages.flatMap({ $0["table"] as? [[String: Any]] ?? [] }) {
            if let name = row["name"] as? String, let value = row["value"] as? Int { values[name] = value }
        }
        return values
    }

    @Test(arguments: ["spindle-hd,serial=W-1,wwn=0x5000c50015ea71ac", "spindle-ssd,serial=W-1,wwn=0x5000c50015ea71ac"])
    func smartctlSeesAllOfIt(device: String) throws {
        let (server, disk) = try serve(device)
        // No bit of the exit status: no command failed, no checksum is wrong, no log is missing.
        let object = try disk.smartctl(["-x"])
        let isSolid = device.hasPrefix("spindle-ssd")
        #expect(object.at("model_name") as String? == (isSolid ? "SPINDLE SSD" : "SPINDLE HD"))
        #expect(object.at("serial_number") as String? == "W-1")
        #expect(object.at("wwn", "naa") as Int? == 5 && object.at("wwn", "oui") as Int? == 0xC50)
        #expect(object.at("rotation_rate") as Int? == (isSolid ? 0 : 7200))
        #expect(object.at("form_factor", "name") as String? == (isSolid ? "2.5 inches" : "3.5 inches"))
        #expect(object.at("logical_block_size") as Int? == 512 && object.at("physical_block_size") as Int? == 4096)
        #expect(object.at("trim", "supported") as Bool? == isSolid)
        #expect(object.at("ata_version", "string") as String? == "ACS-3 T13/2161-D revision 5")
        #expect(object.at("sata_version", "string") as String? == "SATA 3.1")
        #expect(object.at("smart_status", "passed") as Bool? == true)
        #expect(object.at("ata_security", "string") as String? == "Disabled, NOT FROZEN [SEC1]")
        #expect(object.at("write_cache", "enabled") as Bool? == true)
        #expect(object.at("ata_log_directory", "gp_dir_version") as Int? == 1)
        #expect(object.at("ata_sct_status", "temperature", "current") as Int? == 24)
        let text = try disk.run("smartctl", ["-d", "sat", "-x"])
        for word in [
            "Device Statistics (GP Log 0x04)", "SATA Phy Event Counters (GP Log 0x11)", "SCT Temperature History",
        ] {
            #expect(text.contains(word), "\(text)")
        }
        #expect(!text.contains("not supported]") && !text.contains("Warning"), "\(text)")
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// What SMART counts is what clients did: over NBD, and over iSCSI.
    @Test func smartTellsTheTruth() throws {
        let (server, disk) = try serve()
        let before = try disk.smartctl(["-x"])
        let uri = try server.uri(of: "disk")
        // 3 MiB written, 1 MiB of them with FUA; 2 MiB read.
        try run(
            "qemu-io",
            ["-f", "raw", "-c", "write -P 7 0 2M", "-c", "write -f -P 8 2M 1M", "-c", "read -P 7 0 2M", uri],
            in: folder)
        let after = try disk.smartctl(["-x"])
        func grown(_ id: Int) -> Int? { attributes(after)[id].map { $0 - (attributes(before)[id] ?? 0) } }
        #expect(grown(241) == 3 * 2048 && grown(242) == 2 * 2048)
        for (name, id) in [
            ("Logical Sectors Written", 241), ("Logical Sectors Read", 242), ("Lifetime Power-On Resets", 12),
        ] {
            #expect(statistics(after)[name] == attributes(after)[id], "\(name)")
        }
        #expect(statistics(after)["Number of Reported Uncorrectable Errors"] == 0)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// NBD's FUA is the drive's own: WRITE DMA FUA EXT is announced.
    @Test func nbdOffersFUA() throws {
        let (server, _) = try serve()
        try nbdsh(
            [try server.uri(of: "disk")],
            """
            h.connect_uri(uri[0])
            assert h.can_fua() and h.can_flush() and not h.can_trim() and h.is_rotational()
            h.pwrite(b'x' * 512, 0, nbd.CMD_FLAG_FUA)
            assert h.pread(512, 0) == b'x' * 512
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// 64 MiB are read in a third of a second; 64 GiB are not.
    @Test func selfTestsRunAndAreAborted() throws {
        let (server, disk) = try serve()
        for test in ["short", "long", "conveyance", "select,100-2000"] {
            try disk.run("smartctl", ["-d", "sat", "-t", test])
            try waitUntil("the self-test \(test) has ended") {
                let status: Int? = try disk.smartctl(["-c"]).at(
                    "ata_smart_data", "self_test", "status", "value")
                return status == 0
            }
        }
        let log = try disk.smartctl(["-l", "selftest"])
        let table: [[String: Any]] = log.at("ata_smart_self_test_log", "standard", "table") ?? []
        let types = table.map { $0.at("type", "string") as String? ?? "" }
        #expect(types == ["Selective offline", "Conveyance offline", "Extended offline", "Short offline"])
        #expect(table.allSatisfy { $0.at("status", "passed") as Bool? == true })
        let selective = try disk.run("smartctl", ["-d", "sat", "-l", "selective"])
        #expect(selective.contains("100     2000  Not_testing"), "\(selective)")
        #expect(try server.stop() == 0, "\(server.log)")

        let (large, largeDisk) = try serve(size: "64G")
        try largeDisk.run("smartctl", ["-d", "sat", "-t", "long"])
        let running = try largeDisk.smartctl(["-c"])
        #expect(running.at("ata_smart_data", "self_test", "status", "remaining_percent") as Int? == 90)
        try largeDisk.run("smartctl", ["-d", "sat", "-X"])
        let aborted = try largeDisk.smartctl(["-l", "xselftest"])
        let entries: [[String: Any]] = aborted.at("ata_smart_self_test_log", "extended", "table") ?? []
        #expect(entries.first?.at("status", "string") as String? == "Aborted by host")
        #expect(try large.stop() == 0, "\(large.log)")
    }

    /// An unreadable sector, as hdparm makes and repairs one, is where every tool says it is.
    @Test func anUnreadableSector() throws {
        let (server, disk) = try serve()
        let uri = try server.uri(of: "disk")
        try run("qemu-io", ["-f", "raw", "-c", "write -P 9 0 1M", uri], in: folder)
        try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--make-bad-sector", "1000"])
        let read = try disk.attempt("hdparm", ["--read-sector", "1000"])
        // MEDIUM ERROR, 11h 04h, with UNC (40h) of a drive that says 51h: hdparm prints it, and goes on, as on Linux.
        #expect(read.text.contains("sb[]:  70 00 03 00 00 00 00 0a 40 51 e0 01 11 04"), "\(read.text)")
        try nbdsh(
            [uri],
            """
            h.connect_uri(uri[0])
            refused('EIO', lambda: h.pread(512, 512000))
            assert h.pread(512, 511488) == b'\\x09' * 512 and h.pread(512, 512512) == b'\\x09' * 512
            """, in: folder)
        #expect(server.log.isEmpty || !server.log.contains("error"), "no medium has failed: \(server.log)")
        let object = try disk.smartctl(["-x"], mask: 0x40)
        #expect(
            attributes(object)[197] == 1
                && attributes(object)[187] == statistics(object)["Number of Reported Uncorrectable Errors"])
        let errors: [[String: Any]] = object.at("ata_smart_error_log", "extended", "table") ?? []
        #expect(errors.first?.at("error_description") as String? == "Error: UNC at LBA = 0x000003e8 = 1000")
        #expect(errors.first?.at("completion_registers", "lba") as Int? == 1000)
        // A self-test ends there.
        try disk.run("smartctl", ["-d", "sat", "-t", "long"])
        try waitUntil("the self-test has failed") {
            try disk.smartctl(["-c"], mask: 0xC0).at("ata_smart_data", "self_test", "status", "passed") as Bool?
                == false
        }
        let log = try disk.smartctl(["-l", "selftest"], mask: 0xC0)
        let table: [[String: Any]] = log.at("ata_smart_self_test_log", "standard", "table") ?? []
        #expect(table.first?["lba"] as? Int == 1000)
        // A write makes it good.
        try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--repair-sector", "1000"])
        #expect(attributes(try disk.smartctl(["-A"], mask: 0xC0))[197] == 0)
        #expect(try disk.run("hdparm", ["--read-sector", "1000"]).contains("0000 0000 0000 0000"))
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func hdparmSeesAndSetsIt() throws {
        let (server, disk) = try serve()
        let text = try disk.run("hdparm", ["-I"])
        for line in [
            "Transport:          Serial, ATA8-AST", "Supported: 10 9 8 7 6 5", "Checksum: correct", "Queue depth: 32",
        ] {
            #expect(text.contains(line), "\(text)")
        }
        #expect(try disk.run("hdparm", ["-N"]).contains("max sectors   = 131072/131072"))
        #expect(try disk.run("hdparm", ["-C"]).contains("active/idle"))
        try disk.run("hdparm", ["-S", "12"])
        try disk.run("hdparm", ["-y"])
        #expect(try disk.run("hdparm", ["-C"]).contains("standby"))
        #expect(try disk.run("hdparm", ["-B", "127"]).contains("APM_level\t= 127"))
        #expect(try disk.run("hdparm", ["-W", "0"]).contains("write-caching =  0 (off)"))
        #expect(try disk.run("hdparm", ["-W", "1"]).contains("write-caching =  1 (on)"))
        #expect(try disk.run("hdparm", ["--sanitize-status"]).contains("Sanitize Idle"))
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// The size that a host sets is that of the export.
    @Test func aHostProtectedAreaMakesTheExportSmaller() throws {
        let (server, disk) = try serve()
        let uri = try server.uri(of: "disk")
        try run("qemu-io", ["-f", "raw", "-c", "write -P 5 48M 16M", uri], in: folder)
        try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "-N", "p65536"])
        try expectSize(32 << 20, uri, in: folder)
        #expect(try disk.run("hdparm", ["-N"]).contains("65536/131072, ACCESSIBLE MAX ADDRESS enabled"))
        #expect(try disk.run("sg_readcap", []).contains("Last LBA=65535"))
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A disk that has lost its power asks for its password.
    @Test func aPasswordLocksTheDisk() throws {
        let control = "unix:" + folder.path + "/control"
        let (server, disk) = try serve(
            "spindle-hd", size: "64M", ["--control", control, "--write-cache-model", "volatile"])
        func ctl(_ words: String...) throws {
            let result = try Program.spindle.run(["ctl", "--control", control] + words, in: folder)
            #expect(result.status == 0, "\(result.errors)")
        }
        let uri = try server.uri(of: "disk")
        try run("qemu-io", ["-f", "raw", "-c", "write -P 5 0 1M", "-c", "flush", uri], in: folder)
        try disk.run("hdparm", ["--user-master", "u", "--security-set-pass", "secret"])
        let before = try disk.smartctl(["-A"])
        try ctl("power", "disk", "off")
        try ctl("power", "disk", "on")
        try nbdsh([uri], "h.connect_uri(uri[0])\nrefused('EIO', lambda: h.pread(512, 0))", in: folder)
        let locked = try disk.smartctl(["-A", "-g", "security"])
        #expect(locked.at("ata_security", "string") as String? == "ENABLED, PW level HIGH, **LOCKED** [SEC4]")
        #expect(attributes(locked)[12] == 2 && attributes(locked)[241] == attributes(before)[241])
        try disk.run("hdparm", ["--user-master", "u", "--security-unlock", "secret"])
        try run("qemu-io", ["-f", "raw", "-c", "read -P 5 0 1M", uri], in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func aPasswordAndAnErase() throws {
        let (server, disk) = try serve("spindle-ssd")
        let uri = try server.uri(of: "disk")
        try run("qemu-io", ["-f", "raw", "-c", "write -P 5 0 64M", uri], in: folder)
        try disk.run("hdparm", ["--user-master", "u", "--security-set-pass", "secret"])
        #expect(try disk.smartctl(["-g", "security"]).at("ata_security", "enabled") as Bool? == true)
        let wrong = try disk.attempt("hdparm", ["--user-master", "u", "--security-erase", "wrong"])
        #expect(wrong.text.contains("bad/missing sense data"), "\(wrong.text)")
        try disk.run("hdparm", ["--user-master", "u", "--security-erase", "secret"])
        #expect(try disk.smartctl(["-g", "security"]).at("ata_security", "enabled") as Bool? == false)
        try run("qemu-io", ["-f", "raw", "-c", "read -P 0 0 64M", uri], in: folder)
        // Sanitize, too; while it takes its time, the drive answers nobody.
        try run("qemu-io", ["-f", "raw", "-c", "write -P 6 0 1M", uri], in: folder)
        try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--sanitize-block-erase"])
        #expect(try disk.run("hdparm", ["--sanitize-status"]).contains("Sanitize operation In Process"))
        try waitUntil("the drive is sanitized") {
            try disk.run("hdparm", ["--sanitize-status"]).contains("Sanitize Idle")
        }
        try run("qemu-io", ["-f", "raw", "-c", "read -P 0 0 64M", uri], in: folder)
        try disk.run("hdparm", ["--security-freeze"])
        #expect(try disk.smartctl(["-g", "security"]).at("ata_security", "frozen") as Bool? == true)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// sg3-utils: the SATL's judge, logs, and TRIM that gives zeroes.
    @Test(arguments: ["spindle-hd", "spindle-ssd", "spindle-hd,logical_block_size=4096"])
    func sg3UtilsFindNothingWrong(device: String) throws {
        let (server, disk) = try serve(device)
        let (satl, _) = try disk.attempt("bash", [try Program.tool("scsi_satl").path])
        #expect(satl.contains("total number of bad errors: 0"), "\(satl)")
        #expect(try disk.run("sg_sat_phy_event", []).contains("COMRESET: 1"))
        #expect(try disk.run("sg_sat_read_gplog", ["--log=4", "--page=1", "--count=1"]).contains("0001 0001"))
        #expect(try disk.run("sg_sat_read_gplog", ["--log=4", "--page=1", "--count=1", "--dma"]).contains("0001 0001"))
        let capacity = try disk.run("sg_readcap", ["--long"])
        #expect(
            capacity.contains(device.hasPrefix("spindle-ssd") ? "lbpme=1, lbprz=1" : "lbpme=0, lbprz=0"), "\(capacity)")
        #expect(try disk.run("sg_modes", ["-6", "-p", "8"]).contains("DpoFua=1"))
        let isLarge = device.hasSuffix("4096")
        #expect(capacity.contains("Logical block length=\(isLarge ? 4096 : 512) bytes"), "\(capacity)")
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
