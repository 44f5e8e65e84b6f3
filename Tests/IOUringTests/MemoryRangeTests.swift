// Ranges of memory let nobody out of their bounds; what has an owner is empty or full.

import IOUring
import Synchronization
import Testing

@Suite struct MemoryRangeTests {
    @Test func partsOfParts() {
        let memory = HeapBytes((0..<100).map { UInt8($0) })
        let part = memory.range[10..<60].dropFirst(5)[0..<3]
        let bytes = part.withBytes { bytes in (0..<3).map { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) } }
        #expect(bytes == [15, 16, 17])
        let target = HeapBytes(count: 2)
        let copied = target.range.copy(part)
        let first = target.range.withBytes { $0.unsafeLoad(as: UInt8.self) }
        #expect(copied == 2 && first == 15)
        let nothing = target.range.copy(.empty)
        #expect(nothing == 0 && memory.range.count == 100)
    }

    @Test func nobodyGoesOutOfBounds() async {
        await #expect(processExitsWith: .failure) {
            let memory = HeapBytes(count: 10)
            _ = memory.range[5..<11]
        }
        await #expect(processExitsWith: .failure) {
            let memory = HeapBytes(count: 10)
            _ = memory.range.dropFirst(11)
        }
        await #expect(processExitsWith: .failure) {
            let memory = try MappedRegion(byteCount: 4096)
            _ = memory[0..<4097]
        }
        await #expect(processExitsWith: .failure) {
            let cells = try SharedCells(repeating: 0, count: 4, areApart: true)
            cells[4].store(1, ordering: .relaxed)
        }
    }

    @Test func aBoxIsFilledOnce() async {
        await #expect(processExitsWith: .failure) {
            let box = HeapBox<Int>()
            _ = box.value
        }
        await #expect(processExitsWith: .failure) {
            var box = HeapBox<Int>()
            box.put(1)
            box.put(2)
        }
    }
}
