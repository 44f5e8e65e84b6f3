// Images that become larger while they are served. None becomes smaller.

import Glibc
import Support
import Testing

@testable import Backends

@Suite struct GrowTests {
    @Test func noFileIsShrunk() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("disk.img", sizeBytes: 8192)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let error = try #require(throws: ImageError.self) { try backend.grow(toBytes: 4096) }
        #expect("\(error)".contains("shrinking would lose data"), "\(error)")
        #expect(try status(path).st_size == 8192)
        #expect(try backend.grow(toBytes: 12288) == 12288)
        #expect(try status(path).st_size == 12288)
    }

    @Test func memoryHasTheSizeThatItHas() throws {
        let backend = try Backend(memoryOfSize: 8192, readOnly: false)
        defer { backend.close() }
        #expect(throws: ImageError.self) { try backend.grow(toBytes: 12288) }
        #expect(try backend.grow(toBytes: nil) == 8192)
    }
}
