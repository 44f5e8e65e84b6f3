// A medium and the ring that its operations go through, one after the other.

import Backends
import Blocks
import Glibc
import IOUring
import Testing

/// Something did not come in time.
struct Late: Error {}

struct BackendBench: ~Copyable {
    let backend: Backend
    private var flush = LoopFlush?.none
    private let flushes: ImageFlushes?
    private var ring: Ring
    /// Memory as requests have it: on a page, so that O_DIRECT takes it.
    private let memory: UnsafeMutableRawPointer
    static let memoryBytes = 4 << 20
    private var guardian: UInt64 = 1 << 32

    init(_ backend: Backend) throws {
        let memory = try mapMemory(byteCount: Self.memoryBytes)
        let ring = try Ring(entries: 8, completions: 64)
        self.backend = backend
        flushes = try? ImageFlushes(backend, loopCount: 1, in: OpenImages())
        flush = flushes?.flush(ofLoop: 0)
        self.memory = memory
        self.ring = ring
    }

    deinit {
        munmap(memory, Self.memoryBytes)
    }

    /// Performs a request to its end, after the kernel has interrupted it so many times.
    ///
    /// - Returns: 0, or the errno of its failure.
    mutating func perform(
        _ request: BackendOperation, at offset: UInt64 = 0, _ length: Int = 0, interruptions: Int = 0
    ) throws -> Int32 {
        if request == .flush { return try performFlush() }
        var interruptionsLeft = interruptions
        var task = BackendTask(request, offset: offset, length: UInt64(length), buffer: memory)
        var progress = backend.start(&task, ring: &ring, userData: 1)
        while progress == .pending {
            var result = try completion()
            if interruptionsLeft > 0 {
                interruptionsLeft -= 1
                result = -EINTR
            }
            progress = backend.resume(&task, result: result, ring: &ring, userData: 1)
        }
        if case .failed(let code) = progress { return code }
        return 0
    }

    private mutating func performFlush() throws -> Int32 {
        guard var flush else { return EBADF }
        switch flush.begin(ring: &ring, userData: 1) {
        case .finished: return 0
        case .failed(let code): return code
        case .pending: return flush.end(try completion()).failure ?? 0
        }
    }

    /// Reads what cannot be read.
    ///
    /// - Returns: the errno, and the bytes that were read before it.
    mutating func failToRead(at offset: UInt64, _ length: Int) throws -> (code: Int32, bytes: [UInt8]) {
        var task = BackendTask(.read, offset: offset, length: UInt64(length), buffer: memory)
        var progress = backend.start(&task, ring: &ring, userData: 1)
        while progress == .pending {
            let result = try completion()
            progress = backend.resume(&task, result: result, ring: &ring, userData: 1)
        }
        guard case .failed(let code) = progress else { return (0, []) }
        return (code, Array(UnsafeRawBufferPointer(start: memory, count: Int(task.doneBytes))))
    }

    /// Reads; what is not read would show.
    mutating func read(at offset: UInt64, _ length: Int) throws -> [UInt8] {
        memset(memory, 0xA5, length)
        let code = try perform(.read, at: offset, length)
        try #require(code == 0)
        return Array(UnsafeRawBufferPointer(start: memory, count: length))
    }

    mutating func write(_ bytes: [UInt8], at offset: UInt64) throws -> Int32 {
        memcpy(memory, bytes, bytes.count)
        return try perform(.write, at: offset, bytes.count)
    }

    /// Whether a request was done without the kernel.
    mutating func isDoneAtOnce(_ request: BackendOperation, at offset: UInt64 = 0, _ length: Int = 512) throws -> Bool {
        var task = BackendTask(request, offset: offset, length: UInt64(length), buffer: memory)
        let progress = backend.start(&task, ring: &ring, userData: 1)
        if progress == .pending { _ = try completion() }
        return progress == .finished
    }

    /// The result of the one operation under way.
    private mutating func completion() throws -> Int32 {
        let limit = IOUring.Duration(milliseconds: 20_000)
        guardian += 1
        ring.timeout(limit, userData: guardian)
        while true {
            try ring.submitAndWait(1)
            while ring.completionsReady > 0 {
                let completion = ring.completion(at: 0)
                ring.releaseCompletions(1)
                if completion.userData == 1 { return completion.result }
                if completion.userData == guardian { throw Late() }
            }
        }
    }
}

/// What stat(2) says of a file.
func status(_ path: String) throws -> stat {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    return status
}
