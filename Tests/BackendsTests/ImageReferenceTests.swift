// The names of images.

import Backends
import Testing

@Suite struct ImageReferenceTests {
    @Test(arguments: [
        ("disk.img", ImageReference.file(path: "disk.img")), ("./memory:1", .file(path: "./memory:1")),
        ("/dev/sdb", .file(path: "/dev/sdb")), ("Memory:1", .file(path: "Memory:1")),
        ("memory:64M", .memory(sizeBytes: 67_108_864)), ("null:3G", .null(sizeBytes: 3_221_225_472)),
        ("memory:6291456s", .memory(sizeBytes: 3_221_225_472)), ("memory:1S", .memory(sizeBytes: 512)),
        ("memory:1000001", .memory(sizeBytes: 1_000_001)), ("null:2k", .null(sizeBytes: 2048)),
        ("null:1T", .null(sizeBytes: 1 << 40)), ("null:128P", .null(sizeBytes: 1 << 57)),
        ("null:281474976710656s", .null(sizeBytes: 1 << 57)), ("memory:0", .memory(sizeBytes: 0)),
        ("overlay:disk.img", .overlay(path: "disk.img")), ("./overlay:x", .file(path: "./overlay:x")),
    ])
    func good(text: String, expected: ImageReference) throws {
        #expect(try ImageReference(parsing: text) == expected)
    }

    @Test(arguments: [
        "memory:", "memory:M", "memory:-1", "memory:+1", "memory:1X", "memory:1.5G", "memory:0x10", "memory:1 M",
        "memory:1MM", "memory:1e",
    ])
    func noSize(text: String) throws {
        let error = try #require(throws: ImageReferenceError.self) { try ImageReference(parsing: text) }
        #expect(error == .badSize(text, prefix: "memory:"))
        #expect("\(error)".contains("'\(text)'") && "\(error)".contains("memory:3G"))
    }

    @Test(arguments: ["null:281474976710657s", "null:129P", "null:18446744073709551615", "null:36028797018963969s"])
    func tooLarge(text: String) throws {
        let error = try #require(throws: ImageReferenceError.self) { try ImageReference(parsing: text) }
        #expect(error == .tooLarge(text))
        #expect("\(error)".contains("'\(text)'") && "\(error)".contains("2^48"))
    }

    @Test func aDirectory() throws {
        #expect(throws: ImageReferenceError.directory("dir:x")) { try ImageReference(parsing: "dir:x") }
        #expect(try ImageReference(parsing: "./dir:x") == .file(path: "./dir:x"))
    }

    @Test func nothing() {
        #expect(throws: ImageReferenceError.empty) { try ImageReference(parsing: "") }
    }
}
