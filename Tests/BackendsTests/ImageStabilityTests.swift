// What is remembered of failed flushes: the order of answers, clearing, openings of one image.

import Foundation
import Glibc
import IOUring
import Support
import Synchronization
import Testing

@testable import Backends

@Suite struct ImageStabilityTests {
    private let folder: TemporaryFolder
    private let images = OpenImages()

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// Opens a file as it was opened before, without a lock.
    private func open(_ path: String) throws -> (backend: Backend, flushes: ImageFlushes) {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        try #require(descriptor >= 0)
        return try open(descriptor)
    }

    private func open(_ descriptor: Int32) throws -> (backend: Backend, flushes: ImageFlushes) {
        let file = FileBackend(
            descriptor: descriptor, bufferedDescriptor: descriptor, number: nil, granularityBytes: 512,
            ignoresFlushes: false,
            abilities: try FileAbilities(canPunchHoles: false, canZeroRanges: false),
            zeroes: try SharedMemory(byteCount: Int(FileBackend.zeroesByteCount)))
        let backend = Backend(
            kind: .file(file), sizeBytes: 1 << 20, isReadOnly: false, granularityBytes: 512,
            zeroesFastByDeallocating: false, zeroesFastAllocated: false)
        return (backend, try ImageFlushes(backend, loopCount: 2, in: images))
    }

    /// The kernel has told one of two; the other one's success came before or comes after.
    @Test func aSuccessBesideAFailureIsNone() throws {
        let path = try folder.file("disk.img", sizeBytes: 1 << 20)
        let (backend, flushes) = try open(path)
        var ring = try Ring(entries: 8, completions: 16)
        var (first, second) = (flushes.flush(ofLoop: 0), flushes.flush(ofLoop: 1))
        #expect(first.begin(ring: &ring, userData: 1) == .pending)
        #expect(second.begin(ring: &ring, userData: 2) == .pending)
        #expect(first.end(0) == LoopFlush.End(failure: nil))
        #expect(first.begin(ring: &ring, userData: 1) == .pending)
        #expect(second.end(-ENOSPC) == LoopFlush.End(failure: ENOSPC, isNews: true))
        #expect(first.end(0) == LoopFlush.End(failure: ENOSPC))
        // The first errno stays.
        #expect(first.begin(ring: &ring, userData: 1) == .failed(ENOSPC))
        #expect(flushes.stability?.remember(EIO) == false)
        #expect(flushes.synchronize() == ENOSPC)
        #expect(flushes.close(backend) == 0)
    }

    /// What began before the loss was accepted may have been told of it by nobody.
    @Test func aFlushFromBeforeTheLossWasAcceptedFails() throws {
        let path = try folder.file("disk.img", sizeBytes: 1 << 20)
        let (backend, flushes) = try open(path)
        let stability = try #require(flushes.stability)
        var ring = try Ring(entries: 8, completions: 16)
        var flush = flushes.flush(ofLoop: 0)
        #expect(stability.acceptLoss() == nil)
        #expect(flush.begin(ring: &ring, userData: 1) == .pending)
        #expect(flush.end(0) == LoopFlush.End(failure: nil))
        #expect(flush.begin(ring: &ring, userData: 1) == .pending)
        stability.remember(EIO)
        #expect(stability.acceptLoss() == nil && stability.failure == nil)
        #expect(flush.end(0) == LoopFlush.End(failure: EIO))
        #expect(flush.begin(ring: &ring, userData: 1) == .pending)
        #expect(flush.end(0) == LoopFlush.End(failure: nil))
        #expect(flushes.close(backend) == 0)
    }

    /// One image by two paths is one; when all have closed it, it is forgotten.
    @Test func openingsShareWhatIsKnown() throws {
        let path = try folder.file("disk.img", sizeBytes: 1 << 20)
        let other = folder.path + "/other.img"
        try #require(link(path, other) == 0)
        let (first, second) = (try open(path), try open(other))
        let stranger = try open(try folder.file("stranger.img", sizeBytes: 1 << 20))
        first.flushes.stability?.remember(EIO)
        #expect(second.flushes.synchronize() == EIO && stranger.flushes.synchronize() == 0)
        _ = first.flushes.close(first.backend)
        let third = try open(path)
        #expect(third.flushes.stability?.failure == EIO)
        _ = second.flushes.close(second.backend)
        _ = third.flushes.close(third.backend)
        let fourth = try open(path)
        #expect(fourth.flushes.stability?.failure == nil && fourth.flushes.synchronize() == 0)
        for opening in [fourth, stranger] { #expect(opening.flushes.close(opening.backend) == 0) }
    }

    /// A loss is not accepted as long as it goes on: nothing can be synchronized on a pipe.
    @Test func whatStillFailsIsSaid() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { close(ends[0]) }
        let broken = try open(ends[1])
        #expect(broken.flushes.synchronize() == EINVAL)
        #expect(broken.flushes.stability?.acceptLoss() == EINVAL)
        #expect(broken.flushes.stability?.failure == EINVAL)
        _ = broken.flushes.close(broken.backend)
    }

    /// Whoever accepts a loss waits for the file system, and who opens the image meanwhile does not.
    @Test(.enabled(if: StuckDisk.canBeMade, "only root may mount"))
    func openingDoesNotWaitForAFlushOfOthers() throws {
        let disk = try StuckDisk(sizeBytes: 16 << 20)
        let path = disk.path + "/disk.img"
        try Data(repeating: 1, count: 1 << 20).write(to: URL(fileURLWithPath: path))
        let (backend, flushes) = try open(path)
        let stability = try #require(flushes.stability)
        #expect(flushes.synchronize() == 0)
        stability.remember(EIO)
        // A page that is dirty as the disk hangs: storing it waits, and writing it no longer does.
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.write(contentsOf: Data(repeating: 2, count: 4096))
        disk.hang()
        let accepting = Mutex<String>("")
        let isAccepted = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            let thread = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
            accepting.withLock { $0 = thread ?? "" }
            _ = stability.acceptLoss()
            isAccepted.signal()
        }
        try waitUntil("a thread waits for the disk") {
            waitsUninterruptibly(thread: accepting.withLock { $0 })
        }
        let isOpen = DispatchSemaphore(value: 0)
        let opened = Mutex<(backend: Backend, flushes: ImageFlushes)?>(nil)
        Thread.detachNewThread {
            let opening = try? open(path)
            opened.withLock { $0 = opening }
            isOpen.signal()
        }
        #expect(isOpen.wait(timeout: .now() + 5) == .success)
        #expect(isAccepted.wait(timeout: .now()) == .timedOut)
        disk.goOn()
        isAccepted.wait()
        // The one that came late was not asked at first, and then was.
        #expect(stability.failure == nil)
        if let second = opened.withLock({ $0 }) { #expect(second.flushes.close(second.backend) == 0) }
        #expect(flushes.close(backend) == 0)
    }
}
