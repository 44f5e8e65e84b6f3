// Images that become larger while they are served.

import Glibc
import IOUring

extension Medium {
    /// Makes the image larger; a size that it has already is no error.
    ///
    /// - Parameter sizeBytes: the new size; nil: nothing is done, somebody else may have made it larger.
    /// - Returns: its size in bytes now.
    public func grow(toBytes sizeBytes: UInt64?) throws(MediumError) -> UInt64 {
        switch storage {
        case .null:
            return max(sizeBytes ?? self.sizeBytes, self.sizeBytes)
        case .memory:
            guard sizeBytes == nil || sizeBytes == self.sizeBytes else { throw .cannotGrow("memory has a fixed size") }
            return self.sizeBytes
        case .file(let file):
            return try file.grow(toBytes: sizeBytes, isReadOnly: isReadOnly)
        }
    }
}

extension RawFile {
    fileprivate func grow(toBytes sizeBytes: UInt64?, isReadOnly: Bool) throws(MediumError) -> UInt64 {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .cannotGrow(errorText(errno)) }
        if status.st_mode & S_IFMT == S_IFBLK {
            guard sizeBytes == nil else {
                throw .cannotGrow("a block device has the size it has; grow the device, then ask without a size")
            }
            let end = lseek(descriptor, 0, SEEK_END)
            guard end >= 0 else { throw .cannotGrow(errorText(errno)) }
            return UInt64(end)
        }
        let present = UInt64(status.st_size)
        guard let sizeBytes, sizeBytes != present else { return present }
        guard !isReadOnly else { throw .cannotGrow("it is served read-only") }
        guard sizeBytes > present else {
            throw .cannotGrow("it has \(present) bytes, more than \(sizeBytes); shrinking would lose data")
        }
        guard let length = off_t(exactly: sizeBytes), ftruncate(bufferedDescriptor, length) == 0 else {
            throw .cannotGrow("\(sizeBytes) bytes: \(errorText(errno))")
        }
        return sizeBytes
    }
}
