// Files that are served as qcow2 images (QEMU, docs/interop/qcow2.txt), read and written: whatever they are, each
// request ends.

import Blocks

private let requestBytes: UInt64 = 1 << 16
private let blockBytes: UInt64 = 512
private let rawBytes: UInt64 = 5000
/// What is written behind it has no room.
private let fullBytes: UInt64 = 1 << 24

/// A file as an image, of which some places are read and looked up.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    var file = Array(UnsafeBufferPointer(start: data, count: count))
    do {
        let header = try Qcow2Header(file, fileBytes: UInt64(count))
        let isWritable = (try? header.checkWritable()) != nil
        let byteCount = Qcow2.memoryBytes([header], isWritable: isWritable)
        precondition(byteCount <= 16 << 20, "an image has as much memory as any other")
        let memory = LayerMemory(
            UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096), byteCount: byteCount
        ) { start, _ in start.deallocate() }
        var stack = BlockStack()
        // A backing file is there for whoever names one.
        let rawBytes = header.backing == nil ? nil : rawBytes
        stack.qcow2 = Qcow2(
            [header], rawBytes: rawBytes, memory: memory, blockSize: .smallest, isWritable: isWritable)
        let blocks = header.sizeBytes / blockBytes + (header.sizeBytes % blockBytes == 0 ? 0 : 1)
        guard blocks > 0, blocks <= 1 << 48 else { return 0 }
        for first in [0, blocks / 3, blocks / 2, blocks - 1] {
            let rest = (blocks - first) * blockBytes
            perform(.read, first * blockBytes, min(requestBytes, rest), &stack, &file)
            perform(.lookUp, first * blockBytes, rest, &stack, &file)
        }
        guard isWritable else { return 0 }
        for first in [0, blocks / 3, blocks / 2, blocks - 1] {
            let length = min(requestBytes, (blocks - first) * blockBytes)
            perform(.write, first * blockBytes, blockBytes, &stack, &file)
            perform(.writeZeroes(mayDeallocate: true), first * blockBytes, length, &stack, &file)
            perform(.write, first * blockBytes, length, &stack, &file)
            perform(.discard, first * blockBytes, length, &stack, &file)
            perform(.flush, 0, 0, &stack, &file)
        }
        if let damage = stack.takeDamage() { precondition(!damage.description.isEmpty, "damage says what it is") }
    } catch {
        precondition(!error.description.isEmpty, "an error says what is wrong")
    }
    return 0
}

private func perform(
    _ operation: BackendOperation, _ offset: UInt64, _ length: UInt64, _ stack: inout BlockStack, _ image: inout [UInt8]
) {
    let hasData = operation == .read || operation == .write
    var bytes = [UInt8](repeating: 0, count: hasData ? Int(length) : 0)
    var task = BlockTask()
    bytes.withUnsafeMutableBytes { buffer in
        var data = MutableRawSpan(_unsafeBytes: buffer)
        var step = stack.begin(BackendRequest(operation, offset: offset, length: length), &task, &data)
        var stepCount = 0
        while case .io(let request) = step {
            stepCount += 1
            let mostSteps = operation == .read || operation == .lookUp ? 4 * requestBytes / blockBytes : 1 << 17
            precondition(stepCount <= mostSteps, "each step brings a request further")
            if request.operation == .lookUp {
                precondition(request.file == 1, "of images, the tables say what is stored")
                step = stack.resume(
                    BackendExtent(isMapped: true, lengthBytes: request.length), &task, &data)
                continue
            }
            let changes = request.operation != .read
            precondition(!changes || request.file == 0, "a backing file is only read")
            guard request.operation == .read || request.operation == .write else {
                // Holes and zeroes, which make no difference here.
                step = stack.resume(.done, &task, &data)
                continue
            }
            let start = Int(request.dataOffset)
            let part = start..<start + Int(request.length)
            let place =
                stack.memory(of: request.dataPlace)?[part] ?? UnsafeMutableRawBufferPointer(rebasing: buffer[part])
            if changes {
                let isFull = request.offset + request.length > fullBytes
                if !isFull { store(Array(place), at: Int(request.offset), in: &image) }
                step = stack.resume(isFull ? .failed(.noSpace) : .done, &task, &data)
                continue
            }
            let file = request.file == 0 ? image : [UInt8](repeating: 1, count: Int(rawBytes))
            let first = Int(min(request.offset, UInt64(file.count)))
            let count = min(place.count, file.count - first)
            for index in 0..<place.count { place[index] = index < count ? file[first + index] : 0 }
            step = stack.resume(.done, &task, &data)
        }
        switch step {
        case .finished: precondition(operation != .lookUp, "a look-up finds something")
        case .found(let extent):
            precondition(extent.lengthBytes >= blockBytes && extent.lengthBytes <= length, "an extent is in the range")
        case .failed(_, let bytes): precondition(bytes < max(length, 1), "what was read lies before the failure")
        case .io, .wait, .waitForOthers: preconditionFailure("one request alone waits for nobody")
        }
    }
}

private func store(_ bytes: [UInt8], at offset: Int, in file: inout [UInt8]) {
    if file.count < offset + bytes.count { file += [UInt8](repeating: 0, count: offset + bytes.count - file.count) }
    file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
}
