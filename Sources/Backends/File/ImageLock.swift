// The lock that keeps a second writer away, compatible with QEMU's: open file description locks, fcntl(2) F_OFD_SETLK.

import Glibc
import IOUring

/// How an image is locked.
public enum ImageLocking: Sendable {
    /// One that somebody has is tried for a second: a killed process's lock is free a moment later.
    case waiting
    /// One that somebody has is refused at once.
    case immediate
    /// It is not: for file systems that have no locks, and for who knows better.
    case off
}

/// QEMU's byte-range protocol (block/file-posix.c): byte 100 + n is read-locked by who uses permission n, byte 200 + n
/// by who does not want others to use it. So two programs learn of each other whichever comes first.
enum ImageLock {
    private static let usedBase: off_t = 100
    private static let unsharedBase: off_t = 200
    private static let consistentRead: off_t = 0
    private static let write: off_t = 1
    private static let resize: off_t = 3
    private static let attempts = 50
    private static let pauseMicroseconds: UInt32 = 20_000

    /// The outcome of an attempt.
    private enum Outcome: Equatable {
        case free
        /// Another process has the file in a way that does not agree with this.
        case taken
        /// The file system cannot tell.
        case failed(Int32)
    }

    /// Locks the file for a reader, or for the one writer, with everybody else kept from writing and resizing. Where
    /// that cannot be had, nobody could be kept away, and that is an error, as it is for QEMU. All readers of this
    /// process have one lock.
    static func acquire(
        _ descriptor: Int32, _ path: String, readOnly: Bool, _ locking: ImageLocking
    ) throws(ImageError) {
        guard locking != .off else { return }
        guard readOnly, let file = FileNumber(descriptor) else {
            return try acquireAlone(descriptor, path, readOnly: readOnly, locking)
        }
        guard !ReaderLocks.join(file, descriptor) else { return }
        try acquireAlone(descriptor, path, readOnly: true, locking)
        ReaderLocks.enter(file, descriptor)
    }

    private static func acquireAlone(
        _ descriptor: Int32, _ path: String, readOnly: Bool, _ locking: ImageLocking
    ) throws(ImageError) {
        for attempt in 1... {
            switch acquire(descriptor, readOnly: readOnly) {
            case .free: return
            case .failed(let code): throw .cannotLock(path: path, errno: code)
            case .taken where locking == .immediate || attempt == attempts:
                throw .locked(path: path, file: FileNumber(descriptor))
            case .taken: usleep(pauseMicroseconds)
            }
        }
    }

    /// Locks a file for a writer, that the same export has open for reading. The reader's lock does not keep a writer
    /// away until ``endWriting(beside:)``; those of all others do.
    static func acquireWriting(_ descriptor: Int32, beside reader: Int32, _ path: String) throws(ImageError) {
        guard let file = FileNumber(reader), ReaderLocks.beginWriting(file, beside: reader) else {
            throw .locked(path: path, file: FileNumber(reader))
        }
        var own = range(F_UNLCK, unsharedBase + write)
        _ = unsafe fcntl(reader, LinuxFile.setLock, &own)
        switch acquire(descriptor, readOnly: false) {
        case .free: return
        case .failed(let code):
            endWriting(beside: reader)
            throw .cannotLock(path: path, errno: code)
        case .taken:
            endWriting(beside: reader)
            throw .locked(path: path, file: nil)
        }
    }

    /// The reader keeps writers away again. The writer closes its descriptor after that, so that nobody comes in
    /// between.
    static func endWriting(beside reader: Int32) {
        _ = lock(reader, unsharedBase + write)
        if let file = FileNumber(reader) { ReaderLocks.endWriting(file) }
    }

    /// A reader has the lock of others from now on, which still hold it.
    static func takeOver(_ descriptor: Int32) {
        for byte in [usedBase + consistentRead, unsharedBase + write, unsharedBase + resize] {
            _ = lock(descriptor, byte)
        }
    }

    /// The one writer is a reader from now on.
    static func giveUpWriting(_ descriptor: Int32) {
        var range = range(F_UNLCK, usedBase + write)
        _ = unsafe fcntl(descriptor, LinuxFile.setLock, &range)
    }

    private static func acquire(_ descriptor: Int32, readOnly: Bool) -> Outcome {
        let used = readOnly ? [consistentRead] : [consistentRead, write]
        let unshared = [write, resize]
        // Announce first, look second: of two that come at the same time, at least one sees the other.
        let announced = used.map { usedBase + $0 } + unshared.map { unsharedBase + $0 }
        let others = used.map { unsharedBase + $0 } + unshared.map { usedBase + $0 }
        for byte in announced {
            let outcome = lock(descriptor, byte)
            if outcome != .free { return outcome }
        }
        for byte in others {
            let outcome = look(descriptor, byte)
            if outcome != .free { return outcome }
        }
        return .free
    }

    private static func lock(_ descriptor: Int32, _ byte: off_t) -> Outcome {
        var range = range(F_RDLCK, byte)
        while unsafe fcntl(descriptor, LinuxFile.setLock, &range) != 0 {
            guard errno == EINTR else { return errno == EAGAIN || errno == EACCES ? .taken : .failed(errno) }
        }
        return .free
    }

    /// Whether somebody else holds a lock on `byte`; one's own descriptor does not count.
    private static func look(_ descriptor: Int32, _ byte: off_t) -> Outcome {
        var range = range(F_WRLCK, byte)
        guard unsafe fcntl(descriptor, LinuxFile.getLock, &range) == 0 else { return .failed(errno) }
        return range.l_type == Int16(F_UNLCK) ? .free : .taken
    }

    private static func range(_ type: Int32, _ byte: off_t) -> flock {
        var range = flock()
        range.l_type = Int16(type)
        range.l_whence = Int16(SEEK_SET)
        range.l_start = byte
        range.l_len = 1
        return range
    }
}
