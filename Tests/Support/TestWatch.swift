// Which tests are running, for when one of them does not end, or takes the process with it: then its name is the last
// thing that is said, and not nothing.

import Foundation
import Glibc
import Synchronization
import Testing

/// Tests that have something under way: a folder, loops. All that is said here is said by write(2) from memory that was
/// filled before, so that it works in a process of which no lock can be trusted any more.
public enum TestWatch {
    /// A test that has something under way for longer than this hangs. The longest takes a minute on a busy machine.
    static let limitSeconds = 600
    private static let capacity = 512

    /// A test that is running: its name for write(2), and since when; no name is a free place.
    private struct Place {
        var name: UnsafeMutablePointer<CChar>?
        var since = 0
    }

    private struct State: @unchecked Sendable {
        let places: UnsafeMutablePointer<Place>
        var ended = 0
    }

    private static let state = Mutex(begin())
    private nonisolated(unsafe) static var places: UnsafeMutablePointer<Place>?
    private nonisolated(unsafe) static var trapKey = pthread_key_t()
    private static let signals = [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT]

    /// The calling test begins with something that it ends.
    ///
    /// - Returns: what ``end(_:)`` has to be told.
    static func begin(_ what: String) -> Int {
        state.withLock { state in
            let name = strdup("\(testName) (\(what))")
            for number in 0..<capacity where state.places[number].name == nil {
                state.places[number] = Place(name: name, since: now)
                return number
            }
            free(name)
            return -1
        }
    }

    /// It has ended.
    static func end(_ number: Int) {
        guard number >= 0 else { return }
        state.withLock { state in
            // Left in memory: a handler may be reading it.
            state.places[number].name = nil
            state.ended += 1
        }
    }

    /// Whether the run ends when this takes too long.
    public static func isWatched(_ what: String) -> Bool {
        state.withLock { state in
            UnsafeBufferPointer(start: state.places, count: capacity).contains { place in
                place.name.map { String(cString: $0).hasSuffix(" (\(what))") } ?? false
            }
        }
    }

    /// The calling test, and where it stands.
    public static var testName: String {
        guard let test = Test.current else { return "a test" }
        return "\(test.sourceLocation.fileName):\(test.sourceLocation.line) \(test.name)"
    }

    private static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec
    }

    private static func begin() -> State {
        let memory = UnsafeMutablePointer<Place>.allocate(capacity: capacity)
        memory.initialize(repeating: Place(), count: capacity)
        places = memory
        pthread_key_create(&trapKey, nil)
        for signal in signals {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = trapped
            // The second one, after it is said who ran, ends the process as it would have.
            action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_NODEFER
            sigaction(signal, &action, nil)
        }
        Thread.detachNewThread { watch() }
        return State(places: memory)
    }

    private static func watch() {
        while true {
            sleep(5)
            let late = state.withLock { state in
                UnsafeBufferPointer(start: state.places, count: capacity).first {
                    $0.name != nil && now - $0.since > limitSeconds
                }
            }
            guard let name = late?.name else { continue }
            say("\nThis test hangs, so that the run ends here: ")
            say(name)
            sayRunning()
            _exit(1)
        }
    }

    fileprivate static func say(_ text: StaticString) {
        _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
    }

    fileprivate static func say(_ text: UnsafePointer<CChar>) {
        _ = write(STDERR_FILENO, text, strlen(text))
    }

    fileprivate static func sayRunning() {
        say("\nTests that were running:\n")
        for number in 0..<capacity {
            guard let name = places?[number].name else { continue }
            say("  ")
            say(name)
            say("\n")
        }
    }
}

/// Loops, which run on threads of the tests' process: what traps on one of them fails its test, and leaves the others
/// alone.
extension TestWatch {
    /// The facts about a thread that may trap.
    public final class Guarded: Sendable {
        /// The signal that it got instead of going on; 0: none.
        public let signal = Atomic<Int32>(0)
        nonisolated(unsafe) fileprivate let name: UnsafeMutablePointer<CChar>

        /// A thread of the calling test.
        public init() {
            name = strdup(TestWatch.testName)
            // Now is the time to allocate.
            TestWatch.end(TestWatch.begin("loops"))
        }
    }

    /// From now on a trap of the calling thread stops this thread, for ever, instead of ending the process.
    public static func guardThread(_ guarded: Guarded) {
        pthread_setspecific(trapKey, Unmanaged.passRetained(guarded).toOpaque())
    }

    private static let trapped: @convention(c) (Int32) -> Void = { number in
        guard let thread = pthread_getspecific(trapKey) else {
            say("\nThe process of the tests has got a signal that ends it.")
            sayRunning()
            // The instruction that has trapped does so again.
            if number == SIGABRT { raise(number) }
            return
        }
        let guarded = Unmanaged<Guarded>.fromOpaque(thread).takeUnretainedValue()
        guarded.signal.store(number, ordering: .sequentiallyConsistent)
        say("\nA loop has trapped in ")
        say(guarded.name)
        say("\n")
        // The next trap of another loop is to be handled, too.
        var action = sigaction()
        action.__sigaction_handler.sa_handler = trapped
        action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_NODEFER
        sigaction(number, &action, nil)
        while true { pause() }
    }
}
