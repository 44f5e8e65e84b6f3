// The tests' promises about themselves: a trap is one test's failure, and a run that is cut off leaves no program
// behind.

import Foundation
import Support
import Synchronization
import Testing
import Threads

@testable import Loop
@testable import Server

@Suite struct TrapTests {
    /// The signals of a Swift trap, by processor.
    @Test(arguments: [SIGILL, SIGTRAP, SIGSEGV]) func aLoopThatTrapsStopsAlone(signal: Int32) throws {
        let guarded = TestWatch.Guarded()
        pthread_detach(
            startThread {
                TestWatch.guardThread(guarded)
                raise(signal)
            })
        try waitUntil("the thread has stopped") { guarded.signal.load(ordering: .sequentiallyConsistent) == signal }
    }

    /// The first test that needs it makes it, and does not hang because the others take long.
    @Test func aFolderOfAllTestsMayBeThereForLong() throws {
        let folders = [try TemporaryFolder(), try TemporaryFolder.ofAllTests()]
        #expect(folders.map { FileManager.default.fileExists(atPath: $0.path) } == [true, true])
        #expect(folders.map { TestWatch.isWatched($0.path) } == [true, false])
    }

    /// PR_GET_PDEATHSIG (prctl(2)), seen from a program that a test has started.
    @Test func aProgramOfATestEndsWithTheTests() throws {
        let script = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
        let result = try Program.tool("python3").run(["-c", script], in: try TemporaryFolder())
        #expect(result.text == "\(SIGKILL)\n", "\(result.errors)")
    }
}
