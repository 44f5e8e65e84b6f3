// Memory of images that are sent from the page cache.

import Support
import Testing

@Suite(.serialized) struct MappedMemoryTests {
    /// A file that was written in large pieces is in the page cache in large folios, where the file system has them,
    /// and one fault brings a whole folio into the page table. A few bytes of each are asked for, never at the same
    /// place in it.
    @Test func largeFoliosAreNotMoreMemory() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = folder.path + "/disk.img"
        try run("dd", ["if=/dev/urandom", "of=\(image)", "bs=1M", "count=512", "status=none"], in: folder)
        let server = try RunningServer(["--threads", "1", image], in: folder)
        let before = server.peakResidentBytes
        let reading = """
            import nbd
            h = nbd.NBD()
            h.connect_uri('\(server.uri)')
            with open('\(image)', 'rb') as file:
                for offset in range(0, 512 << 20, 17 << 16):
                    file.seek(offset)
                    assert h.pread(1 << 14, offset) == file.read(1 << 14), offset
            """
        try run("python3", ["-c", reading], in: folder)
        #expect(server.peakResidentBytes > before + (32 << 20), "nothing is sent from the page cache")
        #expect(server.peakResidentBytes < 256 << 20, "\(server.peakResidentBytes)")
        #expect(try server.stop() == 0)
    }

    /// The most that so many clients can ask for at once, of an image that is cached page by page or in large folios.
    @Test(arguments: [("4k", "read"), ("1M", "rw")])
    func manyClientsThatAskForMuch(piece: String, operation: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = folder.path + "/disk.img"
        try run("dd", ["if=/dev/urandom", "of=\(image)", "bs=\(piece)", "count=256M", "iflag=count_bytes"], in: folder)
        let server = try RunningServer(["--threads", "2", image], in: folder)
        let load = try Program.spindle.run(
            [
                "bench", "--operation", operation, "--destroy-data", "--block-size", "256k", "--pattern", "sequential",
                "--depth", "128", "--connections", "64", "--seconds", "1", server.uri,
            ], in: folder)
        #expect(load.status == 0, "\(load.errors)")
        #expect(server.peakResidentBytes < 256 << 20, "\(server.peakResidentBytes)")
        #expect(try server.stop() == 0)
    }
}
