// What nbdinfo finds out about an export is what the drive is: every field, by the table of flags in the design.

import Foundation
import Support
import Testing

@Suite struct NbdinfoTests {
    /// An export as `nbdinfo --json` prints it.
    struct Export: Decodable, Equatable {
        var name = "memory"
        var description = "QEMU HARDDISK 2.5+, serial QM00001, 131072 sectors"
        var isRotational = true
        var isReadOnly = false
        var canCache = true
        var canDF = true
        var canFastZero = true
        var canFlush = true
        var canFUA = false
        var canMultiConn = true
        var canTrim = true
        var canZero = true
        var minimumBytes = 512
        var preferredBytes = 4096
        var maximumBytes = 33_554_432
        var sizeBytes = 67_108_864

        enum CodingKeys: String, CodingKey {
            case name = "export-name"
            case description
            case isRotational = "is_rotational"
            case isReadOnly = "is_read_only"
            case canCache = "can_cache"
            case canDF = "can_df"
            case canFastZero = "can_fast_zero"
            case canFlush = "can_flush"
            case canFUA = "can_fua"
            case canMultiConn = "can_multi_conn"
            case canTrim = "can_trim"
            case canZero = "can_zero"
            case minimumBytes = "block_size_minimum"
            case preferredBytes = "block_size_preferred"
            case maximumBytes = "block_size_maximum"
            case sizeBytes = "export-size"
        }

        /// The export of the drive that has only the default properties, in 64 MiB of memory, but for what is changed.
        static func memory(_ change: (inout Export) -> Void) -> Export {
            var export = Export()
            change(&export)
            return export
        }
    }

    struct Information: Decodable {
        let `protocol`: String
        let TLS: Bool
        let structured: Bool
        let exports: [Export]
    }

    /// What `nbdinfo --json` says.
    private func information(_ arguments: [String], in folder: TemporaryFolder) throws -> Information {
        let text = try run("nbdinfo", ["--json"] + arguments, in: folder)
        return try JSONDecoder().decode(Information.self, from: Data(text.utf8))
    }

    private static let drives: [([String], Export)] = [
        (["memory:64M"], Export()),
        (["--device", "ide-hd,write-cache=off", "memory:64M"], .memory { $0.canFlush = false }),
        (["--device", "ide-hd,discard_granularity=0", "memory:64M"], .memory { $0.canTrim = false }),
        (["--device", "ide-hd,rotation_rate=1", "memory:64M"], .memory { $0.isRotational = false }),
        (["--device", "ide-hd,rotation_rate=7200", "memory:64M"], Export()),
        (["--device", "ide-hd,physical_block_size=4096", "memory:64M"], Export()),
        (["--device", "ide-hd,physical_block_size=64k", "memory:64M"], .memory { $0.preferredBytes = 65536 }),
        (["--controller", "ich9-ahci", "memory:64M"], Export()),
        (["--device", "ide-hd,wwn=0x5000c50015ea71ac", "memory:64M"], Export()),
        (
            ["--device", "ide-hd,serial=918a6997-1928-38a1-9,model=A DISK,ver=1.0", "memory:64M"],
            .memory { $0.description = "A DISK 1.0, serial 918a6997-1928-38a1-9, 131072 sectors" }
        ),
        (
            // Nothing that writes is offered, and there is nothing to flush.
            ["--read-only", "memory:64M"],
            .memory { export in
                export.isReadOnly = true
                (export.canFlush, export.canTrim, export.canZero, export.canFastZero) = (false, false, false, false)
            }
        ),
        (
            ["memory:1s"],
            .memory { export in
                export.description = "QEMU HARDDISK 2.5+, serial QM00001, 1 sector"
                export.sizeBytes = 512
            }
        ),
        (
            ["null:128P"],
            .memory { export in
                export.name = "null"
                export.description = "QEMU HARDDISK 2.5+, serial QM00001, 281474976710656 sectors"
                export.sizeBytes = 1 << 57
            }
        ),
    ]

    @Test(arguments: drives)
    func everyFieldIsWhatTheDriveIs(arguments: [String], expected: Export) throws {
        let folder = try TemporaryFolder()
        try serving(arguments, in: folder) { server in
            let information = try information([server.uri], in: folder)
            #expect(information.protocol == "newstyle-fixed")
            #expect(information.TLS == false)
            #expect(information.structured)
            #expect(information.exports == [expected])
        }
    }

    @Test(arguments: [
        ("writeback", true), ("none", true), ("unsafe", true), ("writethrough", false), ("directsync", false),
    ])
    func theCacheModeDecidesOnFlush(mode: String, hasVolatileCache: Bool) throws {
        let folder = try TemporaryFolder(onDisk: true)
        // The tail makes a sector of its own.
        let image = try folder.file("odd.img", sizeBytes: 1_000_001)
        for (writeCache, expected) in [("auto", hasVolatileCache), ("on", true), ("off", false)] {
            try serving(["--cache", mode, "--device", "ide-hd,write-cache=\(writeCache)", image], in: folder) {
                server in
                let export = try #require(try information([server.uri], in: folder).exports.first)
                #expect(export.canFlush == expected, "write-cache=\(writeCache)")
                #expect(export.name == "odd")
                #expect(export.sizeBytes == 1_000_448)
                #expect(export.description == "QEMU HARDDISK 2.5+, serial QM00001, 1954 sectors")
            }
        }
    }

    @Test(arguments: Transport.allCases)
    func listHasAllExportsInTheirOrder(transport: Transport) throws {
        let folder = try TemporaryFolder()
        let arguments = ["memory:1M", "a disk=memory:2M", "Grüße é%=memory:1s", "second=null:3G"]
        try serving(Transport.listen + arguments, in: folder) { server in
            let uri = try server.uri(of: "memory", over: transport)
            let exports = try information(["--list", uri], in: folder).exports
            #expect(exports.map(\.name) == ["memory", "a disk", "Grüße é%", "second"])
            #expect(exports.map(\.sizeBytes) == [1 << 20, 2 << 20, 512, 3 << 30])
            #expect(
                exports.map(\.description) == [
                    "QEMU HARDDISK 2.5+, serial QM00001, 2048 sectors",
                    "QEMU HARDDISK 2.5+, serial QM00002, 4096 sectors",
                    "QEMU HARDDISK 2.5+, serial QM00003, 1 sector",
                    "QEMU HARDDISK 2.5+, serial QM00004, 6291456 sectors",
                ])
        }
    }

    /// The names are found under the URIs that the server printed, however much of them has to be escaped there.
    @Test(arguments: Transport.allCases)
    func announcedURIsLeadToTheirExports(transport: Transport) throws {
        let folder = try TemporaryFolder()
        let sizes = ["plain": 1, "a disk": 2, "Grüße": 3, "50%?x=y#z": 4, "": 5]
        let images = sizes.map { "\($0.key)=memory:\($0.value)M" }
        // A name ends at the first equals sign.
        let arguments = images.filter { !$0.hasPrefix("50%") } + ["50%?x#z=memory:4M"]
        try serving(Transport.listen + arguments, in: folder) { server in
            for name in ["plain", "a disk", "Grüße", "50%?x#z", ""] {
                let uri = try server.uri(of: name, over: transport)
                try expectSize((sizes[name] ?? 4) << 20, uri, in: folder)
            }
        }
    }

    @Test func anUnknownNameIsRefused() throws {
        let folder = try TemporaryFolder()
        try serving(["disk=memory:1M"], in: folder) { server in
            let uri = "nbd+unix:///tape?socket=\(server.socketPath)"
            let errors = try runFailing("nbdinfo", [uri], in: folder)
            #expect(errors.contains("No such file or directory for export: tape"), "\(errors)")
            try expectSize(1 << 20, server.uri, in: folder)
        }
    }
}
