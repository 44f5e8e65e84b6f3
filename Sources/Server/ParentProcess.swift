// A server that does not outlive its starter: `--exit-with-parent`, prctl(2).

import Glibc
import IOUring

/// The process that started this one. (To the kernel it is the thread that did.)
public struct ParentProcess: Sendable {
    private let process: pid_t

    /// Finds it: the earlier, the less time it has to end unseen.
    public init() throws(ParentError) {
        process = getppid()
        // A process whose parent has ended has another one, in most cases process 1, which outlives all others.
        guard process != 1 else { throw .gone }
    }

    /// Ends this process with it, as SIGTERM does. The kernel forgets this when this process becomes another user.
    public func endTogether() throws(ParentError) {
        let code = LinuxProcess.signalAtParentsEnd(SIGTERM)
        guard code == 0 else { throw .refused(reason: errorText(code)) }
        guard getppid() == process else { throw .gone }
    }
}

/// Why a server cannot end with its parent.
public enum ParentError: Error, CustomStringConvertible {
    /// It has ended already.
    case gone
    /// The kernel does not want to tell.
    case refused(reason: String)

    /// The failure.
    public var description: String {
        switch self {
        case .gone: "--exit-with-parent: the parent process has ended already, or is process 1, which never does"
        case .refused(let reason): "--exit-with-parent: the kernel does not tell when the parent ends: \(reason)"
        }
    }
}
