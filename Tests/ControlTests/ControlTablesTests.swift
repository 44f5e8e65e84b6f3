// Numbers as people read them.

import Testing

@testable import Control

@Suite struct ControlTablesTests {
    @Test(
        arguments: [
            (0, "0 B"), (512, "512 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1 << 20, "1 MiB"),
            ((1 << 30) - 512, "1023.9 MiB"),
            (3_221_225_472, "3 GiB"), (1 << 50, "1 PiB"), (UInt64.max, "15.9 EiB"),
        ] as [(UInt64, String)])
    func sizesHaveUnits(bytes: UInt64, text: String) {
        #expect(ControlTables.size(bytes) == text)
    }

    @Test(arguments: [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3600, "1h 0m"), (90_061, "1d 1h")])
    func durationsHaveTwoUnits(seconds: Int, text: String) {
        #expect(ControlTables.duration(seconds) == text)
    }

    @Test func aTablesColumnsAreAligned() throws {
        let json = """
            {"exports":[{"name":"a","description":"x","size-bytes":512,"logical-block-bytes":512,"read-only":true,
            "tls-only":false,"connections":12,"draining":false},{"name":"long\\u001b[31m","description":"y",
            "size-bytes":1073741824,"logical-block-bytes":4096,"read-only":false,"tls-only":true,"connections":0,
            "draining":true,"of-a-later-version":1}]}
            """
        #expect(
            try ControlTables.exports(Array(json.utf8)) == """
                NAME             SIZE  CONNECTIONS  STATE               DESCRIPTION
                a               512 B           12  in use, read-only   x
                long\\u001b[31m  1 GiB            0  draining, TLS only  y

                """)
        #expect(try ControlTables.exports(Array("{\"exports\":[]}".utf8)) == "no exports\n")
    }

    /// The sectors of a drive are its own, whatever it is.
    @Test(arguments: [(512, "8 sectors"), (2048, "2 sectors"), (4096, "1 sector")])
    func sizesAreInBlocksOfTheDrive(blockBytes: Int, text: String) throws {
        let json = """
            {"name":"a","description":"x","size-bytes":4096,"logical-block-bytes":\(blockBytes),"read-only":false,
            "tls-only":false,"connections":0,"draining":false}
            """
        let table = try ControlTables.export(Array(json.utf8))
        #expect(table.contains("4096 bytes (4 KiB, \(text))\n"), "\(table)")
    }
}
