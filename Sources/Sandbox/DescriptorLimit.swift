// How many files and sockets the process may have: getrlimit(2) RLIMIT_NOFILE.

import Glibc

/// The limit of open descriptors.
public enum DescriptorLimit {
    /// Raises the limit as far as the process may.
    ///
    /// - Returns: the limit; nil where nobody knows it.
    @discardableResult
    public static func raise() -> Int? {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0 else { return nil }
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(resource, &limit)
        return Int(clamping: limit.rlim_max)
    }
}
