// Storing what a unit has left behind when nobody has it open: on a thread that may wait.

import Blocks
import Glibc
import IOUring

extension Backend {
    /// Writes bytes, waiting for that.
    ///
    /// - Returns: 0, or the errno of the failure.
    public func storeNow(_ bytes: MemoryRange, at offset: UInt64) -> Int32 {
        switch kind {
        case .file(let file): return file.storeNow(bytes, at: offset)
        case .memory(let memory):
            _ = memory.perform(BackendTask(.write, offset: offset, data: bytes))
            return 0
        case .null: return 0
        }
    }

    /// Stores zeroes, or discards, waiting for that.
    ///
    /// - Returns: 0, or the errno of the failure.
    public func performNow(_ request: BackendRequest) -> Int32 {
        switch kind {
        case .file(let file): return file.performNow(request)
        case .memory(let memory):
            _ = memory.perform(BackendTask(request.operation, offset: request.offset, length: request.length))
            return 0
        case .null: return 0
        }
    }
}

extension FileBackend {
    fileprivate func storeNow(_ bytes: MemoryRange, at offset: UInt64) -> Int32 {
        var done = 0
        while done < bytes.count {
            let rest = bytes.dropFirst(done)
            let place = off_t(clamping: offset + UInt64(done))
            let count = unsafe pwrite(bufferedDescriptor, rest.start, rest.count, place)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? ENOSPC : errno }
            done += count
        }
        return 0
    }

    fileprivate func performNow(_ request: BackendRequest) -> Int32 {
        let discards = request.operation == .discard
        let mayDeallocate = request.operation != .writeZeroes(mayDeallocate: false)
        let code = LinuxFile.allocate(
            descriptor, mode: mayDeallocate ? LinuxFile.punchHole : LinuxFile.zeroRange, offset: request.offset,
            length: request.length)
        guard code == EOPNOTSUPP || code == EINVAL else { return code }
        // Discarding is advice. Zeroes have to be there.
        guard !discards else { return 0 }
        var done: UInt64 = 0
        while done < request.length {
            let count = min(request.length - done, Self.zeroesByteCount)
            let code = unsafe storeNow(MemoryRange(zeroes.base, count: Int(count)), at: request.offset + done)
            guard code == 0 else { return code }
            done += count
        }
        return 0
    }
}
