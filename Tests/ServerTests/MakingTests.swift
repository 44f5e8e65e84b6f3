// Exports that clients wait for, with a maker whose speed the test decides: real loops, and clients byte by byte.

import ATA
import Backends
import Dispatch
import NBD
import Support
import Synchronization
import Testing

@testable import Loop
@testable import LoopSupport
@testable import Server

@Suite struct MakingTests {
    private let folder: TemporaryFolder
    private let loops: RunningLoops
    private var control: ServerControl { loops.control }
    /// What a maker waits for.
    private let gate = DispatchSemaphore(value: 0)

    init() throws {
        folder = try TemporaryFolder()
        var limits = Limits()
        limits.handshakeSeconds = 60
        loops = try RunningLoops(
            try Backend(memoryOfSize: 1 << 20, readOnly: false), loops: 2, limits: limits, in: folder)
        var template = try Self.export("vm-*")
        template.copies = .named(try #require(NamePattern("vm-*")))
        try control.add(template)
    }

    private static func export(_ name: String, _ lifetime: Lifetime = .unlimited) throws -> ServedExport {
        var export = ServedExport(
            name: name, properties: DriveProperties(), controller: .piix3IDE,
            backend: try Backend(memoryOfSize: 1 << 20, readOnly: false))
        export.lifetime = lifetime
        return export
    }

    /// A client that has asked for an export with EXPORT_NAME, and has no answer yet.
    private func ask(_ name: String) throws -> RawConnection {
        let connection = try RawConnection(unix: loops.path)
        _ = try connection.receive(18)
        try connection.send(
            [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + [0, 0, 0, 1, 0, 0, 0, UInt8(name.utf8.count)] + Array(name.utf8))
        return connection
    }

    private func connectionCount() throws -> Int { try control.connections().count }

    /// So many may wait. Those who give up make room, and nothing is made for them.
    @Test func theQueueIsBounded() throws {
        let calls = Atomic<Int>(0)
        control.makeExports { [gate] _ in
            calls.add(1, ordering: .sequentiallyConsistent)
            gate.wait()
            gate.signal()
            return .refused("no")
        }
        let first = try ask("vm-first")
        try waitUntil("the maker is at work") { calls.load(ordering: .sequentiallyConsistent) == 1 }
        var waiting = try (0..<Makings.limit).map { try ask("vm-\($0)") }
        try waitUntil("all wait") { try connectionCount() == Makings.limit + 1 && waiting.allSatisfy(\.isTaken) }
        _ = try control.connections()
        #expect(try ask("vm-more").isClosedByServer())
        #expect(try connectionCount() == Makings.limit + 1, "one that waits was refused")
        for connection in waiting[..<100] { connection.close() }
        waiting.removeFirst(100)
        try waitUntil("a hundred have gone") { try connectionCount() == Makings.limit - 99 }
        waiting.append(try ask("vm-later"))
        try waitUntil("it waits") { waiting.last?.isTaken == true }
        #expect(try connectionCount() == Makings.limit - 98)
        gate.signal()
        for connection in waiting + [first] { #expect(connection.isClosedByServer()) }
        #expect(calls.load(ordering: .sequentiallyConsistent) == Makings.limit - 98)
        #expect(try loops.stop())
    }

    /// A client goes while its export is made, and nobody else has it open: it goes, too, however long it was to stay.
    @Test(arguments: [Lifetime.kept, .used, .ofOneConnection]) func nothingIsLeftBehind(lifetime: Lifetime) throws {
        let control = control
        let begun = DispatchSemaphore(value: 0)
        let made = Atomic<Int>(0)
        control.makeExports { [gate] making in
            begun.signal()
            gate.wait()
            guard let export = try? Self.export(making.name, lifetime), let hold = try? control.addHeld(export) else {
                return .refused("it cannot be made")
            }
            made.add(1, ordering: .sequentiallyConsistent)
            return .made(hold)
        }
        let client = try ask("vm-a")
        begun.wait()
        client.close()
        try waitUntil("the client has gone") { try connectionCount() == 0 }
        gate.signal()
        try waitUntil("the export has come and gone") {
            made.load(ordering: .sequentiallyConsistent) == 1 && control.exports().map(\.name) == ["disk", "vm-*"]
        }
        // Its name is free, and one that is opened is open.
        gate.signal()
        let other = try ask("vm-a")
        #expect(try other.receive(10).prefix(8) == [0, 0, 0, 0, 0, 0x10, 0, 0])
        #expect(control.exports().map(\.connections) == [0, 0, 1])
        other.close()
        let stays = lifetime == .kept
        try waitUntil("it is as it was to be") {
            try connectionCount() == 0 && control.exports().count == (stays ? 3 : 2)
        }
        #expect(try loops.stop())
    }
}
