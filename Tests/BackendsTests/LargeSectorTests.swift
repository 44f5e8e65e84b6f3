// A device with sectors of 4 KiB, as many disks have them: requests of 512 bytes on it, and on a file system on it.

import Blocks
import Glibc
import IOUring
import Support
import Testing

@testable import Backends

/// A loop device with such sectors, which is there as long as this object.
final class LargeSectorDevice {
    let path: String
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("device", sizeBytes: 64 << 20)
        let made = try Program.tool("losetup").run(["-b", "4096", "-f", "--show", file], in: folder)
        guard made.status == 0 else { throw ProgramFailure("no loop device: \(made.errors)") }
        path = String(made.text.dropLast())
    }

    deinit { _ = try? Program.tool("losetup").run(["-d", path], in: folder) }

    /// Root may make them, unless the machine is a container without devices.
    static let canBeMade = geteuid() == 0 && (try? LargeSectorDevice()) != nil
}

@Suite(.serialized, .enabled(if: LargeSectorDevice.canBeMade, "only root has loop devices"))
struct LargeSectorTests {
    /// Every operation on single sectors that share a block of the device, and on whole blocks.
    private func check(_ backend: Backend) throws {
        var bench = try BackendBench(backend)
        var model = [UInt8](repeating: 3, count: 64 << 10)
        var codes = [try bench.write(model, at: 0)]
        let requests: [(BackendOperation, offset: Int, length: Int)] = [
            (.write, 512, 512), (.write, 4096, 4096), (.write, 8192 - 512, 1024),
            (.writeZeroes(mayDeallocate: true), 512, 1536),
            (.writeZeroes(mayDeallocate: false), 12_288 + 512, 8192), (.writeZeroes(mayDeallocate: true), 20_480, 4096),
            (.writeZeroes(mayDeallocate: false), 24_576, 4096), (.write, 28_672 - 512, 512),
        ]
        for (number, (request, offset, length)) in requests.enumerated() {
            let byte = request == .write ? UInt8(10 + number) : 0
            let bytes = [UInt8](repeating: byte, count: length)
            let code =
                request == .write
                ? try bench.write(bytes, at: UInt64(offset)) : try bench.perform(request, at: UInt64(offset), length)
            codes.append(code)
            model.replaceSubrange(offset..<offset + length, with: bytes)
        }
        // What is read after TRIM is anything; that it works is enough, and that it spares what is around it.
        codes.append(try bench.perform(.discard, at: 40_960 + 512, 512))
        codes.append(try bench.perform(.discard, at: 49_152, 4096))
        codes.append(try bench.perform(.flush))
        #expect(codes == Array(repeating: 0, count: codes.count))
        let bytes = try bench.read(at: 0, 64 << 10)
        #expect(Array(bytes[..<41_472]) == Array(model[..<41_472]))
        #expect(Array(bytes[41_984..<49_152]) == Array(model[41_984..<49_152]))
        #expect(Array(bytes[53_248...]) == Array(model[53_248...]))
        let single = try bench.read(at: 7680, 512)
        #expect(single == Array(model[7680..<8192]))
    }

    @Test(arguments: CacheMode.allCases)
    func aBlockDevice(cache: CacheMode) throws {
        let device = try LargeSectorDevice()
        let backend = try Backend(path: device.path, cache: cache, readOnly: false)
        defer { backend.close() }
        #expect(backend.sizeBytes == 64 << 20)
        #expect(backend.granularityBytes == (cache.bypassesPageCache ? 4096 : 1))
        try check(backend)
    }

    /// A sparse image: reading its holes tells nothing about what can be written.
    @Test(arguments: CacheMode.allCases)
    func aSparseFile(cache: CacheMode) throws {
        let device = try LargeSectorDevice()
        let folder = try TemporaryFolder()
        let made = try Program.tool("mkfs.ext4").run(["-q", "-b", "4096", device.path], in: folder)
        try #require(made.status == 0, "\(made.errors)")
        let place = try TemporaryFolder()
        let mounted = try Program.tool("mount").run([device.path, place.path], in: folder)
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { umount2(place.path, Int32(MNT_DETACH)) }
        let backend = try Backend(path: place.file("disk.img", sizeBytes: 1 << 20), cache: cache, readOnly: false)
        defer { backend.close() }
        #expect(backend.granularityBytes == (cache.bypassesPageCache ? 4096 : 1))
        try check(backend)
    }
}
