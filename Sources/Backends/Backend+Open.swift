// Opening an image: what it is, how big, what its file system can do.

import Glibc
import IOUring

extension Backend {
    /// An image in memory, all zeroes.
    public init(memoryOfSize sizeBytes: UInt64, readOnly: Bool) throws(ImageError) {
        self.init(
            kind: .memory(try MemoryBackend(sizeBytes: sizeBytes)), sizeBytes: sizeBytes, isReadOnly: readOnly,
            granularityBytes: Backend.anyGranularity, zeroesFastByDeallocating: true,
            zeroesFastAllocated: false)
    }

    /// An image that is nowhere.
    public init(nullOfSize sizeBytes: UInt64, readOnly: Bool) {
        self.init(
            kind: .null, sizeBytes: sizeBytes, isReadOnly: readOnly, granularityBytes: Backend.anyGranularity,
            zeroesFastByDeallocating: true, zeroesFastAllocated: true)
    }

    /// Opens and locks a raw image. Neither the file nor its times are changed.
    ///
    /// - Parameters:
    ///   - locking: how; a killed process's lock is free a moment later.
    ///   - expected: the file that somebody has looked at and wants; another, or a symbolic link to it, is refused.
    public init(
        path: String, cache: CacheMode, readOnly: Bool, locking: ImageLocking = .waiting, expected: FileNumber? = nil
    ) throws(ImageError) {
        let access = (readOnly ? O_RDONLY : O_RDWR) | (expected == nil ? 0 : O_NOFOLLOW)
        let buffered = try openDescriptor(path, access)
        do {
            let number = FileNumber(buffered)
            guard expected == nil || expected == number else { throw ImageError.replaced(path: path) }
            let isBlockDevice = try checkKind(buffered, path)
            if isBlockDevice, !readOnly, LinuxFile.isReadOnly(blockDevice: buffered) {
                throw ImageError.readOnlyDevice(path: path)
            }
            try ImageLock.acquire(buffered, path, readOnly: readOnly, locking)
            // Whoever had the lock may have made the file longer until then.
            let sizeBytes = try measure(buffered, path, isBlockDevice: isBlockDevice)
            let direct = cache.bypassesPageCache ? try openDirect(path, access, cache, number) : buffered
            let granularity = direct == buffered ? Backend.anyGranularity : try findAlignment(direct, path)
            let isPrompt = isBlockDevice || LinuxFile.isOnPromptFileSystem(buffered)
            let file = FileBackend(
                descriptor: direct, bufferedDescriptor: buffered, number: number, granularityBytes: UInt64(granularity),
                ignoresFlushes: cache.ignoresFlushes,
                abilities: try fileAbilities(), zeroes: try zeroMemory(),
                mapping: direct != buffered || !isPrompt ? nil : FileMapping(buffered, sizeBytes: sizeBytes),
                needsThread: !isPrompt, allocatesWholePages: LinuxFile.zeroesWholePages(buffered))
            // A block device's own zeroing may be plain writing, done by the kernel: not known to be fast.
            let isFast = isBlockDevice || readOnly ? (false, false) : LinuxFile.zeroesFast(buffered)
            self.init(
                kind: .file(file), sizeBytes: sizeBytes, isReadOnly: readOnly, granularityBytes: granularity,
                zeroesFastByDeallocating: isFast.0, zeroesFastAllocated: isFast.1)
        } catch let error as ImageError {
            if let number = FileNumber(buffered) { ReaderLocks.leave(number, buffered) }
            Glibc.close(buffered)
            throw error
        } catch {
            preconditionFailure("opening an image throws nothing else")
        }
    }
}

private func openDescriptor(_ path: String, _ flags: Int32) throws(ImageError) -> Int32 {
    // O_NONBLOCK: opening a FIFO by mistake must not wait for its other end; files and block devices ignore it.
    let descriptor = unsafe open(path, flags | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        guard errno != EISDIR else { throw .unsuitable(path: path, what: "a directory") }
        guard errno != ELOOP || flags & O_NOFOLLOW == 0 else { throw .replaced(path: path) }
        throw .cannotOpen(path: path, errno: errno, readOnly: flags & O_ACCMODE == O_RDONLY)
    }
    return descriptor
}

/// Opens the same file once more, without the page cache.
private func openDirect(
    _ path: String, _ access: Int32, _ cache: CacheMode, _ number: FileNumber?
) throws(ImageError) -> Int32 {
    let descriptor: Int32
    do {
        descriptor = try openDescriptor(path, access | LinuxFile.direct)
    } catch {
        guard case .cannotOpen(_, EINVAL, _) = error else { throw error }
        throw .noDirectAccess(path: path, mode: cache)
    }
    guard FileNumber(descriptor) == number else {
        Glibc.close(descriptor)
        throw .replaced(path: path)
    }
    return descriptor
}

/// Refuses what is neither a regular file nor a block device.
///
/// - Returns: it is a block device.
private func checkKind(_ descriptor: Int32, _ path: String) throws(ImageError) -> Bool {
    switch try status(descriptor, path).st_mode & S_IFMT {
    case S_IFREG: return false
    case S_IFBLK: return true
    case S_IFDIR: throw .unsuitable(path: path, what: "a directory")
    case S_IFCHR: throw .unsuitable(path: path, what: "a character device")
    case S_IFIFO: throw .unsuitable(path: path, what: "a FIFO")
    default: throw .unsuitable(path: path, what: "a special file")
    }
}

/// The size of a regular file or block device in bytes.
private func measure(_ descriptor: Int32, _ path: String, isBlockDevice: Bool) throws(ImageError) -> UInt64 {
    guard isBlockDevice else { return UInt64(try status(descriptor, path).st_size) }
    let end = lseek(descriptor, 0, SEEK_END)
    guard end >= 0 else { throw .cannotOpen(path: path, errno: errno, readOnly: true) }
    return UInt64(end)
}

private func status(_ descriptor: Int32, _ path: String) throws(ImageError) -> stat {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw .cannotOpen(path: path, errno: errno, readOnly: true) }
    return status
}

/// The smallest access that O_DIRECT takes on this file: what the kernel says, or else found by trying. That alone
/// would not do, because a hole can be read in any size.
private func findAlignment(_ descriptor: Int32, _ path: String) throws(ImageError) -> UInt32 {
    if let alignment = LinuxFile.directAlignment(descriptor) {
        guard alignment <= 4096, alignment.nonzeroBitCount == 1 else { throw .noAlignment(path: path) }
        return alignment
    }
    let memory = try zeroMemory()
    defer { _ = unsafe munmap(memory.base, Int(FileBackend.zeroesByteCount)) }
    for alignment: UInt32 in [512, 1024, 2048, 4096] {
        let count = unsafe pread(descriptor, memory.base, Int(alignment), 0)
        if count >= 0 { return alignment }
    }
    throw .noAlignment(path: path)
}

private func fileAbilities() throws(ImageError) -> FileAbilities {
    do {
        return try FileAbilities()
    } catch {
        throw .tooLarge(sizeBytes: 8)
    }
}

private func zeroMemory() throws(ImageError) -> SharedMemory {
    do {
        return try SharedMemory(byteCount: Int(FileBackend.zeroesByteCount))
    } catch {
        throw .tooLarge(sizeBytes: FileBackend.zeroesByteCount)
    }
}
