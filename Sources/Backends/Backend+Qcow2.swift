// What is done with a qcow2 image when it is opened, on a thread that may wait: repair, and a look at its snapshots.

import Blocks
import Glibc
import IOUring

extension Backend {
    /// Makes new refcounts for a dirty image.
    ///
    /// - Returns: how large the file is now, in bytes.
    func repair(_ header: Qcow2Header, _ path: String) throws(ImageError) -> UInt64 {
        do throws(Qcow2RepairError) {
            var repair = try Qcow2Repair(header, WaitingFile(backend: self)) { byteCount throws(Qcow2RepairError) in
                do throws(RingError) {
                    return try LayerMemory(mapping: byteCount)
                } catch {
                    throw .failed(ENOMEM)
                }
            }
            return try repair.run()
        } catch {
            throw .qcow2(
                path: path,
                "it is marked as dirty, and its refcounts cannot be made anew: \(error.words); 'qemu-img check -r all' may "
                    + "repair it, and --read-only serves it as it is")
        }
    }

    /// The header of an image as it was at an internal snapshot.
    func header(_ header: Qcow2Header, atSnapshot name: String, of path: String) throws(ImageError) -> Qcow2Header {
        do throws(Qcow2Error) {
            return try header.header(atSnapshot: name, of: snapshots(header))
        } catch {
            throw .qcow2(path: path, "\(error)")
        }
    }

    fileprivate func snapshots(_ header: Qcow2Header) throws(Qcow2Error) -> [Qcow2Snapshot] {
        try header.snapshots { range in
            var bytes = [UInt8](repeating: 0, count: range.count)
            return unsafe bytes.withUnsafeMutableBytes { unsafe readNow(into: $0, at: range.lowerBound) } ? bytes : nil
        }.entries
    }
}

extension ImageChain {
    /// The internal snapshots of a qcow2 image, which is only looked at, and may be in use.
    public static func snapshots(ofQcow2 path: String) throws(ImageError) -> [Qcow2Snapshot] {
        let backend = try Backend(path: path, cache: .writeback, readOnly: true, locking: .off)
        defer { backend.close() }
        let header = try Qcow2Header(of: backend, path)
        do throws(Qcow2Error) {
            return try backend.snapshots(header)
        } catch {
            throw .qcow2(path: path, "\(error)")
        }
    }
}

/// A file that is read and written in calls that wait.
private struct WaitingFile: Qcow2RepairFile {
    let backend: Backend

    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32 {
        unsafe backend.readNow(into: bytes, at: offset) ? 0 : EIO
    }

    func write(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32 {
        unsafe backend.storeNow(MemoryRange(bytes.baseAddress, count: bytes.count), at: offset)
    }

    func synchronize() -> Int32 {
        guard let descriptor = backend.flushedDescriptor else { return 0 }
        return fdatasync(descriptor) == 0 ? 0 : errno
    }
}

extension Qcow2RepairError {
    fileprivate var words: String {
        switch self {
        case .damage(let damage): "\(damage)"
        case .snapshots(let error): "\(error)"
        case .hasBitmaps: "it has dirty bitmaps, which are not read here"
        case .tooLarge: "it has more tables than are read for that"
        case .tooManyUsers(let offset): "what is at byte \(offset) has more users than a refcount can say"
        case .failed(let code): errorText(code)
        }
    }
}
