// The file with the changes of an overlay, and the disk that it says, above an image that is only read.

import Blocks
import Glibc
import IOUring
import SimulatedKernel
import Support
import WrittenQcow2

@testable import Backends

/// A qcow2 image above a raw one. It outlives servers.
final class SimulatedChanges {
    /// The image below, and the file.
    let basePath: String
    let path: String
    let baseDescriptor: Int32
    let descriptor: Int32
    private let sizeBytes: Int
    private let imagined: String

    /// Makes both files, with an empty one for the changes.
    init(_ name: String, base: [UInt8], in folder: String) throws {
        basePath = "\(folder)/\(name).img"
        path = "\(folder)/\(name).qcow2"
        imagined = "\(folder)/\(name)-imagined.qcow2"
        sizeBytes = base.count
        (baseDescriptor, descriptor) = (try Self.file(basePath, base), try Self.file(path, []))
    }

    deinit { for file in [baseDescriptor, descriptor] { Glibc.close(file) } }

    private static func file(_ path: String, _ content: [UInt8]) throws -> Int32 {
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0, pwrite(descriptor, content, content.count, 0) == content.count else {
            throw Violation("a file cannot be made: \(errorText(errno))")
        }
        return descriptor
    }

    /// The drive's disk as a server opens it, or somebody who only looks at it.
    func chain(_ file: String? = nil, above base: ImageChain, locking: ImageLocking) throws -> ImageChain {
        try ImageChain(
            changes: file ?? path, above: .init(path: basePath, isQcow2: false), base, cache: .writeback,
            readOnly: file != nil, locking: locking, blockSize: .smallest)
    }

    /// What is on the disk if the file has these bytes: they have to be an image in which nothing is wrong.
    ///
    /// - Parameter mayLeak: clusters may be lost.
    func disk(in bytes: [UInt8], mayLeak: Bool) throws -> [UInt8] {
        let checked = CheckedQcow2(bytes, sectorCount: sizeBytes / 512)
        if let mistake = checked.mistakes.first { throw Violation("\(path): \(mistake)") }
        guard mayLeak || checked.leaks == 0 else { throw Violation("\(path): \(checked.leaks) clusters are lost") }
        Glibc.close(try Self.file(imagined, bytes))
        let base = ImageChain(raw: try Backend(path: basePath, cache: .writeback, readOnly: true, locking: .off))
        var chain = try chain(imagined, above: base, locking: .off)
        defer { chain.close() }
        return chain.beginning(byteCount: sizeBytes)
    }
}
