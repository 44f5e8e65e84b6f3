// Exports that are removed while the file system of another one does not answer.

import Foundation
import Support
import Testing

@Suite(.enabled(if: FaultyFile.canBeMade, "only root may mount"))
struct StuckExportTests {
    /// The image of one is not closed for as long as its file system hangs; that of the other one is, at once. At the
    /// end, the server says which was not.
    @Test func oneThatIsStuckKeepsNoOtherFromBeingClosed() throws {
        let stuck = try FaultyFile(content: [UInt8](repeating: 7, count: 1 << 20))
        defer { stuck.goOn() }
        let folder = try TemporaryFolder(onDisk: true)
        let other = try folder.file("other.img", sizeBytes: 1 << 20)
        let server = try ControlledServer(
            ["--shutdown-seconds", "1", "stuck=\(stuck.path)", "other=\(other)"], in: folder)
        stuck.hang()
        let removal = try RunningProgram(
            .spindle, ["ctl", "--control", "unix:" + server.socketPath, "remove", "stuck"], in: folder)
        try removal.wait("to remove the export") { try !server.control("list").contains("stuck") }
        try server.control("remove", "other")
        #expect(removal.isRunning)
        stuck.goOn()
        #expect(try removal.stop(signal: 0) == 0, "\(removal.errors)")
        #expect(try server.server.stop() == 0, "\(server.server.log)")
    }
}
