// A raw image in a file or on a block device, read and written by io_uring.

import Glibc
import IOUring

/// The descriptors of a raw image. Offsets in the image are offsets in the file.
struct FileBackend: Sendable {
    /// For accesses that are aligned to `granularityBytes`; opened with O_DIRECT where the cache mode says so.
    let descriptor: Int32
    /// For all other accesses, and for the tail of an image that is no multiple of the granularity: never O_DIRECT.
    let bufferedDescriptor: Int32
    /// Which file it is.
    let number: FileNumber?
    let granularityBytes: UInt64
    let ignoresFlushes: Bool
    /// The abilities of fallocate(2) here, as far as they are known.
    let abilities: FileAbilities
    /// Memory that is zero and stays so, the source of zeroes that have to be written.
    let zeroes: SharedMemory
    /// The file's pages in the page cache. Nil with O_DIRECT, or where it cannot be mapped.
    var mapping: FileMapping?
    /// The file system may wait where it is asked not to: a thread of io_uring does each read and write.
    var needsThread = false
    /// fallocate(2) is asked for whole pages only (``LinuxFile/zeroesWholePages(_:)``).
    var allocatesWholePages = false

    /// The page cache that all accesses go through; nil with O_DIRECT.
    var pageCache: PageCache? {
        descriptor == bufferedDescriptor ? PageCache(descriptor: descriptor, mapping: mapping) : nil
    }

    /// It is no block device, which has the size it has.
    var canGrow: Bool {
        var status = stat()
        return unsafe fstat(bufferedDescriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    static let zeroesByteCount: UInt64 = 1 << 18
    /// One read or write of Linux moves at most 2 GiB less a page.
    private static let transferLimit: UInt64 = 1 << 30
    /// A multiple of any granularity.
    private static let searchedPieceBytes: UInt64 = 1 << 16

    func start(_ task: inout BackendTask, ring: inout Ring, userData: UInt64) -> BackendProgress {
        switch task.operation {
        case .read:
            read(task, ring: &ring, userData: userData)
        case .write:
            write(task, ring: &ring, userData: userData)
        case .writeZeroes(let mayDeallocate):
            return startZeroes(&task, mayDeallocate: mayDeallocate, ring: &ring, userData: userData)
        case .discard:
            // A file system that cannot punch holes keeps the data: TRIM is allowed to do nothing.
            guard abilities.has(.punchHole), let range = allocatable(task) else { return .finished }
            allocate(range, mode: LinuxFile.punchHole, ring: &ring, userData: userData)
        case .flush:
            preconditionFailure("a loop has one flush at a time under way (LoopFlush)")
        case .prefetch:
            // Without a page cache there is nothing to fetch into.
            guard descriptor == bufferedDescriptor else { return .finished }
            let length = UInt32(clamping: task.remaining)
            ring.adviseWillNeed(descriptor, offset: task.offset, length: length, userData: userData)
        case .lookUp:
            preconditionFailure("an extent is a value, which a task does not have (Backend.extent)")
        }
        return .pending
    }

    func resume(_ task: inout BackendTask, result: Int32, ring: inout Ring, userData: UInt64) -> BackendProgress {
        if result == -EINTR { return start(&task, ring: &ring, userData: userData) }
        switch task.operation {
        case .read:
            return resumeRead(&task, result: result, ring: &ring, userData: userData)
        case .write:
            return resumeWrite(&task, result: result, ring: &ring, userData: userData)
        case .writeZeroes:
            return resumeZeroes(&task, result: result, ring: &ring, userData: userData)
        case .discard:
            // Discarding is advice; that this range cannot be discarded is no failure.
            if result == -EOPNOTSUPP { abilities.lacks(.punchHole) }
            return result < 0 && !isUnsupported(result) ? .failed(-result) : .finished
        case .prefetch:
            return .finished
        case .flush, .lookUp:
            preconditionFailure("neither is a task of its own")
        }
    }

    /// The descriptor that can do the rest of `task`.
    private func suitableDescriptor(_ task: BackendTask) -> Int32 {
        (task.offset | task.remaining) & (granularityBytes &- 1) == 0 ? descriptor : bufferedDescriptor
    }

    private func read(_ task: BackendTask, ring: inout Ring, userData: UInt64) {
        guard let buffer = unsafe task.buffer else { preconditionFailure("a read needs a buffer") }
        unsafe ring.read(
            suitableDescriptor(task), into: buffer,
            count: UInt32(min(task.remaining, task.pieceBytes, Self.transferLimit)),
            offset: task.offset, byThread: needsThread, userData: userData)
    }

    private func resumeRead(
        _ task: inout BackendTask, result: Int32, ring: inout Ring, userData: UInt64
    ) -> BackendProgress {
        if result < 0 {
            guard takeSmallerPieces(&task) else { return .failed(-result) }
            read(task, ring: &ring, userData: userData)
            return .pending
        }
        if result == 0 {
            // The end of the file: the rest of the last sector, or of a file that has shrunk, reads as zeroes.
            if let buffer = unsafe task.buffer {
                unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0, count: Int(task.remaining))
            }
            return .finished
        }
        task.advance(UInt64(result))
        guard task.remaining > 0 else { return .finished }
        read(task, ring: &ring, userData: userData)
        return .pending
    }

    /// A read has failed. One through the page cache says where: it ends before the page, and the next one fails. One
    /// with O_DIRECT fails as a whole, so the rest is read in pieces, then the piece that fails in smaller ones:
    /// sectors that cannot be read take seconds each, so there should be few attempts at them.
    ///
    /// - Returns: false if the error is at the first byte.
    private func takeSmallerPieces(_ task: inout BackendTask) -> Bool {
        guard descriptor != bufferedDescriptor, suitableDescriptor(task) == descriptor else { return false }
        let attempted = min(task.remaining, task.pieceBytes)
        guard attempted > granularityBytes else { return false }
        task.pieceBytes = attempted > Self.searchedPieceBytes ? Self.searchedPieceBytes : granularityBytes
        return true
    }

    private func write(_ task: BackendTask, ring: inout Ring, userData: UInt64) {
        guard let buffer = unsafe task.buffer else { preconditionFailure("a write needs a buffer") }
        unsafe ring.write(
            suitableDescriptor(task), from: UnsafeRawPointer(buffer),
            count: UInt32(min(task.remaining, Self.transferLimit)), offset: task.offset, byThread: needsThread,
            userData: userData)
    }

    private func resumeWrite(
        _ task: inout BackendTask, result: Int32, ring: inout Ring, userData: UInt64
    ) -> BackendProgress {
        // A write that makes no progress and names no error: a block device at its end.
        guard result > 0 else { return .failed(result == 0 ? ENOSPC : -result) }
        task.advance(UInt64(result))
        guard task.remaining > 0 else { return .finished }
        write(task, ring: &ring, userData: userData)
        return .pending
    }

    /// fallocate(2) cannot do this here: the file system does not know the mode, or the range is no multiple of a block
    /// device's sectors.
    private func isUnsupported(_ result: Int32) -> Bool {
        result == -EOPNOTSUPP || result == -EINVAL
    }

    /// The part of a task's range that fallocate(2) may change; nil if there is none.
    private func allocatable(_ task: BackendTask) -> Range<UInt64>? {
        let end = task.offset + task.remaining
        guard allocatesWholePages && mapping != nil else { return task.offset..<end }
        let page = FileMapping.pageBytes
        let (first, last) = ((task.offset + page - 1) / page * page, end / page * page)
        return first < last ? first..<last : nil
    }

    private func allocate(_ range: Range<UInt64>, mode: Int32, ring: inout Ring, userData: UInt64) {
        ring.allocate(
            descriptor, mode: mode, offset: range.lowerBound, length: range.upperBound - range.lowerBound,
            userData: userData)
    }

    private func startZeroes(
        _ task: inout BackendTask, mayDeallocate: Bool, ring: inout Ring, userData: UInt64
    ) -> BackendProgress {
        guard !task.writesZeroesByHand else { return writeZeroes(&task, ring: &ring, userData: userData) }
        guard abilities.has(mayDeallocate ? .punchHole : .zeroRange) else {
            return beginWritingZeroes(&task, ring: &ring, userData: userData)
        }
        guard let range = allocatable(task) else {
            // Less than two pages: nothing is faster.
            task.writesZeroesByHand = true
            return writeZeroes(&task, ring: &ring, userData: userData)
        }
        allocate(
            range, mode: mayDeallocate ? LinuxFile.punchHole : LinuxFile.zeroRange, ring: &ring, userData: userData)
        return .pending
    }

    private func resumeZeroes(
        _ task: inout BackendTask, result: Int32, ring: inout Ring, userData: UInt64
    ) -> BackendProgress {
        if task.writesZeroesByHand {
            guard result > 0 else { return .failed(result == 0 ? ENOSPC : -result) }
            task.advance(UInt64(result))
            return writeZeroes(&task, ring: &ring, userData: userData)
        }
        guard isUnsupported(result) else {
            guard result >= 0, let range = allocatable(task) else { return .failed(-result) }
            task.allocatedZeroes = range
            task.writesZeroesByHand = true
            return writeZeroes(&task, ring: &ring, userData: userData)
        }
        if result == -EOPNOTSUPP {
            abilities.lacks(task.operation == .writeZeroes(mayDeallocate: true) ? .punchHole : .zeroRange)
        }
        return beginWritingZeroes(&task, ring: &ring, userData: userData)
    }

    private func beginWritingZeroes(_ task: inout BackendTask, ring: inout Ring, userData: UInt64) -> BackendProgress {
        guard !task.hasToBeFast else {
            task.wasTooSlow = true
            return .failed(EOPNOTSUPP)
        }
        task.writesZeroesByHand = true
        return writeZeroes(&task, ring: &ring, userData: userData)
    }

    /// Writes what fallocate(2) has not done already.
    private func writeZeroes(_ task: inout BackendTask, ring: inout Ring, userData: UInt64) -> BackendProgress {
        let done = task.allocatedZeroes
        if !done.isEmpty && task.offset == done.lowerBound { task.advance(done.upperBound - done.lowerBound) }
        guard task.remaining > 0 else { return .finished }
        let limit = task.offset < done.lowerBound ? done.lowerBound - task.offset : task.remaining
        let count = UInt32(min(task.remaining, limit, Self.zeroesByteCount))
        unsafe ring.write(
            suitableDescriptor(task), from: UnsafeRawPointer(zeroes.base), count: count, offset: task.offset,
            byThread: needsThread, userData: userData)
        return .pending
    }

    /// Reads from the beginning, waiting for it; bytes that are not there stay as they are.
    func readNow(into bytes: inout [UInt8]) {
        _ = unsafe bytes.withUnsafeMutableBytes { unsafe pread(bufferedDescriptor, $0.baseAddress, $0.count, 0) }
    }

    func close() -> Int32 {
        if let number { ReaderLocks.leave(number, bufferedDescriptor) }
        mapping?.unmap()
        zeroes.unmap()
        abilities.close()
        var code = Glibc.close(descriptor) == 0 ? 0 : errno
        if bufferedDescriptor != descriptor, Glibc.close(bufferedDescriptor) != 0 { code = errno }
        return code
    }
}
