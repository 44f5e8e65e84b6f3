// Opening a qcow2 image: what its header says, and what the disk begins with.

import Blocks
import Glibc
import IOUring

extension BlockStack {
    /// The layer of a qcow2 image that is open. Only its header is read.
    ///
    /// - Parameters:
    ///   - fileBytes: how many bytes the file has.
    ///   - path: its name, for messages.
    ///   - blockSize: of the unit that has it.
    public init(
        qcow2 descriptor: Int32, fileBytes: UInt64, path: String, blockSize: BlockSize
    ) throws(ImageError) {
        self.init()
        var bytes = [UInt8](repeating: 0, count: Int(min(fileBytes, UInt64(Qcow2Header.byteCount))))
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, $0.count, 0) }
        guard count == bytes.count else {
            throw .cannotOpen(path: path, errno: count < 0 ? errno : EIO, readOnly: true)
        }
        do {
            let header = try Qcow2Header(bytes, fileBytes: fileBytes)
            let memory = try LayerMemory(mapping: Qcow2.memoryBytes(header))
            qcow2 = Qcow2(header, memory: memory, blockSize: blockSize)
        } catch let error as Qcow2Error {
            throw .qcow2(path: path, error)
        } catch {
            throw .tooLarge(sizeBytes: fileBytes)
        }
    }

    /// The first bytes of the disk, waiting for them; nil if they cannot be read.
    ///
    /// - Parameter descriptor: the image.
    public mutating func beginning(byteCount: Int, of descriptor: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        var task = BlockTask()
        let memory = memory
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            var data = unsafe MutableRawSpan(_unsafeBytes: buffer)
            var step = begin(BackendRequest(.read, length: UInt64(byteCount)), &task, &data)
            while case .io(let request) = step {
                let (start, count) = (Int(request.dataOffset), Int(request.length))
                let place =
                    switch request.dataPlace {
                    case .request: unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start..<start + count])
                    case .layers: unsafe memory?[start..<start + count]
                    }
                let isRead = unsafe place.map { unsafe readAll($0, descriptor, request.offset) } ?? false
                step = resume(isRead ? .done : .failed(.unrecovered), &task, &data)
            }
            return step == .finished
        } ? bytes : nil
    }
}

/// Reads bytes, zeroes behind the end of the file.
private func readAll(_ bytes: UnsafeMutableRawBufferPointer, _ descriptor: Int32, _ offset: UInt64) -> Bool {
    var done = 0
    while done < bytes.count {
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
        let count = unsafe pread(descriptor, rest.baseAddress, rest.count, off_t(clamping: offset + UInt64(done)))
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return false }
        guard count > 0 else {
            unsafe rest.initializeMemory(as: UInt8.self, repeating: 0)
            return true
        }
        done += count
    }
    return true
}

extension Backend {
    /// The layers of a file that is a qcow2 image.
    public func qcow2(path: String, blockSize: BlockSize) throws(ImageError) -> BlockStack {
        guard case .file(let file) = kind else { preconditionFailure("only a file has a format") }
        return try BlockStack(
            qcow2: file.bufferedDescriptor, fileBytes: sizeBytes, path: path, blockSize: blockSize)
    }

    /// The first bytes of a disk whose image has layers, waiting for them; zeroes where they cannot be read.
    public func beginning(byteCount: Int, through blocks: inout BlockStack) -> [UInt8] {
        guard case .file(let file) = kind, blocks.qcow2 != nil else { return beginning(byteCount: byteCount) }
        return blocks.beginning(byteCount: byteCount, of: file.bufferedDescriptor)
            ?? [UInt8](repeating: 0, count: byteCount)
    }
}
