// System calls of a serving process, by the names of syscalls(2). Calls that reach files by name are here, too:
// Landlock limits the files.

/// The names and arguments that the filter allows.
enum SystemCalls {
    /// Allowed with any arguments.
    static let allowed = memory + threads + time + signals + events + sockets + files + questions

    /// Memory. mmap(2) and mprotect(2) are allowed with conditions.
    private static let memory = [
        "brk", "madvise", "membarrier", "mincore", "mlock", "mlock2", "mremap", "msync", "munlock", "munmap",
    ]

    /// Threads of this process and their end. clone(2) is allowed with conditions.
    private static let threads = [
        "exit", "exit_group", "futex", "futex_waitv", "get_robust_list", "getcpu", "gettid", "restart_syscall", "rseq",
        "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
        "sched_getscheduler", "sched_setaffinity", "sched_yield", "set_robust_list", "set_tid_address",
    ]

    /// Clocks and timers.
    private static let time = [
        "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep", "time",
        "timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
    ]

    /// Signals that arrive. Sending some to itself is allowed with conditions.
    private static let signals = [
        "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
        "sigaltstack", "signalfd", "signalfd4",
    ]

    /// Waiting. io_uring_setup(2) is missing: the rings exist, and what they may do is limited (`Ring`).
    private static let events = [
        "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
        "eventfd2",
        "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_uring_enter", "io_uring_register",
        "pipe", "pipe2", "poll", "ppoll", "pselect6", "select",
    ]

    /// Sockets that there are. sendto(2) and sendmsg(2) are allowed with conditions.
    private static let sockets = [
        "accept", "accept4", "getpeername", "getsockname", "getsockopt", "recvfrom", "setsockopt", "shutdown",
    ]

    /// Ways to new sockets, to new addresses of those that there are, to others' descriptors, and to a second number of
    /// one.
    static let refusedForSockets = [
        "bind", "connect", "dup", "dup2", "dup3", "listen", "recvmmsg", "recvmsg", "sendmmsg", "socket", "socketpair",
    ]

    /// `MSG_FASTOPEN` of send(2): connects.
    static let fastOpen: UInt64 = 0x2000_0000

    /// Commands of fcntl(2): F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_OFD_GETLK, F_OFD_SETLK,
    /// F_SETPIPE_SZ, F_GETPIPE_SZ. F_DUPFD is missing.
    static let fileCommands: [UInt64] = [1, 2, 3, 4, 5, 6, 36, 37, 1031, 1032]

    /// Files. There are no calls that change owners, modes or names, or make anything but files and sockets, and no
    /// ftruncate(2): a file is never shortened.
    private static let files = [
        "access", "close", "close_range", "copy_file_range", "faccessat", "faccessat2",
        "fadvise64",
        "fallocate", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "getcwd", "getdents",
        "getdents64", "lseek", "lstat", "newfstatat", "open", "openat", "pread64", "preadv", "preadv2", "pwrite64",
        "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "sendfile", "splice", "stat",
        "statfs", "statx", "sync_file_range", "syncfs", "umask", "unlink", "unlinkat", "write", "writev",
    ]

    /// Questions of the process about itself and the system.
    private static let questions = [
        "capget", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getpriority",
        "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "getuid", "sysinfo", "uname",
    ]

    /// For a server whose overlays' files may get other names. Elsewhere an operator may ask for that, too, and is
    /// told.
    static let forExchanges = ["link", "linkat", "rename", "renameat", "renameat2"]

    /// For a server that waits for the command it has started.
    static let forCommands = ["pidfd_open", "wait4", "waitid"]

    /// `CLONE_THREAD` of clone(2).
    static let cloneThread: UInt64 = 0x0001_0000

    /// Requests of ioctl(2). TIOCSTI, which types on the terminal of who started the server, is one that is missing.
    static let controlRequests: [UInt64] = [
        0x5401, 0x802C_542A,  // TCGETS, TCGETS2: is this a terminal?
        0x541B, 0x5421, 0x5450, 0x5451,  // FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
        0x125E, 0x1268, 0x127B, 0x8008_1272,  // BLKROGET, BLKSSZGET, BLKPBSZGET, BLKGETSIZE64
    ]

    /// Options of prctl(2): PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA.
    static let processOptions: [UInt64] = [1, 3, 15, 16, 0x5356_4D41]
}
