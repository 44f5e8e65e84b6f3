// Opening an image: what it is, how big, what its file system can do.

import Glibc
import IOUring

extension Medium {
    /// An image in memory, all zeroes.
    public init(memoryOfSize sizeBytes: UInt64, readOnly: Bool) throws(MediumError) {
        self.init(
            storage: .memory(try MemoryImage(sizeBytes: sizeBytes)), sizeBytes: sizeBytes, isReadOnly: readOnly,
            granularityBytes: 512, zeroesFastByDeallocating: true, zeroesFastAllocated: false)
    }

    /// An image that is nowhere.
    public init(nullOfSize sizeBytes: UInt64, readOnly: Bool) {
        self.init(
            storage: .null, sizeBytes: sizeBytes, isReadOnly: readOnly, granularityBytes: 512,
            zeroesFastByDeallocating: true, zeroesFastAllocated: true)
    }

    /// Opens and locks a raw image.
    public init(path: String, cache: CacheMode, readOnly: Bool) throws(MediumError) {
        let access = readOnly ? O_RDONLY : O_RDWR
        let buffered = try openDescriptor(path, access)
        do {
            let (sizeBytes, isBlockDevice) = try measure(buffered, path)
            if isBlockDevice, !readOnly, LinuxFile.isReadOnly(blockDevice: buffered) {
                throw MediumError.readOnlyDevice(path: path)
            }
            guard ImageLock.acquire(buffered, readOnly: readOnly) else {
                throw MediumError.locked(path: path, holder: "another program (a second Spindle, or QEMU)")
            }
            let direct = cache.bypassesPageCache ? try openDirect(path, access, cache) : buffered
            let granularity = direct == buffered ? 512 : try findAlignment(direct, path)
            let file = RawFile(
                descriptor: direct, bufferedDescriptor: buffered, granularityBytes: UInt64(granularity),
                ignoresFlushes: cache.ignoresFlushes,
                canPunchHoles: !readOnly && (isBlockDevice || canAllocate(buffered, sizeBytes, LinuxFile.punchHole)),
                canZeroRanges: !readOnly && (isBlockDevice || canZeroRanges(buffered, sizeBytes)),
                zeroes: try zeroMemory(),
                mapping: direct != buffered ? nil : FileMapping(buffered, sizeBytes: sizeBytes))
            // A block device's own zeroing may be plain writing, done by the kernel: not known to be fast.
            self.init(
                storage: .file(file), sizeBytes: sizeBytes, isReadOnly: readOnly, granularityBytes: granularity,
                zeroesFastByDeallocating: file.canPunchHoles && !isBlockDevice,
                zeroesFastAllocated: file.canZeroRanges && !isBlockDevice)
        } catch let error as MediumError {
            Glibc.close(buffered)
            throw error
        } catch {
            preconditionFailure("opening an image throws nothing else")
        }
    }
}

private func openDescriptor(_ path: String, _ flags: Int32) throws(MediumError) -> Int32 {
    // O_NONBLOCK: opening a FIFO by mistake must not wait for its other end; files and block devices ignore it.
    let descriptor = unsafe open(path, flags | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        guard errno != EISDIR else { throw .unsuitable(path: path, what: "a directory") }
        throw .cannotOpen(path: path, errno: errno, readOnly: flags & O_ACCMODE == O_RDONLY)
    }
    return descriptor
}

private func openDirect(_ path: String, _ access: Int32, _ cache: CacheMode) throws(MediumError) -> Int32 {
    do {
        return try openDescriptor(path, access | LinuxFile.direct)
    } catch {
        guard case .cannotOpen(_, EINVAL, _) = error else { throw error }
        throw .noDirectAccess(path: path, mode: cache)
    }
}

/// The size of a regular file or block device in bytes.
private func measure(_ descriptor: Int32, _ path: String) throws(MediumError) -> (UInt64, isBlockDevice: Bool) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw .cannotOpen(path: path, errno: errno, readOnly: true) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return (UInt64(status.st_size), false)
    case S_IFBLK:
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw .cannotOpen(path: path, errno: errno, readOnly: true) }
        return (UInt64(end), true)
    case S_IFDIR: throw .unsuitable(path: path, what: "a directory")
    case S_IFCHR: throw .unsuitable(path: path, what: "a character device")
    case S_IFIFO: throw .unsuitable(path: path, what: "a FIFO")
    default: throw .unsuitable(path: path, what: "a special file")
    }
}

/// The smallest access that O_DIRECT takes on this file: what the kernel says, or else found by trying. That alone would
/// not do, because a hole can be read in any size.
private func findAlignment(_ descriptor: Int32, _ path: String) throws(MediumError) -> UInt32 {
    if let alignment = LinuxFile.directAlignment(descriptor) {
        guard alignment <= 4096 else { throw .noAlignment(path: path) }
        return alignment
    }
    let memory = try zeroMemory()
    defer { _ = unsafe munmap(memory.base, Int(RawFile.zeroesByteCount)) }
    for alignment: UInt32 in [512, 1024, 2048, 4096] {
        let count = unsafe pread(descriptor, memory.base, Int(alignment), 0)
        if count >= 0 { return alignment }
    }
    throw .noAlignment(path: path)
}

/// Whether fallocate(2) with `mode` works on this file, tried beyond its end, where there is nothing to lose.
private func canAllocate(_ descriptor: Int32, _ sizeBytes: UInt64, _ mode: Int32) -> Bool {
    let beyond = (sizeBytes | 0xFFFF) + 1
    return LinuxFile.allocate(descriptor, mode: mode, offset: beyond, length: 4096) == 0
}

/// Whether ranges can be made zero with their space kept. The block that trying allocates beyond the end is given back by
/// truncating the file to the size it has: ext4 punches no holes there.
private func canZeroRanges(_ descriptor: Int32, _ sizeBytes: UInt64) -> Bool {
    guard canAllocate(descriptor, sizeBytes, LinuxFile.zeroRange) else { return false }
    _ = ftruncate(descriptor, off_t(clamping: sizeBytes))
    return true
}

private func zeroMemory() throws(MediumError) -> SharedMemory {
    do {
        return try SharedMemory(byteCount: Int(RawFile.zeroesByteCount))
    } catch {
        throw .tooLarge(sizeBytes: RawFile.zeroesByteCount)
    }
}
