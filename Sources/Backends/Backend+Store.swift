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

    /// Performs a request of layers, waiting for that; a flush is not the backend's.
    ///
    /// - Returns: 0, or the errno of the failure.
    @unsafe public func performNow(_ request: BackendRequest, _ bytes: UnsafeMutableRawBufferPointer) -> Int32 {
        let range = request.offset..<request.offset + request.length
        switch request.operation {
        case .read: return unsafe readNow(into: bytes, at: request.offset) ? 0 : EIO
        case .write: return unsafe storeNow(MemoryRange(bytes.baseAddress, count: bytes.count), at: request.offset)
        case .writeZeroes(let mayDeallocate): return zeroNow(range, mayDeallocate: mayDeallocate)
        case .discard: return zeroNow(range, mayDeallocate: true)
        case .flush, .prefetch, .lookUp: return 0
        }
    }

    /// Stores zeroes, waiting for that.
    ///
    /// - Returns: 0, or the errno of the failure.
    public func zeroNow(_ range: Range<UInt64>, mayDeallocate: Bool) -> Int32 {
        switch kind {
        case .file(let file): return file.zeroNow(range, mayDeallocate: mayDeallocate)
        case .memory(let memory):
            _ = memory.perform(
                BackendTask(
                    .writeZeroes(mayDeallocate: mayDeallocate), offset: range.lowerBound,
                    length: range.upperBound - range.lowerBound))
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

    fileprivate func zeroNow(_ range: Range<UInt64>, mayDeallocate: Bool) -> Int32 {
        let code = LinuxFile.allocate(
            descriptor, mode: mayDeallocate ? LinuxFile.punchHole : LinuxFile.zeroRange, offset: range.lowerBound,
            length: range.upperBound - range.lowerBound)
        // The backend writes zeroes where the file system, or the device, cannot do so.
        guard code == EOPNOTSUPP || code == EINVAL else { return code }
        var place = range.lowerBound
        while place < range.upperBound {
            let count = min(range.upperBound - place, Self.zeroesByteCount)
            let code = unsafe storeNow(MemoryRange(zeroes.base, count: Int(count)), at: place)
            guard code == 0 else { return code }
            place += count
        }
        return 0
    }
}
