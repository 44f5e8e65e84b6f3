// Clients that others wrote, all at once, while the power goes, servers are killed, and overlays are reverted.

import Foundation
import Support
import Testing

@Suite struct TortureTests {
    /// Each kind of image has a life of its own. `Tests/Interop/torture` says what is checked.
    @Test func nothingIsLostThatNoDriveMayLose() throws {
        let folder = try TemporaryFolder()
        let script = URL(fileURLWithPath: #filePath).appendingPathComponent("../../Interop/torture").standardized.path
        let said = try run("python3", [script, Program.spindle.path, "--seconds", "72"], in: folder, limitSeconds: 400)
        #expect(said.contains("nothing lost"), "\(said)")
    }

    /// A full file system, failing reads, writes and flushes: requests fail, and nothing that was answered is lost.
    @Test(.enabled(if: FaultyFile.canBeMade, "only root may mount")) func aFailingHostLosesNothingElse() throws {
        let folder = try TemporaryFolder()
        let script = URL(fileURLWithPath: #filePath).appendingPathComponent("../../Interop/torture").standardized.path
        let said = try run(
            "python3", [script, Program.spindle.path, "--faults", "--seconds", "42"], in: folder, limitSeconds: 400)
        #expect(said.contains("nothing lost"), "\(said)")
    }
}
