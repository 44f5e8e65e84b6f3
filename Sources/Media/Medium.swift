// Where sectors live: a raw file or block device, memory, or nowhere.

import Glibc
import IOUring

/// A medium as one loop sees it: descriptors and addresses that all loops share, so that a copy costs nothing.
///
/// ``close()`` ends it once no task is under way.
public struct Medium: Sendable {
    enum Storage: Sendable {
        case file(RawFile)
        case memory(MemoryImage)
        case null
    }

    let storage: Storage
    /// The size of the content in bytes, before rounding up to whole sectors.
    public let sizeBytes: UInt64
    /// Nothing can be written.
    public let isReadOnly: Bool
    /// Accesses that are not multiples of this many bytes may not overlap others in time: they go round the
    /// page cache's back. 512 unless O_DIRECT needs more.
    public let granularityBytes: UInt32
    /// Zeroes that may deallocate are stored without writing them.
    public let zeroesFastByDeallocating: Bool
    /// Zeroes that keep their space are stored without writing them.
    public let zeroesFastAllocated: Bool

    /// Starts `task`. When it is `pending`, its completion carries `userData`.
    public func start(_ task: inout MediumTask, ring: inout Ring, userData: UInt64) -> MediumProgress {
        switch storage {
        case .file(let file): file.start(&task, ring: &ring, userData: userData)
        case .memory(let image): image.perform(task)
        case .null: NullImage.perform(task)
        }
    }

    /// Goes on with `task` after its completion had `result`.
    public func resume(
        _ task: inout MediumTask, result: Int32, ring: inout Ring, userData: UInt64
    ) -> MediumProgress {
        guard case .file(let file) = storage else { preconditionFailure("only a file's tasks are ever pending") }
        return file.resume(&task, result: result, ring: &ring, userData: userData)
    }

    /// Makes everything written so far stable, waiting for it. For the end of a process, not for the request path.
    ///
    /// - Returns: 0, or the errno of the failure.
    public func synchronize() -> Int32 {
        guard case .file(let file) = storage, !isReadOnly else { return 0 }
        return file.synchronize()
    }

    /// The first 512 bytes, zeroes beyond the end: where a partition table would be.
    public func bootSector() -> [UInt8] {
        var sector = [UInt8](repeating: 0, count: 512)
        switch storage {
        case .file(let file): file.readNow(into: &sector)
        case .memory, .null: break
        }
        return sector
    }

    /// A write is a copy into the kernel's page cache, as a rule.
    public var writesToPageCache: Bool {
        guard case .file(let file) = storage else { return false }
        return file.descriptor == file.bufferedDescriptor
    }

    /// Performs a write to a file, waiting for it.
    public func writeNow(_ task: inout MediumTask) -> MediumProgress {
        guard case .file(let file) = storage else { preconditionFailure("only files are written by waiting") }
        return file.writeNow(&task)
    }

    /// Performs a write to a file from what is in a pipe, waiting for it.
    public func writeNow(_ task: inout MediumTask, from pipe: inout PagePipe) -> MediumProgress {
        guard case .file(let file) = storage else { preconditionFailure("only files are written by waiting") }
        return file.writeNow(&task, from: &pipe)
    }

    /// Reads a range of a file, waiting for it; what lies beyond the file's end reads as zeroes.
    ///
    /// - Returns: 0, or the errno of the failure.
    public func readNow(at offset: UInt64, into buffer: UnsafeMutableRawPointer, count: Int) -> Int32 {
        guard case .file(let file) = storage else { preconditionFailure("only files are read by waiting") }
        return unsafe file.readNow(at: offset, into: buffer, count: count)
    }

    /// Closes what the medium has open. What was in memory is forgotten.
    public func close() {
        switch storage {
        case .file(let file): file.close()
        case .memory(let image): image.close()
        case .null: break
        }
    }
}

/// An image that is nowhere: reads give zeroes, writes are forgotten.
enum NullImage {
    static func perform(_ task: MediumTask) -> MediumProgress {
        if task.request == .read, let buffer = unsafe task.buffer {
            unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0, count: Int(task.remaining))
        }
        return .finished
    }
}
