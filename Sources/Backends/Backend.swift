// Where an image is: in a file or on a block device, in memory, or nowhere.

import Blocks
import Glibc
import IOUring

/// A backend as one loop sees it: descriptors and addresses that all loops share, so that a copy costs nothing.
///
/// Every kind of backend answers ``start(_:ring:userData:)``, ``extent(at:limit:)``, ``grow(toBytes:)`` and
/// ``close()``. An ability of some only is an optional value, ``pageCache`` for instance: users ask for that, never
/// for the kind. ``close()`` ends it once no task is under way.
public struct Backend: Sendable {
    enum Kind: Sendable {
        case file(FileBackend)
        case memory(MemoryBackend)
        case null
    }

    let kind: Kind
    /// The size of the content in bytes, before rounding up to whole logical blocks.
    public let sizeBytes: UInt64
    /// Nothing can be written.
    public let isReadOnly: Bool
    /// Accesses that are not multiples of this many bytes may not overlap others in time: they go round the
    /// page cache's back. A power of two, ``anyGranularity`` unless O_DIRECT needs more.
    public let granularityBytes: UInt32
    /// No access overlaps another one that it does not want to.
    static let anyGranularity: UInt32 = 1
    /// Zeroes that may deallocate are stored without writing them.
    public let zeroesFastByDeallocating: Bool
    /// Zeroes that keep their space are stored without writing them.
    public let zeroesFastAllocated: Bool

    /// Starts `task`. When it is `pending`, its completion carries `userData`.
    public func start(_ task: inout BackendTask, ring: inout Ring, userData: UInt64) -> BackendProgress {
        switch kind {
        case .file(let file): file.start(&task, ring: &ring, userData: userData)
        case .memory(let memory): memory.perform(task)
        case .null: NullBackend.perform(task)
        }
    }

    /// Goes on with `task` after its completion had `result`.
    public func resume(
        _ task: inout BackendTask, result: Int32, ring: inout Ring, userData: UInt64
    ) -> BackendProgress {
        switch kind {
        case .file(let file): file.resume(&task, result: result, ring: &ring, userData: userData)
        case .memory, .null: preconditionFailure("a task that was finished at once has a completion")
        }
    }

    /// The first bytes, waiting for them; zeroes where there are none.
    public func beginning(byteCount: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        switch kind {
        case .file(let file): file.readNow(into: &bytes)
        case .memory, .null: break
        }
        return bytes
    }

    /// The same file, which is only read from now on, as its lock says.
    func freeze() -> Backend {
        if let descriptor { ImageLock.giveUpWriting(descriptor) }
        return Backend(
            kind: kind, sizeBytes: sizeBytes, isReadOnly: true, granularityBytes: granularityBytes,
            zeroesFastByDeallocating: zeroesFastByDeallocating, zeroesFastAllocated: zeroesFastAllocated)
    }

    /// Closes all that the backend has open, and forgets all that was in memory.
    ///
    /// - Returns: 0, or the errno of close(2): some file systems write back only then.
    @discardableResult
    public func close() -> Int32 {
        switch kind {
        case .file(let file): return file.close()
        case .memory(let memory): memory.close()
        case .null: break
        }
        return 0
    }
}

/// Abilities of some backends only.
extension Backend {
    /// The page cache through which all accesses go; nil where there is none, as with O_DIRECT.
    public var pageCache: PageCache? {
        switch kind {
        case .file(let file): file.pageCache
        case .memory, .null: nil
        }
    }

    /// Which file it is; nil: none.
    public var fileNumber: FileNumber? {
        switch kind {
        case .file(let file): file.number
        case .memory, .null: nil
        }
    }

    /// The descriptor of its file; nil: there is none.
    public var descriptor: Int32? {
        switch kind {
        case .file(let file): file.bufferedDescriptor
        case .memory, .null: nil
        }
    }

    /// The descriptor that fdatasync(2) makes stable; nil where that does nothing, or nobody wants it.
    var flushedDescriptor: Int32? {
        switch kind {
        case .file(let file): isReadOnly || file.ignoresFlushes ? nil : file.bufferedDescriptor
        case .memory, .null: nil
        }
    }

    /// To find an extent takes as long as a file system likes: some go through all that they know of the file.
    public var looksUpByWaiting: Bool {
        switch kind {
        case .file: true
        case .memory, .null: false
        }
    }
}
