// Exports that come, grow and go while a server runs, and connections that its operator ends.

import ATA
import Backends
import Foundation
import Support
import Testing

@testable import Loop
@testable import LoopSupport
@testable import Server

@Suite struct ServerControlTests {
    private let folder: TemporaryFolder
    private let loops: RunningLoops
    private var control: ServerControl { loops.control }

    init() throws {
        folder = try TemporaryFolder()
        loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), loops: 2, in: folder)
    }

    private func file(_ name: String, _ sizeBytes: UInt64 = 1 << 20) throws -> ServedExport {
        let path = try folder.file(name, sizeBytes: sizeBytes, beginning: Array(name.utf8))
        return ServedExport(
            name: name, properties: DriveProperties(), controller: .piix3IDE,
            backend: try Backend(path: path, cache: .writeback, readOnly: false))
    }

    private func open(_ name: String) throws -> Client {
        try Client(try RawConnection(unix: loops.path), export: name)
    }

    /// The server closes without an answer, which is all that EXPORT_NAME can say.
    private func isRefused(_ name: String) -> Bool {
        do {
            _ = try open(name)
            return false
        } catch RawConnection.Failure.closed(received: 0) {
            return true
        } catch {
            Issue.record(error)
            return false
        }
    }

    /// The image can be locked by somebody else: nobody has it open.
    private func isClosed(_ name: String) -> Bool {
        let backend = try? Backend(path: folder.path + "/" + name, cache: .writeback, readOnly: false)
        backend?.close()
        return backend != nil
    }

    @Test func anExportComes() throws {
        #expect(isRefused("new"))
        try control.add(try file("new"))
        #expect(try open("new").read(at: 0, 3) == Array("new".utf8))
        #expect(control.exports().map(\.name) == ["disk", "new"])
        var again = try file("other")
        again.name = "new"
        expectError(
            "there is an export named 'new' already; give one of the two another name: NAME=IMAGE"
        ) { try control.add(again) }
        again.backend.close()
        expectError("there is no export named 'other'") { try control.remove("other", .safe) }
        #expect(control.exports().map(\.name) == ["disk", "new"])
        #expect(try loops.stop())
    }

    @Test func anExportGoesSafely() throws {
        try control.add(try file("a"))
        let client = try open("a")
        expectError(
            "the export 'a' is in use by 1 connection; drain or force removes it all the same"
        ) { try control.remove("a", .safe) }
        #expect(try client.read(at: 0, 1) == Array("a".utf8))
        #expect(try open("a").read(at: 0, 1) == Array("a".utf8))
        try client.request(.disconnect)
        client.connection.close()
        try waitUntil("the client has gone") { control.exports()[1].connections == 0 }
        try control.remove("a", .safe)
        #expect(isRefused("a"))
        #expect(isClosed("a"))
        #expect(control.exports().map(\.name) == ["disk"])
        #expect(try loops.stop())
    }

    @Test func anExportGoesWithItsLastClient() throws {
        try control.add(try file("a"))
        let client = try open("a")
        try control.remove("a", .drain)
        #expect(isRefused("a"))
        #expect(control.exports().map(\.isDraining) == [false, true])
        try client.write(Array("still".utf8), at: 0)
        try client.reply()
        #expect(!isClosed("a"))
        client.connection.close()
        try waitUntil("the image is closed") { isClosed("a") }
        #expect(try folder.bytes("a", from: 0, count: 5) == Array("still".utf8))
        #expect(control.exports().count == 1)
        // Another may have its place.
        try control.add(try file("a"))
        #expect(try open("a").read(at: 0, 1) == Array("a".utf8))
        #expect(try loops.stop())
    }

    /// Exports of one name that wait for their last clients are hurried together, once nobody else has the name; and
    /// more than one operator may hurry.
    @Test func aDrainingExportIsHurriedByForce() throws {
        var clients: [Client] = []
        for name in ["a", "b"] {
            var export = try file(name)
            export.name = "a"
            try control.add(export)
            clients.append(try open("a"))
            try control.remove("a", .drain)
        }
        try control.add(try file("c"))
        for mode in [RemovalMode.safe, .drain] {
            expectError("there is no export named 'a'") { try control.remove("a", mode) }
        }
        let server = loops.control
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            do throws(ServerError) {
                try server.remove("a", .force)
            } catch .noSuchExport {
                // Another one was faster.
            } catch {
                Issue.record(error)
            }
        }
        for client in clients { #expect(client.connection.isClosedByServer()) }
        #expect(isClosed("a") && isClosed("b") && !isClosed("c"))
        #expect(control.exports().map(\.name) == ["disk", "c"])
        expectError("there is no export named 'a'") { try control.remove("a", .force) }
        #expect(try loops.stop())
    }

    @Test func anExportGoesByForce() throws {
        try control.add(try file("a"))
        let busy = try open("a")
        let other = try open("disk")
        // In flight while the export goes: answered all the same.
        let data = [UInt8](repeating: 7, count: 65536)
        for number in 0..<8 { try busy.write(data, at: UInt64(number) * 65536, cookie: UInt64(number)) }
        try loops.settle(busy)
        try control.remove("a", .force)
        for _ in 0..<8 { try busy.reply() }
        #expect(busy.connection.isClosedByServer())
        #expect(try folder.bytes("a", from: 0, count: 8 * 65536) == [UInt8](repeating: 7, count: 8 * 65536))
        #expect(try other.read(at: 0, 512).count == 512)
        #expect(try loops.stop())
    }

    @Test func aDriveGrows() throws {
        try control.add(try file("a"))
        let before = try open("a")
        #expect(try control.grow("a", toBytes: 3 << 20).sizeBytes == 3 << 20)
        let after = try open("a")
        #expect((before.sizeBytes, after.sizeBytes) == (1 << 20, 3 << 20))
        try after.write([1, 2, 3], at: 3 << 20 - 3)
        try after.reply()
        #expect(try folder.bytes("a", from: 3 << 20 - 3, count: 3) == [1, 2, 3])
        // The old connection was told otherwise; but its client may know (Linux can be told), and is served to the new
        // end.
        #expect(try before.read(at: 3 << 20 - 512, 512).suffix(3) == [1, 2, 3])
        try before.request(.read, at: 3 << 20, 512)
        #expect(try before.connection.receive(8) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 22])
        // Somebody else makes the image larger.
        #expect(truncate(folder.path + "/a", 4 << 20) == 0)
        #expect(try control.grow("a", toBytes: nil).sizeBytes == 4 << 20)
        #expect(try open("a").sizeBytes == 4 << 20)
        // What does not grow: GrowFailureTests.
        #expect(try loops.stop())
    }

    /// Whoever still knows the old one cannot change it any more, nor the one that has its name.
    @Test func anExportUnderTheSameNameIsAnotherOne() throws {
        try control.add(try file("a"))
        let client = try open("a")
        let old = try loops.shared.exports.entry(named: "a")
        try control.remove("a", .drain)
        var other = try file("other")
        other.name = "a"
        try control.add(other)
        #expect(old.operate { old.name } == nil)
        #expect(try control.grow("a", toBytes: 3 << 20).sizeBytes == 3 << 20)
        let sizes = try ["a", "other"].map { try FileManager.default.attributesOfItem(atPath: folder.path + "/" + $0) }
        #expect(sizes.map { $0[.size] as? Int } == [1 << 20, 3 << 20])
        #expect(try client.read(at: 0, 1) == Array("a".utf8))
        #expect(try open("a").sizeBytes == 3 << 20)
        client.connection.close()
        #expect(try loops.stop())
    }

    @Test func aConnectionIsDropped() throws {
        let clients = try (0..<3).map { _ in try open("disk") }
        let numbers = try control.connections().map(\.number)
        #expect(numbers.count == 3)
        #expect(
            try control.connections().allSatisfy { $0.export == "disk" && $0.client.hasPrefix("unix:pid=\(getpid())") })
        try control.drop(connection: numbers[1])
        #expect(clients[1].connection.isClosedByServer())
        for client in [clients[0], clients[2]] { #expect(try client.read(at: 0, 512).count == 512) }
        expectError("there is no connection number \(numbers[1])") { try control.drop(connection: numbers[1]) }
        expectError("there is no connection number 999") { try control.drop(connection: 999) }
        #expect(try loops.stop())
    }

    @Test func connectionsOfAnExport() throws {
        var export = try file("a")
        export.maximumConnections = 2
        try control.add(export)
        let first = try open("a")
        let second = try open("a")
        #expect(isRefused("a"))
        second.connection.close()
        // The one that is let in stays: whether its own end is known before the next one asks would be luck.
        var third: Client?
        try waitUntil("there is room for another") {
            third = try? open("a")
            return third != nil
        }
        #expect(try third?.read(at: 0, 1) == Array("a".utf8))
        #expect(try first.read(at: 0, 1) == Array("a".utf8))
        #expect(try loops.stop())
    }
}
