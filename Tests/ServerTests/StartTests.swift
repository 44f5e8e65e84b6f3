// Clients that were there before the server.

import Foundation
import Support
import Testing

@testable import Server

@Suite struct StartTests {
    /// A socket that already listens, with clients waiting: the loop that accepts hands them to loops that are ready.
    @Test func clientsThatWaitedForTheServer() throws {
        let folder = try TemporaryFolder()
        let listener = try Listener.open(.unix(path: folder.path + "/s"))[0]
        defer { listener.close() }
        let clients = try (0..<24).map { _ in try RawConnection(unix: folder.path + "/s") }
        let server = Process()
        server.executableURL = URL(fileURLWithPath: Program.spindle.path)
        server.arguments = ["serve", "--listen", "fd:0", "--threads", "8", "null:1M"]
        server.standardInput = FileHandle(fileDescriptor: listener.descriptor, closeOnDealloc: false)
        server.standardOutput = FileHandle.nullDevice
        try server.run()
        defer {
            server.terminate()
            server.waitUntilExit()
        }
        for (number, client) in clients.enumerated() {
            #expect(throws: Never.self, "client \(number)") { try client.receive(18) }
        }
    }
}
