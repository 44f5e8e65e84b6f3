// Clients that were there before the server.

import Foundation
import Listening
import Support
import Testing

@testable import Loop
@testable import Server

@Suite struct StartTests {
    /// A socket that already listens, with clients waiting: the loop that accepts hands them to loops that are ready.
    @Test func clientsThatWaitedForTheServer() throws {
        let folder = try TemporaryFolder()
        let listener = try Listener.open(.unix(path: folder.path + "/s"))[0]
        defer { listener.close() }
        let clients = try (0..<24).map { _ in try RawConnection(unix: folder.path + "/s") }
        let nothing = FileHandle.nullDevice.fileDescriptor
        let server = try BoundProcess(
            Program.spindle.path, ["serve", "--listen", "fd:0", "--threads", "8", "null:1M"],
            input: listener.descriptor, output: nothing, errors: nothing)
        defer { server.end() }
        for (number, client) in clients.enumerated() {
            #expect(throws: Never.self, "client \(number)") { try client.receive(18) }
        }
    }
}
