// The filter for system calls: seccomp(2), by libseccomp (seccomp_rule_add(3)).

import CSeccomp
import Glibc

/// An allow-list, in force on all threads of the process once it is loaded.
enum SystemCallFilter {
    /// The fate of a system call that no rule allows.
    enum Action {
        /// SECCOMP_RET_KILL_PROCESS: SIGSYS, which cannot be caught.
        case killProcess
        /// SECCOMP_RET_LOG: allowed, and noted in the kernel's log.
        case log

        fileprivate var value: UInt32 {
            switch self {
            case .killProcess: SCMP_ACT_KILL_PROCESS
            case .log: SCMP_ACT_LOG
            }
        }
    }

    /// The numbers from this one on are of system calls that came after Linux 6.1, the oldest kernel that Spindle runs
    /// on; all architectures share them.
    private static let newerThanLinux61: ClosedRange<Int32> = 451...600

    /// Loads the filter.
    static func load(
        otherwise action: Action, command: pid_t?, datagrams: Int32?, exchangesFiles: Bool
    ) throws(SandboxError) {
        guard let context = unsafe seccomp_init(action.value) else { throw .refused("seccomp_init", errno: ENOMEM) }
        defer { unsafe seccomp_release(context) }
        let rules = unsafe FilterRules(context: context)
        // SCMP_FLTATR_CTL_TSYNC: threads that run already, too. Calls by another architecture's numbers are no
        // exception.
        let synchronized = unsafe seccomp_attr_set(context, SCMP_FLTATR_CTL_TSYNC, 1)
        guard synchronized == 0 else { throw .noFilter(errno: -synchronized) }
        unsafe rules.check(seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, action.value))
        // A binary tree in place of a list.
        unsafe rules.check(seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2))
        for name in SystemCalls.allowed { rules.allow(name) }
        if let command {
            for name in SystemCalls.forCommands { rules.allow(name) }
            rules.allow("kill", [rules.equal(0, UInt64(UInt32(bitPattern: command)))])
        }
        for name in SystemCalls.forExchanges {
            if exchangesFiles { rules.allow(name) } else { rules.refuse(name, EACCES) }
        }
        addConditionalRules(rules)
        addSocketRules(rules, datagrams: datagrams)
        for number in newerThanLinux61 { rules.refuse(number, ENOSYS) }
        let result = unsafe seccomp_load(context)
        guard result == 0 else {
            throw result == -EINVAL || result == -EOPNOTSUPP
                ? .noFilter(errno: -result) : .refused("seccomp", errno: -result)
        }
    }

    /// Calls that are allowed with some arguments, and those that have a natural way of saying no: libraries that try
    /// them go on without.
    private static func addConditionalRules(_ rules: FilterRules) {
        let ownProcess = UInt64(getpid())
        rules.allow("kill", [rules.equal(0, ownProcess)])
        rules.allow("tgkill", [rules.equal(0, ownProcess)])
        // A thread, not a process. The flags of clone3(2) are in memory, where a filter cannot read: Glibc takes
        // clone(2) where it does not exist.
        rules.allow("clone", [rules.bits(0, UInt64(SystemCalls.cloneThread), are: true)])
        rules.refuse("clone3", ENOSYS)
        // Memory is never writable and executable at the same time, nor one after the other.
        rules.allow("mmap", [rules.bits(2, UInt64(PROT_WRITE), are: false)])
        rules.allow("mmap", [rules.bits(2, UInt64(PROT_EXEC), are: false)])
        rules.refuse("mmap", EACCES, [rules.bits(2, UInt64(PROT_WRITE | PROT_EXEC), are: true)])
        rules.allow("mprotect", [rules.bits(2, UInt64(PROT_EXEC), are: false)])
        rules.refuse("mprotect", EACCES, [rules.bits(2, UInt64(PROT_EXEC), are: true)])
        // prlimit64(2) with a null pointer only asks.
        rules.allow("prlimit64", [rules.bits(2, UInt64.max, are: false)])
        rules.allow("ioctl", argument: 1, SystemCalls.controlRequests, otherwise: ENOTTY)
        rules.allow("prctl", argument: 0, SystemCalls.processOptions, otherwise: EINVAL)
        rules.allow("fcntl", argument: 1, SystemCalls.fileCommands, otherwise: EINVAL)
    }

    /// Sockets are those that there are, and clients': nothing is sent to anybody else. Libraries that try learn that
    /// they may not.
    private static func addSocketRules(_ rules: FilterRules, datagrams: Int32?) {
        for name in SystemCalls.refusedForSockets { rules.refuse(name, EACCES) }
        // No address, and no connection that begins with the data.
        let fastOpen = SystemCalls.fastOpen
        let plain = rules.bits(3, fastOpen, are: false)
        rules.allow("sendto", [plain, rules.bits(4, UInt64.max, are: false)])
        rules.refuse("sendto", EACCES, [rules.bits(3, fastOpen, are: true)])
        rules.refuse("sendto", EACCES, [plain, rules.isNot(4, 0)])
        // The address of sendmsg(2) is in memory, where a filter cannot read. A stream that is connected, or listens,
        // takes none; a socket for datagrams does, so it has no sendmsg(2), nor another number (dup(2)).
        if let datagrams { rules.refuse("sendmsg", EACCES, [rules.equal(0, UInt64(UInt32(bitPattern: datagrams)))]) }
        rules.allow("sendmsg", [rules.anyOther(0), rules.bits(2, fastOpen, are: false)])
        rules.refuse("sendmsg", EACCES, [rules.anyOther(0), rules.bits(2, fastOpen, are: true)])
    }
}

/// Adds rules to a filter; a rule that libseccomp refuses is a mistake of this room.
@safe private struct FilterRules {
    let context: scmp_filter_ctx

    func allow(_ name: String, _ conditions: [scmp_arg_cmp] = []) {
        add(SCMP_ACT_ALLOW, Self.number(name), conditions)
    }

    func refuse(_ name: String, _ code: Int32, _ conditions: [scmp_arg_cmp] = []) {
        refuse(Self.number(name), code, conditions)
    }

    func refuse(_ number: Int32, _ code: Int32, _ conditions: [scmp_arg_cmp] = []) {
        // SCMP_ACT_ERRNO
        add(0x0005_0000 | UInt32(code), number, conditions)
    }

    /// Allows a call with some values of an argument. Any other gets an error: the C library asks the kernel for all
    /// kinds of things, depending on what it was given, and goes on without.
    func allow(_ name: String, argument: UInt32, _ values: [UInt64], otherwise code: Int32) {
        for value in values { allow(name, [equal(argument, value)]) }
        refuse(name, code, [anyOther(argument)])
    }

    /// Always holds, and is looked at after all that ``equal(_:_:)`` says of the same argument: that is libseccomp's
    /// order. (A rule without conditions would take the place of those that have some.)
    func anyOther(_ argument: UInt32) -> scmp_arg_cmp {
        scmp_arg_cmp(arg: argument, op: SCMP_CMP_GE, datum_a: 0, datum_b: 0)
    }

    /// An argument that is an `int` is a value: the upper half of its register means nothing.
    func equal(_ argument: UInt32, _ value: UInt64) -> scmp_arg_cmp {
        scmp_arg_cmp(arg: argument, op: SCMP_CMP_MASKED_EQ, datum_a: UInt64(UInt32.max), datum_b: value)
    }

    /// An argument of 64 bits is another one.
    func isNot(_ argument: UInt32, _ value: UInt64) -> scmp_arg_cmp {
        scmp_arg_cmp(arg: argument, op: SCMP_CMP_NE, datum_a: value, datum_b: 0)
    }

    /// All bits of the mask are set in an argument, or none of them is.
    func bits(_ argument: UInt32, _ mask: UInt64, are set: Bool) -> scmp_arg_cmp {
        scmp_arg_cmp(arg: argument, op: SCMP_CMP_MASKED_EQ, datum_a: mask, datum_b: set ? mask : 0)
    }

    func check(_ result: Int32) {
        precondition(result == 0, "libseccomp refuses a rule: \(result)")
    }

    /// The number of a call on this architecture; negative if it has none: not every architecture has open(2).
    private static func number(_ name: String) -> Int32 {
        unsafe seccomp_syscall_resolve_name(name)
    }

    private func add(_ action: UInt32, _ number: Int32, _ conditions: [scmp_arg_cmp]) {
        guard number >= 0 else { return }
        unsafe check(seccomp_rule_add_array(context, action, number, UInt32(conditions.count), conditions))
    }
}
