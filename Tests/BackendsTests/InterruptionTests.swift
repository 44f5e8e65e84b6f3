// Operations that the kernel ends before they have begun, and zeroes that the file system does not know how to store.

import Blocks
import Glibc
import IOUring
import Support
import Testing

@testable import Backends

@Suite struct InterruptionTests {
    private let folder: TemporaryFolder
    private let backend: Backend

    init() throws {
        folder = try TemporaryFolder()
        backend = try Backend(
            path: try folder.file("disk.img", sizeBytes: 1 << 20), cache: .writeback, readOnly: false)
    }

    @Test(arguments: [BackendOperation.write, .writeZeroes(mayDeallocate: false), .discard, .read])
    func anInterruptedOperationIsRepeated(operation: BackendOperation) throws {
        defer { backend.close() }
        var bench = try BackendBench(backend)
        try #require(try bench.write([UInt8](repeating: 1, count: 8192), at: 0) == 0)
        #expect(try bench.perform(operation, at: 0, 4096, interruptions: 2) == 0)
        #expect(try bench.read(at: 4096, 4096) == [UInt8](repeating: 1, count: 4096))
    }

    @Test func zeroesThatHaveToBeFastAreNotWrittenByHand() throws {
        defer { backend.close() }
        guard case .file(let file) = backend.kind else { return }
        var ring = try Ring(entries: 8, completions: 8)
        for mayDeallocate in [false, true] {
            file.abilities.lacks(mayDeallocate ? .punchHole : .zeroRange)
            var task = BackendTask(.writeZeroes(mayDeallocate: mayDeallocate), offset: 0, length: 4096)
            task.hasToBeFast = true
            #expect(backend.start(&task, ring: &ring, userData: 1) == .failed(EOPNOTSUPP))
            #expect(task.wasTooSlow)
        }
    }
}
