// A process's memory of an image whose flush has failed: fsync(2), NOTES; Linux, lib/errseq.c and
// Documentation/filesystems/vfs.rst, "Handling errors during writeback".

import Glibc
import IOUring
import Synchronization

/// Whether what was written to an image can still be made stable. There is one for each image that the process has open
/// for writing, however often.
///
/// When writing pages back fails, Linux marks them clean, reports the error once to each open file description (a
/// number in the file's mapping goes up; fsync(2) compares it with the one that the description had seen), and then
/// forgets it. The next fdatasync(2) succeeds, although the data are nowhere. So a success may only be believed if no
/// failure came before it:
///
/// - The first errno is kept here. While there is one, every flush fails with it, and the kernel is not asked again,
///   until ``acceptLoss()``, or until the image is closed everywhere in the process and opened anew.
/// - Two fdatasync(2) on one description may meet one failure, of which only one of them is told; and the answers may
///   be looked at in the wrong order. So each loop has a description of its own (``ImageFlushes``), and at most one
///   fdatasync(2) under way on it (``LoopFlush``). Then a success says that nothing was lost since the description's
///   last answer, and all answers before it have been looked at: a failure among them is here.
/// - A description that is opened late sees failures that nobody has been told of yet; those that others were told
///   of are here.
/// - A flush fails, too, if anything has changed here between its beginning and its end.
public final class ImageStability: Sendable {
    /// How often something has changed in bits 63:32, the errno in bits 31:0.
    private let state = Atomic<UInt64>(0)
    /// The descriptions of all that have the image open.
    private let openings = Mutex<[ObjectIdentifier: [Int32]]>([:])
    /// Held while a loss is accepted, which waits for the file system: no description may be closed meanwhile.
    private let acceptance = Mutex<Void>(())

    /// The state at one moment.
    struct Mark: Equatable {
        fileprivate(set) var bits: UInt64 = 0

        /// The first failure.
        var failure: Int32? {
            let code = Int32(truncatingIfNeeded: bits & 0xFFFF_FFFF)
            return code == 0 ? nil : code
        }

        fileprivate func changed(to failure: Int32) -> Mark {
            Mark(bits: (bits >> 32 &+ 1) << 32 | UInt64(UInt32(bitPattern: failure)))
        }
    }

    init() {}

    /// With sequentially consistent order, as what is written here on one loop has to be seen by all before any of them
    /// answers.
    var mark: Mark { Mark(bits: state.load(ordering: .sequentiallyConsistent)) }

    /// The errno of the first failed flush; nil if none has failed.
    public var failure: Int32? { mark.failure }

    /// A flush has failed.
    ///
    /// - Returns: whether it is the first.
    @discardableResult
    func remember(_ code: Int32) -> Bool {
        while true {
            let present = mark
            if replace(present, by: present.changed(to: present.failure ?? code)) { return present.failure == nil }
        }
    }

    /// Somebody knows that data are lost, and has seen to it: from now on, flushes are answered by what the kernel
    /// says.
    ///
    /// Descriptions that were not told yet of a failure are told now; a failure after that is news to all of
    /// them.
    ///
    /// - Returns: nil, or the errno with which making the image stable still fails; then nothing has changed.
    public func acceptLoss() -> Int32? {
        acceptance.withLock { _ in
            while true {
                let present = mark
                guard present.failure != nil else { return nil }
                // Not under their lock: a thread that opens the image does not wait for its file system.
                let asked = openings.withLock { $0 }
                // The first may be told of what the last has met, so they are all asked until all of them succeed.
                var last: Int32?
                for _ in 0..<3 {
                    last = nil
                    for descriptor in asked.values.joined() where fdatasync(descriptor) != 0 { last = errno }
                    if last == nil { break }
                }
                if let last { return last }
                let isDone = openings.withLock { $0 == asked && replace(present, by: present.changed(to: 0)) }
                if isDone { return nil }
            }
        }
    }

    private func replace(_ present: Mark, by new: Mark) -> Bool {
        state.compareExchange(expected: present.bits, desired: new.bits, ordering: .sequentiallyConsistent).exchanged
    }

    fileprivate func join(_ opening: ImageFlushes, _ descriptors: [Int32]) {
        openings.withLock { $0[ObjectIdentifier(opening)] = descriptors }
    }

    fileprivate func leave(_ opening: ImageFlushes) {
        acceptance.withLock { _ in openings.withLock { $0[ObjectIdentifier(opening)] = nil } }
    }
}

/// The images that a process has open for writing.
public final class OpenImages: Sendable {
    private let images = Mutex<[ImageIdentity: (stability: ImageStability, openings: Int)]>([:])

    /// None yet.
    public init() {}

    fileprivate func open(_ identity: ImageIdentity) -> ImageStability {
        images.withLock { images in
            let present = images[identity] ?? (ImageStability(), 0)
            images[identity] = (present.stability, present.openings + 1)
            return present.stability
        }
    }

    fileprivate func close(_ identity: ImageIdentity) {
        images.withLock { images in
            guard let present = images[identity] else { preconditionFailure("an image that is not open is closed") }
            images[identity] = present.openings > 1 ? (present.stability, present.openings - 1) : nil
        }
    }
}

/// Which file or block device an open image is.
private struct ImageIdentity: Hashable {
    private let device: dev_t
    /// Of a block device there may be many files.
    private let inode: ino_t?

    init?(_ descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        let isBlockDevice = status.st_mode & S_IFMT == S_IFBLK
        device = isBlockDevice ? status.st_rdev : status.st_dev
        inode = isBlockDevice ? nil : status.st_ino
    }
}

/// The open file descriptions through which one opening of an image is made stable: one for each loop.
public final class ImageFlushes: Sendable {
    /// The stability of the image; nil where flushes do nothing: it is only read, is no file, or may be lost.
    public let stability: ImageStability?
    /// By loop. The first is the medium's own.
    private let descriptors: [Int32]
    private let images: OpenImages
    private let identity: ImageIdentity?

    /// Opens the descriptions.
    ///
    /// - Parameter loopCount: how many loops may make it stable; 1: whichever has the export.
    public init(_ backend: Backend, loopCount: Int, in images: OpenImages) throws(ImageError) {
        self.images = images
        guard let first = backend.flushedDescriptor else {
            (stability, descriptors, identity) = (nil, [], nil)
            return
        }
        guard let identity = ImageIdentity(first) else { throw .cannotOpenAgain(errno: errno) }
        var descriptors = [first]
        for _ in 1..<max(loopCount, 1) {
            let descriptor = LinuxFile.openAgain(first)
            guard descriptor >= 0 else {
                let code = errno
                for descriptor in descriptors.dropFirst() { Glibc.close(descriptor) }
                throw .cannotOpenAgain(errno: code)
            }
            descriptors.append(descriptor)
        }
        self.identity = identity
        self.descriptors = descriptors
        stability = images.open(identity)
        stability?.join(self, descriptors)
    }

    /// The flushes of one loop, for no longer than this object lives.
    public func flush(ofLoop loop: Int) -> LoopFlush {
        guard let stability else { return LoopFlush() }
        return unsafe LoopFlush(descriptors[min(loop, descriptors.count - 1)], Unmanaged.passUnretained(stability))
    }

    /// Makes everything written so far stable, waiting for it, when no loop has a flush under way.
    ///
    /// - Returns: 0, or the errno of the failure, which may have come earlier.
    public func synchronize() -> Int32 {
        guard let stability else { return 0 }
        let begun = stability.mark
        if let failure = begun.failure { return failure }
        if fdatasync(descriptors[0]) != 0 { stability.remember(errno) }
        let ended = stability.mark
        return ended == begun ? 0 : ended.failure ?? EIO
    }

    /// Closes the descriptions and the medium. Some file systems write back only then, and close(2) says how that went.
    ///
    /// - Returns: 0, or the errno of a failure.
    public func close(_ backend: Backend) -> Int32 {
        let further = leave()
        let last = backend.close()
        let code = last != 0 ? last : further
        guard let stability, let identity else { return 0 }
        if code != 0 { stability.remember(code) }
        images.close(identity)
        return code
    }

    /// The same for another medium, where one loop makes it stable. No loop uses this one any more.
    public func moved(to backend: Backend) -> ImageFlushes {
        guard let next = try? ImageFlushes(backend, loopCount: 1, in: images) else {
            preconditionFailure("a file that is open has a number")
        }
        abandon()
        return next
    }

    /// Closes the descriptions that were opened for this, which no loop uses.
    public func abandon() {
        _ = leave()
        if let identity { images.close(identity) }
    }

    private func leave() -> Int32 {
        stability?.leave(self)
        var code: Int32 = 0
        for descriptor in descriptors.dropFirst() where Glibc.close(descriptor) != 0 { code = errno }
        return code
    }
}

/// The flushes of one loop: one at a time is under way. A request that comes meanwhile waits, and shares the next
/// one, which covers all writes before it began.
@safe
public struct LoopFlush: Sendable {
    private let descriptor: Int32
    /// The maker of this keeps it; counting references is nothing for a loop.
    private let stability: Unmanaged<ImageStability>?
    private var begun = ImageStability.Mark()

    /// How a flush has ended.
    public struct End: Equatable, Sendable {
        /// The errno, also of a flush that failed earlier.
        public var failure: Int32?
        /// It is the first failure of the image.
        public var isNews = false
    }

    /// Of a medium that has nothing to flush.
    fileprivate init() {
        descriptor = -1
        unsafe stability = nil
    }

    fileprivate init(_ descriptor: Int32, _ stability: Unmanaged<ImageStability>) {
        self.descriptor = descriptor
        unsafe self.stability = unsafe stability
    }

    /// Begins a flush; when it is `pending`, its completion carries `userData`, and has to be given to ``end(_:)``
    /// before another one begins.
    public mutating func begin(ring: inout Ring, userData: UInt64) -> BackendProgress {
        guard let stability = unsafe stability else { return .finished }
        begun = unsafe stability._withUnsafeGuaranteedRef { $0.mark }
        if let failure = begun.failure { return .failed(failure) }
        ring.synchronizeData(descriptor, userData: userData)
        return .pending
    }

    /// The flush under way has ended.
    public func end(_ result: Int32) -> End {
        guard let stability = unsafe stability else { preconditionFailure("a flush that never began has ended") }
        return unsafe stability._withUnsafeGuaranteedRef { stability in
            // EINTR, too: the kernel may have told of an error in the same breath.
            let isNews = result < 0 && stability.remember(-result)
            let ended = stability.mark
            return End(failure: ended == begun ? nil : ended.failure ?? EIO, isNews: isNews)
        }
    }
}
