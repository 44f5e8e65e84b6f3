// Memory that costs nothing until it is touched: mmap(2), madvise(2).

import Glibc

/// Maps anonymous zeroed memory; pages count as used only once they are touched.
public func mapMemory(byteCount: Int) throws(RingError) -> UnsafeMutableRawPointer {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    let memory = unsafe mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
        throw .memory(errno: errno, byteCount: byteCount)
    }
    return unsafe memory
}

/// Gives the whole pages of a range back to the kernel; they read as zeroes then.
public func trimMemory(_ start: UnsafeMutableRawPointer, byteCount: Int) {
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    let first = (UInt(bitPattern: start) + page - 1) / page * page
    let end = (UInt(bitPattern: start) + UInt(byteCount)) / page * page
    guard first < end, let place = unsafe UnsafeMutableRawPointer(bitPattern: first) else { return }
    unsafe madvise(place, Int(end - first), MADV_DONTNEED)
}
