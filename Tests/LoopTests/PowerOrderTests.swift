// Orders about the power of a drive, as loops read them.

import Backends
import Blocks
import Support
import Testing

@testable import Loop
@testable import LoopSupport
@testable import Server

@Suite struct PowerOrderTests {
    /// A loop may read that the power is gone when it is back already: who has opened the drive since then has it.
    @Test func ordersThatComeTooLate() throws {
        let folder = try TemporaryFolder()
        let memory = try LayerMemory(mapping: WriteCache.memoryBytes(cacheBytes: 1 << 16))
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder) {
            $0.blocks.writeCache = WriteCache(cacheBytes: 1 << 16, memory: memory, blockSize: .smallest)
        }
        let client = try Client(loops.path)
        try client.write([UInt8](repeating: 7, count: 512), at: 0)
        _ = try client.reply()
        loops.shared.loops.cutOff(loops.entry)
        loops.shared.loops.hang(loops.entry)
        #expect(try loops.connections().count == 1)
        #expect(try client.read(at: 0, 512) == [UInt8](repeating: 7, count: 512))
        #expect(try loops.stop())
    }

    /// An operator's work with an image ends before that is closed, and none begins afterwards.
    @Test func nothingIsDoneAfterTheEnd() throws {
        let folder = try TemporaryFolder()
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        #expect(loops.entry.operate { true } == true)
        #expect(try loops.stop())
        loops.entry.end(loops.shared.loops.logger)
        #expect(loops.entry.operate { true } == nil)
    }
}
