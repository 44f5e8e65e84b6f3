// What the tests of the ring share: waiting with a limit, sockets, files.

import Glibc
import IOUring
import SimulatedKernel
import Synchronization
import Testing

/// Something did not come in time.
struct Late: Error, CustomStringConvertible {
    var description: String
}

/// The user data of timeouts that guard ``Ring/next(_:)`` begin here.
private let firstGuardian: UInt64 = 1 << 63
private let guardians = Atomic<UInt64>(0)

/// Who performs a ring's operations.
enum RingKind: CaseIterable {
    case kernel
    /// A script that does so as soon as somebody waits.
    case script

    func ring(entries: UInt32, completions: UInt32) throws -> Ring {
        switch self {
        case .kernel: return try Ring(entries: entries, completions: completions)
        case .script:
            let kernel = try SimulatedKernel(seed: .random(in: 0 ... .max))
            kernel.isEager = true
            return Ring(entries: entries, completions: completions, kernel: kernel)
        }
    }
}

extension Ring {
    /// Waits for so many completions, at most ten seconds for all of them.
    mutating func next(_ count: Int) throws -> [Completion] {
        var found: [Completion] = []
        let limit = IOUring.Duration(milliseconds: 10_000)
        let guardian = firstGuardian + guardians.add(1, ordering: .relaxed).newValue
        timeout(limit, userData: guardian)
        var isLate = false
        while found.count < count && !isLate {
            try submitAndWait(1)
            while completionsReady > 0 && found.count < count {
                let completion = completion(at: 0)
                releaseCompletions(1)
                isLate = isLate || completion.userData == guardian
                // Guardians of earlier calls come when they come.
                if completion.userData < firstGuardian { found.append(completion) }
            }
        }
        guard !isLate else { throw Late(description: "\(found.count) of \(count) completions came in time: \(found)") }
        return found
    }

    /// Waits for one completion.
    mutating func next() throws -> Completion {
        try next(1)[0]
    }
}

/// Two connected stream sockets, closed at the end.
final class SocketPair {
    let one: Int32
    let other: Int32

    init() throws {
        var descriptors: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0)
        one = descriptors[0]
        other = descriptors[1]
    }

    deinit {
        close(one)
        close(other)
    }

    /// Sends bytes from `other` to `one`, waiting until they are all taken.
    func sendFromOther(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { send(other, $0.baseAddress! + sent, bytes.count - sent, 0) }
            precondition(count > 0)
            sent += count
        }
    }

    /// The other end is gone for `one`.
    func shutOther() {
        shutdown(other, Int32(SHUT_RDWR))
    }
}

/// A file without a name.
final class NamelessFile {
    let descriptor: Int32

    init(_ bytes: [UInt8] = []) throws {
        var path = Array("/tmp/spindle-ring-XXXXXX".utf8CString)
        descriptor = mkstemp(&path)
        try #require(descriptor >= 0)
        unlink(path)
        try #require(pwrite(descriptor, bytes, bytes.count, 0) == bytes.count)
    }

    deinit { close(descriptor) }
}

/// Bytes that do not repeat soon.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
}
