// QEMU's cache modes: what a write's answer promises, and whether the host's page cache takes part.

/// How an image is cached, with the names and the meaning of QEMU's `cache=`.
public enum CacheMode: String, CaseIterable, Sendable {
    /// Page cache, volatile: a flush makes writes stable.
    case writeback
    /// Page cache, but a write is stable when answered.
    case writethrough
    /// No page cache (O_DIRECT), yet the disk's own cache is volatile: a flush makes writes stable.
    case none
    /// No page cache, and a write is stable when answered.
    case directsync
    /// Page cache, and flushes are ignored: for images that may be lost.
    case unsafe

    /// The drive has a volatile write cache unless its own properties say otherwise.
    public var hasVolatileWriteCache: Bool {
        switch self {
        case .writeback, .none, .unsafe: true
        case .writethrough, .directsync: false
        }
    }

    /// The image is opened with O_DIRECT.
    public var bypassesPageCache: Bool {
        switch self {
        case .none, .directsync: true
        case .writeback, .writethrough, .unsafe: false
        }
    }

    /// Flushes are answered without doing anything.
    public var ignoresFlushes: Bool {
        self == .unsafe
    }
}
