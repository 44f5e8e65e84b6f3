// Linux's processes beyond POSIX: names that Swift's Glibc module leaves out. prctl(2), sched_getaffinity(2).

import CLibURing
import Glibc

/// Linux's own calls for processes.
public enum LinuxProcess {
    /// How many processors the calling thread may run on (sched_getaffinity(2)): all, unless taskset(1), a container or
    /// systemd's `CPUAffinity=` says otherwise.
    public static var processorCount: Int {
        var mask = [UInt64](repeating: 0, count: 256)
        let byteCount = unsafe mask.withUnsafeMutableBytes {
            unsafe linux_processor_mask($0.baseAddress, UInt($0.count))
        }
        guard byteCount > 0 else { return max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
        return max(1, mask.reduce(0) { $0 + $1.nonzeroBitCount })
    }

    /// The memory of the machine (sysconf(3)).
    public static var machineBytes: UInt64 {
        UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, getpagesize()))
    }

    /// `PR_SET_PDEATHSIG`: sends this process a signal when the thread that started it ends. It says nothing of a
    /// parent that has ended before.
    ///
    /// - Returns: 0, or the errno of the failure.
    public static func signalAtParentsEnd(_ number: Int32) -> Int32 {
        linux_signal_at_parents_end(number) == 0 ? 0 : errno
    }
}
