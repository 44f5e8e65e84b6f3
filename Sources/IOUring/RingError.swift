// Why a ring could not be made, in words that say what to do about it.

import Glibc

/// A ring could not be set up or used.
public enum RingError: Error, Equatable, CustomStringConvertible {
    /// `io_uring_setup` failed with this errno.
    case setup(errno: Int32, disabled: Int)
    /// The kernel's io_uring lacks operations that Spindle needs.
    case operationsMissing([String])
    /// The ring cannot be registered with itself, or a buffer ring with it; the errno.
    case registration(errno: Int32)
    /// Memory for buffers could not be mapped; the errno and the size asked for.
    case memory(errno: Int32, byteCount: Int)
    /// A descriptor that a ring is used with could not be had; the errno.
    case descriptor(errno: Int32)
    /// `io_uring_enter` failed with this errno.
    case enter(errno: Int32)

    /// The mistake and the right way.
    public var description: String {
        switch self {
        case .setup(_, let disabled) where disabled > 0:
            return "io_uring is disabled on this machine: kernel.io_uring_disabled=\(disabled); "
                + "'sysctl kernel.io_uring_disabled=0' enables it"
        case .setup(ENOSYS, _), .setup(EPERM, _):
            return "io_uring is not available: the kernel lacks it, or a seccomp filter (a container's, say) forbids it"
        case .setup(EINVAL, _):
            return "this kernel's io_uring is too old: Linux 6.1 or later is needed"
        case .setup(ENOMEM, _):
            return "no memory for an io_uring: raise the locked-memory limit (ulimit -l)"
        case .setup(EMFILE, _), .descriptor(EMFILE):
            return
                "no descriptor for a loop: \(errorText(EMFILE)); RLIMIT_NOFILE is the limit: LimitNOFILE= (systemd) or "
                + "'ulimit -n' raises it"
        case .setup(let code, _):
            return "io_uring cannot be set up: \(errorText(code))"
        case .operationsMissing(let names):
            return "this kernel's io_uring lacks \(names.joined(separator: ", ")): Linux 6.1 or later is needed"
        case .registration(let code):
            return "io_uring refuses a registration: \(errorText(code))"
        case .memory(let code, let byteCount):
            return "cannot map \(byteCount) bytes for buffers: \(errorText(code))"
        case .descriptor(let code):
            return "no descriptor for a loop: \(errorText(code))"
        case .enter(let code):
            return "io_uring_enter failed: \(errorText(code))"
        }
    }
}

/// The C library's words for an errno value.
public func errorText(_ code: Int32) -> String {
    unsafe String(cString: strerror(code))
}
