// libnbd, by its Python shell: commands and replies one by one.

import Support
import Testing

@Suite struct NbdshTests {
    /// Images of 1 MiB of different kinds, as arguments; `FILE` stands for a file on a disk.
    static let images: [[String]] = [
        ["memory:1M"], ["FILE"], ["--cache", "none", "FILE"], ["--cache", "directsync", "FILE"],
    ]

    /// Serves one of them.
    private func servingImage(_ arguments: [String], _ body: (RunningServer, TemporaryFolder) throws -> Void) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("disk.img", sizeBytes: 1 << 20)
        try serving(arguments.map { $0 == "FILE" ? file : $0 }, in: folder) { try body($0, folder) }
    }

    @Test(arguments: images)
    func structuredReadsShowHoles(arguments: [String]) throws {
        try servingImage(arguments) { server, folder in
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                assert h.get_structured_replies_negotiated()
                h.pwrite(b'a' * 65536, 0)
                h.pwrite(b'b' * 65536, 131072)
                def chunks(length, offset, flags=0):
                    found = []
                    def chunk(data, offset, status, error):
                        assert error.value == 0
                        found.append((offset, len(data), status))
                    content = h.pread_structured(length, offset, chunk, flags)
                    return sorted(found), content
                data, hole = nbd.READ_DATA, nbd.READ_HOLE
                found, content = chunks(262144, 0)
                assert content == b'a' * 65536 + bytes(65536) + b'b' * 65536 + bytes(65536)
                assert found == [(0, 65536, data), (65536, 65536, hole), (131072, 65536, data), (196608, 65536, hole)], found
                # Inside, across the edges of blocks of 4 KiB: what is not known to be a hole is data.
                found, content = chunks(8192, 61440 - 512)
                assert content == b'a' * 4608 + bytes(3584)
                assert found == [(60928, 4608, data), (65536, 3584, hole)], found
                assert chunks(1048576 - 196608, 196608)[0] == [(196608, 1048576 - 196608, hole)]
                # DF: one piece, with the same content.
                found, content = chunks(262144, 0, nbd.CMD_FLAG_DF)
                assert found == [(0, 262144, data)], found
                assert content == b'a' * 65536 + bytes(65536) + b'b' * 65536 + bytes(65536)
                # More pieces than a reply has room for: each byte still comes exactly once.
                for block in range(0, 256, 2): h.pwrite(b'c' * 4096, block * 4096)
                found, content = chunks(1048576, 0)
                position = 0
                for offset, length, status in found:
                    assert offset == position
                    position += length
                assert position == 1048576
                for block in range(0, 256, 2): assert content[block * 4096:(block + 1) * 4096] == b'c' * 4096
                """, in: folder)
        }
    }

    @Test func simpleRepliesWhereStructuredOnesAreNotWanted() throws {
        try servingImage(["memory:1M"]) { server, folder in
            try nbdsh(
                [server.uri],
                """
                h.set_request_structured_replies(False)
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                assert not h.get_structured_replies_negotiated()
                assert not h.can_df()
                h.pwrite(b'a' * 512, 512)
                assert h.pread(2048, 0) == bytes(512) + b'a' * 512 + bytes(1024)
                refused('EINVAL', lambda: h.pread(512, 0, nbd.CMD_FLAG_DF))
                refused('EINVAL', lambda: h.pread(512, h.get_size()))
                refused('EINVAL', lambda: h.pread((32 << 20) + 512, 0))
                assert h.pread(512, 512) == b'a' * 512
                """, in: folder)
        }
    }

    @Test(arguments: images)
    func zeroesTrimCacheAndFlush(arguments: [String]) throws {
        try servingImage(arguments) { server, folder in
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                pattern = b'abcdefgh' * 8192
                def zeroed(call):
                    h.pwrite(pattern, 65536)
                    call(8192, 65536 + 512)
                    assert h.pread(65536, 65536) == pattern[:512] + bytes(8192) + pattern[8704:]
                zeroed(lambda length, offset: h.zero(length, offset))
                zeroed(lambda length, offset: h.zero(length, offset, nbd.CMD_FLAG_NO_HOLE))
                # Zeroes whatever the drive promises, because the medium makes holes of what is trimmed.
                zeroed(lambda length, offset: h.trim(length, offset))
                # Fast zeroes either happen or are refused as not fast.
                h.pwrite(pattern, 0)
                try: h.zero(65536, 0, nbd.CMD_FLAG_FAST_ZERO)
                except nbd.Error as error: assert error.errno == 'ENOTSUP' and h.pread(65536, 0) == pattern
                else: assert h.pread(65536, 0) == bytes(65536)
                # The whole drive at once, with more than one command of the drive's.
                h.zero(1 << 20, 0)
                h.trim(1 << 20, 0)
                h.cache(1 << 20, 0)
                assert h.pread(1 << 20, 0) == bytes(1 << 20)
                if h.can_flush(): h.flush()
                """, in: folder)
        }
    }

    /// TRIM and WRITE_ZEROES cover more than 32 bits of lengths allow for a payload.
    @Test func zeroesAndTrimReachFarBeyondAPayload() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 16 << 30)
        try serving([image], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                length = 0xfffffe00
                for call in (h.zero, h.trim):
                    for offset in (0, 512, 4 << 30, (8 << 30) - 512):
                        places = [offset, offset + (2 << 30), offset + length - 512]
                        for place in places: h.pwrite(b'x' * 512, place)
                        h.pwrite(b'y' * 512, offset + length)
                        call(length, offset)
                        for place in places: assert h.pread(512, place) == bytes(512), place
                        assert h.pread(512, offset + length) == b'y' * 512
                h.cache(length, 0)
                """, in: folder)
        }
        #expect(try allocatedBytes(image) < 1 << 20)
    }

    /// A QEMU HARDDISK has no WRITE DMA FUA EXT.
    @Test func forceUnitAccessIsRefused() throws {
        try servingImage(["memory:1M"]) { server, folder in
            try nbdsh(
                [server.uri],
                """
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                assert not h.can_fua()
                refused('EINVAL', lambda: h.pwrite(b'x' * 512, 0, nbd.CMD_FLAG_FUA))
                refused('EINVAL', lambda: h.zero(512, 0, nbd.CMD_FLAG_FUA))
                refused('EINVAL', lambda: h.trim(512, 0, nbd.CMD_FLAG_FUA))
                assert h.pread(512, 0) == bytes(512)
                """, in: folder)
        }
    }

    /// What was not offered is refused and harms nothing: each refusal is followed by a request that is served.
    @Test func whatIsWrongIsRefused() throws {
        try servingImage(["memory:1M"]) { server, folder in
            try nbdsh(
                [server.uri],
                """
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                h.pwrite(b'k' * 512, 0)
                size = h.get_size()
                def checked(name, call):
                    refused(name, call)
                    assert h.pread(512, 0) == b'k' * 512
                # Unaligned, on a connection that was told the minimum block size.
                checked('EINVAL', lambda: h.pread(512, 1))
                checked('EINVAL', lambda: h.pread(1, 512))
                checked('EINVAL', lambda: h.pwrite(b'x' * 100, 0))
                checked('EINVAL', lambda: h.zero(100, 0))
                checked('EINVAL', lambda: h.trim(512, 100))
                checked('EINVAL', lambda: h.cache(100, 0))
                # Beyond the end: reads and advice are invalid, for writes there is no space.
                for offset, length in ((size, 512), (size - 512, 1024), (1 << 62, 512), ((1 << 63) - 512, 512)):
                    checked('EINVAL', lambda: h.pread(length, offset))
                    checked('EINVAL', lambda: h.trim(length, offset))
                    checked('EINVAL', lambda: h.cache(length, offset))
                    checked('ENOSPC', lambda: h.zero(length, offset))
                    checked('ENOSPC', lambda: h.pwrite(b'x' * length, offset))
                checked('EINVAL', lambda: h.zero(0, 0))
                checked('EINVAL', lambda: h.pread(0, 0))
                checked('EINVAL', lambda: h.pwrite(b'', 0))
                checked('EINVAL', lambda: h.block_status(512, 0, lambda *a: 0))
                # Flags that no command has, or not this one.
                checked('EINVAL', lambda: h.zero(512, 0, 0x80))
                checked('EINVAL', lambda: h.pwrite(b'x' * 512, 0, nbd.CMD_FLAG_NO_HOLE))
                checked('EINVAL', lambda: h.trim(512, 0, nbd.CMD_FLAG_DF))
                checked('EINVAL', lambda: h.cache(512, 0, nbd.CMD_FLAG_FAST_ZERO))
                """, in: folder)
        }
    }

    /// A refused WRITE is answered once its payload has come: libnbd gives up on a server that answers while it still
    /// sends.
    @Test(arguments: Transport.allCases)
    func aLongWriteIsRefusedAfterItsPayload(transport: Transport) throws {
        let folder = try TemporaryFolder()
        try serving(Transport.listen + ["memory:64M", "locked=memory:64M"], in: folder) { server in
            try nbdsh(
                [server.uri(of: "memory", over: transport)],
                """
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                refused('EOVERFLOW', lambda: h.pread((32 << 20) + 512, 0))
                refused('EINVAL', lambda: h.pwrite(bytes((32 << 20) + 512), 0))
                refused('EINVAL', lambda: h.pwrite(bytes(64 << 20), 0))
                refused('EINVAL', lambda: h.pwrite(b'x' * (32 << 20), 0, nbd.CMD_FLAG_FUA))
                refused('ENOSPC', lambda: h.pwrite(b'x' * (32 << 20), 33 << 20))
                # Others in flight meanwhile are served, and in the end everything is as it was.
                cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'y' * 65536)), n * 65536) for n in range(8)]
                bad = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(16 << 20)), 60 << 20)
                cookies += [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'y' * 65536)), n * 65536) for n in range(8, 16)]
                while h.aio_in_flight() > 0:
                    if h.aio_peek_command_completed() != 0: pass
                    for cookie in list(cookies):
                        if h.aio_command_completed(cookie): cookies.remove(cookie)
                    if bad is not None:
                        try: assert not h.aio_command_completed(bad)
                        except nbd.Error as error:
                            assert error.errno == 'ENOSPC'
                            bad = None
                    h.poll(100)
                assert h.pread(1 << 20, 0) == b'y' * (1 << 20)
                assert h.pread(1 << 20, 60 << 20) == bytes(1 << 20)
                """, in: folder)
        }
    }

    @Test func whatTheDriveDoesNotHaveIsRefused() throws {
        let device = "ide-hd,write-cache=off,discard_granularity=0"
        try servingImage(["--device", device, "memory:1M"]) { server, folder in
            try nbdsh(
                [server.uri],
                """
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                assert not h.can_flush() and not h.can_trim()
                refused('EINVAL', lambda: h.flush())
                refused('EINVAL', lambda: h.trim(512, 0))
                h.pwrite(b'x' * 512, 0)
                h.zero(512, 0)
                assert h.pread(512, 0) == bytes(512)
                """, in: folder)
        }
    }

    @Test func aReadOnlyExportIsNotWritten() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.randomFile("disk.img", sizeBytes: 1 << 20)
        let before = try folder.bytes("disk.img")
        try serving(["--read-only", image], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                assert h.is_read_only()
                refused('EPERM', lambda: h.pwrite(b'x' * 512, 0))
                refused('EPERM', lambda: h.pwrite(b'x' * (1 << 20), 0))
                refused('EPERM', lambda: h.zero(512, 0))
                refused('EPERM', lambda: h.trim(512, 0))
                h.cache(512, 0)
                open('\(folder.path)/read', 'wb').write(h.pread(1 << 20, 0))
                """, in: folder)
        }
        #expect(try folder.bytes("read") == before)
        #expect(try folder.bytes("disk.img") == before)
    }
}
