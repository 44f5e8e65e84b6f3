// Socket options that are numbers: getsockopt(2), setsockopt(2).

import Glibc

/// A socket's options.
public enum SocketOption {
    /// Sets an option; one that the kernel does not know stays as it is.
    public static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, to value: Int32) {
        var value = value
        unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// The value of an option; nil and errno if there is none.
    public static func value(_ descriptor: Int32, _ level: Int32, _ option: Int32) -> Int32? {
        values(descriptor, level, option, count: 1)?[0]
    }

    /// The value of an option that is several numbers of 32 bits; nil and errno if there is none.
    static func values(_ descriptor: Int32, _ level: Int32, _ option: Int32, count: Int) -> [Int32]? {
        var values = [Int32](repeating: 0, count: count)
        var length = socklen_t(count * MemoryLayout<Int32>.size)
        return unsafe getsockopt(descriptor, level, option, &values, &length) == 0 ? values : nil
    }
}
