// Loops on threads of this process, with limits that a test chooses, and a client that speaks only what it needs: for
// the tests of Loop and of Server. The exports are those of a real server.

import ATA
import Backends
import Export
import Foundation
import IOUring
import Listening
import Logging
import Support
import Synchronization
import Testing
import Threads

@testable import Loop
@testable import Server

/// A server without signals: its loops run until ``stop()``.
final class RunningLoops: Sendable {
    let shared: ServerState
    private let ended = DispatchSemaphore(value: 0)
    private let failures = Mutex<[String]>([])
    private let guarded = TestWatch.Guarded()
    let path: String
    /// Where it listens on 127.0.0.1.
    let port: UInt16
    /// What all loops share of the drive.
    let entry: ExportEntry

    /// For an operator.
    var control: ServerControl { ServerControl(shared) }

    /// All connections.
    func connections() throws -> [ConnectionStatus] { try #require(try shared.loops.connections()) }

    /// Waits until the loops have looked at all that clients have sent. A loop has taken it from their sockets, and
    /// answers an operator at the end of a turn: what was taken before is parsed by then, and what can be answered is
    /// sent.
    ///
    /// What a client sends in several pieces while its requests wait may stay in its socket: each piece takes one of
    /// four buffers.
    func settle(_ clients: Client...) throws {
        for client in clients { try waitUntil("the loops have received all") { client.connection.isTaken } }
        _ = try connections()
    }

    /// Starts loops that serve one drive, `disk`, on a Unix socket in `folder` and over TCP.
    init(
        _ backend: Backend, loops: Int = 1, limits: Limits = Limits(), tls: TLSSettings? = nil,
        in folder: TemporaryFolder, export change: (inout ServedExport) -> Void = { _ in }
    ) throws {
        // As a server does at its beginning.
        signal(SIGPIPE, SIG_IGN)
        path = folder.path + "/" + UUID().uuidString.prefix(8)
        let internet = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
        guard case .tcp(_, let port) = internet.first?.endpoint else { throw EndpointError.malformed("") }
        self.port = port
        shared = try ServerState(
            entrances: Entrances(listeners: try Listener.open(.unix(path: path)) + internet), loopCount: loops,
            limits: limits, tls: tls,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        var export = ServedExport(
            name: "disk", properties: DriveProperties(), controller: .piix3IDE, backend: backend)
        change(&export)
        entry = try shared.exports.add(export).0
        let shared = shared
        pthread_detach(startThread { closeEndedExports(shared) })
        // The first loop accepts for all.
        for number in (0..<loops).reversed() { try start(number) }
    }

    /// Serves another drive.
    func serve(_ backend: Backend, as name: String) throws {
        let export = ServedExport(
            name: name, properties: DriveProperties(), controller: .piix3IDE, backend: backend)
        _ = try shared.exports.add(export)
    }

    private func start(_ number: Int) throws {
        let started = Startup()
        let thread = startThread {
            TestWatch.guardThread(self.guarded)
            do throws(RingError) {
                var loop = try Loop(index: number, shared: self.shared.loops)
                loop.publish()
                started.signal(nil)
                try loop.run()
            } catch {
                started.signal(error)
                self.failures.withLock { $0.append("\(error)") }
            }
            self.ended.signal()
        }
        pthread_detach(thread)
        if let error = started.wait() { throw error }
    }

    /// Tells the loops to stop.
    func beginToStop() { shared.loops.stopLoops() }

    /// Stops the loops as a server does.
    ///
    /// - Returns: whether all have ended within a time that is longer than the server grants its clients.
    func stop() throws -> Bool {
        beginToStop()
        let deadline = DispatchTime.now() + .seconds(shared.loops.limits.shutdownSeconds + 10)
        for _ in 0..<shared.loops.loopCount {
            while ended.wait(timeout: .now() + .milliseconds(100)) != .success {
                let signal = guarded.signal.load(ordering: .sequentiallyConsistent)
                try #require(signal == 0, "a loop has trapped")
                guard DispatchTime.now() < deadline else { return false }
            }
        }
        #expect(failures.withLock { $0 } == [])
        for listener in shared.loops.listeners { listener.close() }
        return true
    }
}

/// An export of nothing, for a loop that a test makes by hand.
func entryOfNothing() throws -> ExportEntry {
    let export = ServedExport(
        name: "nothing", properties: DriveProperties(), controller: .piix3IDE,
        backend: Backend(nullOfSize: 1 << 20, readOnly: false))
    return try ExportTable(loopCount: 1, reservations: nil, logger: Logger(label: "nothing")).add(export).0
}

/// A client with simple replies.
struct Client {
    enum Command: UInt16 {
        case read = 0
        case write = 1
        case disconnect = 2
        case flush = 3
        case blockStatus = 7
    }

    let connection: RawConnection
    let sizeBytes: UInt64

    /// Opens the default export with NBD_OPT_EXPORT_NAME.
    init(_ path: String) throws {
        try self.init(try RawConnection(unix: path))
    }

    /// Opens an export with NBD_OPT_EXPORT_NAME.
    init(_ connection: RawConnection, export name: String = "") throws {
        self.connection = connection
        #expect(try connection.receive(18).starts(with: Array("NBDMAGICIHAVEOPT".utf8)))
        try connection.send(
            [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + [0, 0, 0, 1, 0, 0, 0, UInt8(name.utf8.count)] + Array(name.utf8))
        // Size and flags.
        sizeBytes = try connection.receive(10)[..<8].reduce(0) { $0 << 8 | UInt64($1) }
    }

    func request(_ command: Command, at offset: UInt64 = 0, _ length: UInt32 = 0, cookie: UInt64 = 0) throws {
        try connection.send(Self.header(command, at: offset, length, cookie: cookie))
    }

    static func header(_ command: Command, at offset: UInt64 = 0, _ length: UInt32 = 0, cookie: UInt64 = 0) -> [UInt8] {
        var bytes: [UInt8] = [0x25, 0x60, 0x95, 0x13, 0, 0, 0, UInt8(command.rawValue)]
        for value in [cookie, offset] { withUnsafeBytes(of: value.bigEndian) { bytes += $0 } }
        withUnsafeBytes(of: length.bigEndian) { bytes += $0 }
        return bytes
    }

    func write(_ bytes: [UInt8], at offset: UInt64, cookie: UInt64 = 0) throws {
        try connection.send(Self.header(.write, at: offset, UInt32(bytes.count), cookie: cookie) + bytes)
    }

    /// Takes a reply, which has to be a success with so many bytes of data.
    ///
    /// - Returns: its cookie.
    @discardableResult
    func reply(_ dataBytes: Int = 0) throws -> UInt64 {
        let header = try connection.receive(16)
        try #require(Array(header[..<8]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0])
        _ = try connection.receive(dataBytes)
        return header[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads, and waits for what was read.
    func read(at offset: UInt64, _ length: UInt32) throws -> [UInt8] {
        try request(.read, at: offset, length)
        return try data(length)
    }

    /// The data of a READ that was sent.
    func data(_ length: UInt32) throws -> [UInt8] {
        let header = try connection.receive(16)
        try #require(Array(header[..<8]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0])
        return try connection.receive(Int(length))
    }
}
