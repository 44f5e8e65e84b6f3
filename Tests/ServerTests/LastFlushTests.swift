// The flush of all exports at a server's end leaves none out.

import ATA
import Backends
import Logging
import Support
import Testing

@testable import Loop
@testable import LoopSupport
@testable import Server

@Suite struct LastFlushTests {
    private let folder: TemporaryFolder
    private let loops: RunningLoops

    init() throws {
        folder = try TemporaryFolder()
        loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
    }

    private func add(_ name: String) throws -> ExportEntry {
        let path = try folder.file(name, sizeBytes: 1 << 20)
        try loops.control.add(
            ServedExport(
                name: name, properties: DriveProperties(), controller: .piix3IDE,
                backend: try Backend(path: path, cache: .writeback, readOnly: false)))
        return try loops.shared.exports.entry(named: name)
    }

    /// Removed exports, too: one that nobody has open any more is closed, and one with a request that its file system
    /// does not answer is told of.
    @Test func whatWasRemovedIsFlushedOrToldOf() throws {
        let (left, stuck) = (try add("left"), try add("stuck"))
        for entry in [left, stuck] {
            #expect(entry.open() == .opened(others: 0))
            #expect(try loops.shared.exports.withdraw(entry, onlyIfUnused: false) == 1)
        }
        #expect(try loops.stop())
        #expect(left.close())
        let flush = LastFlush(loops.shared)
        flush.begin {}
        try waitUntil("all that can be done is done") { flush.isComplete }
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let failures = flush.failures(logger)
        #expect(failures.map(\.name) == ["stuck"])
        #expect(failures.map(\.reason) == ["its file system has not answered in time"])
    }
}
