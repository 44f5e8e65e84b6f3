// What Linux knows of processes beyond POSIX, which Swift's Glibc module leaves out. prctl(2).

import CLibURing
import Glibc

/// Linux's own calls for processes.
public enum LinuxProcess {
    /// `PR_SET_PDEATHSIG`: sends this process a signal when the thread that started it ends. It says nothing of a parent
    /// that has ended before.
    ///
    /// - Returns: 0, or the errno of the failure.
    public static func signalAtParentsEnd(_ number: Int32) -> Int32 {
        linux_signal_at_parents_end(number) == 0 ? 0 : errno
    }
}
