// Memory that stays, and a thread that never waits for its own disk: mlockall(2), prctl(2) PR_SET_IO_FLUSHER.

import CSeccomp
import Glibc

/// For a server whose clients are on the same machine: the kernel writes to the drive in order to get memory, and must
/// not have to wait for the server to get some.
public enum MemoryLock {
    /// Keeps all memory of the process in memory, and what comes later from its first use on. Called early: all that
    /// is mapped by then is read in as a whole, which of an image in memory would be too much.
    ///
    /// - Parameter identity: who the process is going to be, and has to be able to lock more as; nil for no change.
    public static func lock(for identity: Identity?) throws(SandboxError) {
        let unlimited = rlim_t.max
        var limit = rlimit(rlim_cur: unlimited, rlim_max: unlimited)
        let resource = __rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue)
        if unsafe setrlimit(resource, &limit) != 0 {
            guard unsafe getrlimit(resource, &limit) == 0 else { throw .refused("getrlimit", errno: errno) }
            // For root there may be no limit nevertheless (CAP_IPC_LOCK).
            guard geteuid() == 0, identity == nil else { throw .lockedMemory(limitBytes: UInt64(limit.rlim_max)) }
        }
        // In this order: the flag that waits for the first use would hold for both.
        guard mlockall(MCL_CURRENT) == 0, mlockall(MCL_FUTURE | Int32(LINUX_MCL_ONFAULT)) == 0 else {
            throw .lockedMemory(limitBytes: UInt64(limit.rlim_max))
        }
    }

    /// Makes this thread and those it starts IO_FLUSHERs: when the kernel has to find memory for one of them, it does
    /// not write to any disk for it, since this might be the very drive that they serve.
    ///
    /// - Returns: false without CAP_SYS_RESOURCE, which this takes.
    public static func becomeFlusher() -> Bool {
        set_process_option(Int32(LINUX_PR_SET_IO_FLUSHER), 1) == 0
    }
}
