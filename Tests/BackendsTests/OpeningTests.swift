// What can be opened, by whom, and the words for what cannot.

import Foundation
import Glibc
import Support
import Synchronization
import Testing

@testable import Backends

@Suite struct OpeningTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func error(_ path: String, cache: CacheMode = .writeback, readOnly: Bool = false) throws -> ImageError {
        try #require(throws: ImageError.self) { try Backend(path: path, cache: cache, readOnly: readOnly) }
    }

    /// An overlay's changes need address space, and words about images in memory are no advice for them.
    @Test func overlaysBeyondTheAddressSpace() throws {
        let base = ImageChain(raw: Backend(nullOfSize: 1 << 60, readOnly: true))
        let error = try #require(throws: ImageError.self) { try ImageChain(overlayOf: base, blockSize: .smallest) }
        #expect(
            "\(error)"
                == "this process has no 1152921504606846976 bytes of address space left for the changes of an overlay, as "
                + "many as its disk has: serve fewer at a time, or remove some; 'ulimit -v' may be the limit")
    }

    @Test func oneWriterOrManyReaders() throws {
        let path = try folder.file("disk.img", sizeBytes: 4096)
        let writer = try Backend(path: path, cache: .writeback, readOnly: false)
        for readOnly in [false, true] {
            guard case .locked(path, .otherProgram, .some) = try error(path, readOnly: readOnly) else {
                Issue.record("beside a writer there can be nobody")
                continue
            }
        }
        writer.close()
        let readers = try (0..<3).map { _ in try Backend(path: path, cache: .writeback, readOnly: true) }
        guard case .locked(path, .otherProgram, .some) = try error(path) else {
            Issue.record("beside readers there can be no writer")
            return
        }
        for reader in readers { reader.close() }
        // Those that were refused hold nothing.
        try Backend(path: path, cache: .none, readOnly: false).close()
        try Backend(path: path, cache: .writeback, readOnly: false).close()
    }

    /// Readers of one process have one lock of a file, whoever of them goes first. None comes beside a writer.
    @Test(arguments: [[0, 1, 2], [2, 1, 0], [1, 0, 2]]) func readersHaveOneLock(order: [Int]) throws {
        let path = try folder.file("disk.img", sizeBytes: 4096)
        let readers = try (0..<3).map { _ in try Backend(path: path, cache: .writeback, readOnly: true) }
        let reader = try #require(readers[order[2]].descriptor)
        let writing = try Backend(path: path, cache: .writeback, readOnly: false, locking: .off)
        let writer = try #require(writing.descriptor)
        for number in order {
            #expect(Self.lockCount(path) == 1)
            guard case .locked(path, .otherProgram, .some) = try error(path) else {
                Issue.record("a writer beside reader \(number)")
                return
            }
            if number == order[2] { break }
            #expect(throws: ImageError.self, "beside \(number) there are others") {
                try ImageLock.acquireWriting(writer, beside: reader, path)
            }
            readers[number].close()
        }
        try ImageLock.acquireWriting(writer, beside: reader, path)
        guard case .locked(path, .otherProgram, .some) = try error(path, readOnly: true) else {
            Issue.record("a reader beside a writer")
            return
        }
        ImageLock.endWriting(beside: reader)
        writing.close()
        try Backend(path: path, cache: .writeback, readOnly: true).close()
        #expect(Self.lockCount(path) == 1)
        readers[order[2]].close()
        #expect(Self.lockCount(path) == 0)
        try Backend(path: path, cache: .writeback, readOnly: false).close()
    }

    /// How many descriptors of this process have locks on a file.
    private static func lockCount(_ path: String) -> Int {
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return descriptors.count { number in
            guard (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)")) == path,
                let info = try? String(contentsOfFile: "/proc/self/fdinfo/\(number)", encoding: .utf8)
            else { return false }
            return info.contains("lock:")
        }
    }

    /// Who had the lock before may have added clusters to its image: the size is that of the file when the lock is had.
    @Test func theSizeIsThatBehindTheLock() throws {
        let path = try folder.file("disk.img", sizeBytes: 4096)
        let first = try Backend(path: path, cache: .writeback, readOnly: false)
        let second = Mutex<Result<Backend, any Error>?>(nil)
        // A thread of its own: those that tests share may all be busy with others.
        Thread {
            let opened = Result { try Backend(path: path, cache: .writeback, readOnly: false) }
            second.withLock { $0 = opened }
        }.start()
        try waitUntil("the second one has told that it comes, and waits") { Self.lockCount(path) == 2 }
        #expect(truncate(path, 8192) == 0)
        first.close()
        try waitUntil("it has the lock") { second.withLock { $0 != nil } }
        let backend = try #require(second.withLock { $0 }).get()
        #expect(backend.sizeBytes == 8192)
        backend.close()
    }

    /// QEMU's protocol, byte by byte: 100 + n is what is used, 200 + n what others must not use (0 read, 1 write,
    /// 3 resize).
    @Test(arguments: [false, true])
    func theLocksAreQEMUs(readOnly: Bool) throws {
        let path = try folder.file("disk.img", sizeBytes: 4096)
        let backend = try Backend(path: path, cache: .writeback, readOnly: readOnly)
        defer { backend.close() }
        let other = open(path, O_RDWR)
        defer { close(other) }
        let locked = (90..<300).filter { byte in
            var range = flock(
                l_type: Int16(F_WRLCK), l_whence: Int16(SEEK_SET), l_start: off_t(byte), l_len: 1, l_pid: 0)
            // F_OFD_GETLK.
            return fcntl(other, 36, &range) == 0 && range.l_type != Int16(F_UNLCK)
        }
        #expect(locked == (readOnly ? [100, 201, 203] : [100, 101, 201, 203]))
    }

    @Test func whatIsNoImage() throws {
        #expect(try error(folder.path) == .unsuitable(path: folder.path, what: "a directory"))
        #expect(try error(folder.path, readOnly: true) == .unsuitable(path: folder.path, what: "a directory"))
        let fifo = folder.path + "/fifo"
        try #require(mkfifo(fifo, 0o600) == 0)
        // Nobody is at the other end, and nobody waits for them.
        #expect(try error(fifo) == .unsuitable(path: fifo, what: "a FIFO"))
        #expect(try error("/dev/null") == .unsuitable(path: "/dev/null", what: "a character device"))
        let missing = folder.path + "/missing"
        #expect(try error(missing) == .cannotOpen(path: missing, errno: ENOENT, readOnly: false))
        #expect(try error(missing + "/x") == .cannotOpen(path: missing + "/x", errno: ENOENT, readOnly: false))
        let long = String(repeating: "x", count: 5000)
        #expect(try error(long, readOnly: true) == .cannotOpen(path: long, errno: ENAMETOOLONG, readOnly: true))
    }

    /// procfs does not know O_DIRECT.
    @Test func aFileSystemWithoutDirectAccess() throws {
        let error = try error("/proc/version", cache: .directsync, readOnly: true)
        #expect(error == .noDirectAccess(path: "/proc/version", mode: .directsync))
        for word in ["/proc/version", "O_DIRECT", "'directsync'", "--cache writeback"] {
            #expect("\(error)".contains(word))
        }
    }

    @Test func tooMuchMemory() throws {
        for size in [1 << 57, UInt64(Int.max), .max] {
            let error = #expect(throws: ImageError.self) { try Backend(memoryOfSize: size, readOnly: false) }
            #expect(error == .tooLarge(sizeBytes: size))
        }
        // Address space costs nothing.
        _ = try Backend(memoryOfSize: 1 << 40, readOnly: false)
    }

    @Test(arguments: [
        (ImageError.cannotOpen(path: "/x", errno: ENOENT, readOnly: false), ["'/x'", "No such file", "truncate -s"]),
        (.cannotOpen(path: "/x", errno: EACCES, readOnly: false), ["'/x'", "Permission denied", "--read-only"]),
        (.cannotOpen(path: "/x", errno: EROFS, readOnly: false), ["Read-only file system", "--read-only"]),
        (.cannotOpen(path: "/x", errno: EACCES, readOnly: true), ["Permission denied"]),
        (.unsuitable(path: "/x", what: "a FIFO"), ["'/x'", "a FIFO", "block device"]),
        (.locked(path: "/x", file: nil), ["'/x'", "QEMU", "two writers"]),
        (.locked(path: "/x", by: .export("a"), file: nil), ["'/x'", "export 'a' of this server", "two writers"]),
        (.tooLarge(sizeBytes: 7), ["7 bytes", "null:SIZE"]),
        (.noAlignment(path: "/x"), ["'/x'", "O_DIRECT", "--cache writeback"]),
    ])
    func words(error: ImageError, parts: [String]) {
        for part in parts { #expect("\(error)".contains(part)) }
    }
}

/// Whoever has looked at a file opens that one or none (O_NOFOLLOW, the same inode).
@Suite struct ExpectedFileTests {
    private func number(_ path: String) throws -> FileNumber {
        var status = stat()
        try #require(lstat(path, &status) == 0)
        return FileNumber(status)
    }

    @Test(arguments: [CacheMode.writeback, .none]) func anotherFileIsRefused(cache: CacheMode) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let path = try folder.file("disk.img", sizeBytes: 4096)
        let other = try folder.file("other.img", sizeBytes: 4096)
        let link = folder.path + "/link.img"
        #expect(symlink(other, link) == 0)
        try Backend(path: path, cache: cache, readOnly: false, expected: number(path)).close()
        try Backend(path: link, cache: cache, readOnly: false).close()
        for (path, expected) in [(path, try number(other)), (link, try number(other)), (link, try number(link))] {
            #expect(throws: ImageError.replaced(path: path)) {
                try Backend(path: path, cache: cache, readOnly: false, expected: expected)
            }
        }
        // Those that were refused hold nothing.
        try Backend(path: other, cache: cache, readOnly: false).close()
    }
}
