// How the tests themselves run programs: nothing that a program has started makes a test wait, or is left behind.

import Foundation
import Support
import Testing

@Suite struct ProgramLimitTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// What a program leaves behind has its output, and all else that it had open.
    @Test func aDescendantThatGoesOnIsNotWaitedFor() throws {
        let result = try Program.tool("sh").run(["-c", "sleep 1000 & echo $!; exit 3"], in: folder, limitSeconds: 20)
        let descendant = try #require(Int32(result.text.filter(\.isNumber)))
        defer { kill(descendant, SIGKILL) }
        #expect(result.status == 3)
        #expect(!hasEnded(descendant))
    }

    @Test func atTheLimitAllOfItEnds() throws {
        let script = "sleep 1000 & echo $! > \(folder.path)/descendant; wait"
        let failure = try #require(throws: ProgramFailure.self) {
            try Program.tool("sh").run(["-c", script], in: folder, limitSeconds: 0.5)
        }
        #expect(failure.description.contains("was still running after 0.5 s"), "\(failure)")
        let descendant = try String(contentsOfFile: folder.path + "/descendant", encoding: .utf8)
        let number = try #require(Int32(descendant.filter(\.isNumber)))
        try waitUntil("what it has started has ended") { hasEnded(number) }
    }

    @Test func howProgramsEnd() throws {
        #expect(try Program.tool("sh").run(["-c", "kill -9 $$"], in: folder).status == 128 + SIGKILL)
        // Nothing but the standard streams is open in them, and no signal is blocked or ignored.
        let state = try Program.tool("sh").run(
            ["-c", "ls /proc/$$/fd; exec grep Sig[BI] /proc/self/status"], in: folder)
        #expect(state.text.split(separator: "\n").prefix { !$0.hasPrefix("Sig") } == ["0", "1", "2"])
        let masks = state.text.split(separator: "\n").compactMap { line in
            line.hasPrefix("Sig") ? UInt64(line.split(separator: "\t")[1], radix: 16) : nil
        }
        // 32 and 33 are the C library's own.
        #expect(masks.count == 2 && masks.allSatisfy { $0 & 0x7FFF_FFFF == 0 }, "\(masks)")
    }
}
