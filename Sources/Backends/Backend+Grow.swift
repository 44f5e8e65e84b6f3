// Images that become larger while they are served.

import Glibc
import IOUring

extension Backend {
    /// Makes the image larger; a size that it has already is no error.
    ///
    /// - Parameter sizeBytes: the new size; nil: nothing is done, somebody else may have made it larger.
    /// - Returns: its size in bytes now.
    public func grow(toBytes sizeBytes: UInt64?) throws(ImageError) -> UInt64 {
        switch kind {
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

extension FileBackend {
    fileprivate func grow(toBytes sizeBytes: UInt64?, isReadOnly: Bool) throws(ImageError) -> UInt64 {
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
        return try extend(toBytes: sizeBytes)
    }

    /// Allocates the last block of the new size: unlike ftruncate(2), that never makes a file smaller which somebody
    /// else has made larger in the meantime. The range before it is a hole.
    private func extend(toBytes sizeBytes: UInt64) throws(ImageError) -> UInt64 {
        guard sizeBytes <= UInt64(off_t.max) else { throw .cannotGrow("\(sizeBytes) bytes: \(errorText(EFBIG))") }
        var code = EINTR
        while code == EINTR {
            code = LinuxFile.allocate(bufferedDescriptor, mode: 0, offset: sizeBytes - 1, length: 1)
        }
        guard code != EOPNOTSUPP else {
            throw .cannotGrow(
                "its file system cannot make it larger without the risk of making it smaller (fallocate(2)); "
                    + "make the file larger, 'truncate -s SIZE FILE' for instance, then ask without a size")
        }
        guard code == 0 else { throw .cannotGrow("\(sizeBytes) bytes: \(errorText(code))") }
        var status = stat()
        guard unsafe fstat(bufferedDescriptor, &status) == 0 else { throw .cannotGrow(errorText(errno)) }
        return UInt64(status.st_size)
    }
}
