// Requests that are on no sector boundaries, from clients that were told no minimum block size, and clients that write
// to the same sectors.

import Support
import Testing

@Suite struct UnalignedTests {
    /// Random requests of any offset and length against an array of bytes.
    @Test(arguments: [
        ["memory:1000001"], ["FILE"], ["--cache", "none", "FILE"], ["--cache", "directsync", "--threads", "2", "FILE"],
    ])
    func randomRequestsDoWhatAnArrayDoes(arguments: [String]) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("disk.img", sizeBytes: 1_000_001)
        let seed = UInt32.random(in: .min ... .max)
        try serving(arguments.map { $0 == "FILE" ? file : $0 }, in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                import random
                source = random.Random(\(seed))
                h.set_request_block_size(False)
                h.connect_uri(uri[0])
                assert h.get_block_size(nbd.SIZE_MINIMUM) == 0, 'the block size was told without being asked for'
                size = h.get_size()
                assert size == 1000448
                model = bytearray(size)
                for step in range(400):
                    what = 'seed \(seed), step %d' % step
                    length = source.choice((1, 3, 511, 512, 513, 4096, source.randrange(1, 70000)))
                    offset = source.randrange(0, size - length + 1)
                    if source.randrange(4) == 0: offset &= ~511
                    if source.randrange(20) == 0: offset = size - length
                    end = offset + length
                    kind = source.randrange(5)
                    if kind == 0:
                        data = source.randbytes(length)
                        h.pwrite(data, offset)
                        model[offset:end] = data
                    elif kind == 1:
                        h.zero(length, offset, source.choice((0, nbd.CMD_FLAG_NO_HOLE)))
                        model[offset:end] = bytes(length)
                    elif kind == 2:
                        # Only whole sectors are trimmed, which these media make zero.
                        h.trim(length, offset)
                        first, last = (offset + 511) // 512 * 512, end // 512 * 512
                        if first < last: model[first:last] = bytes(last - first)
                    elif kind == 3:
                        h.cache(length, offset)
                    assert h.pread(length, offset) == model[offset:end], what
                    if step % 50 == 49: assert h.pread(size, 0) == model, what
                """, in: folder)
        }
    }

    /// Two connections write alternate bytes of the same sectors at the same time: none is lost.
    @Test(arguments: [["memory:64K"], ["FILE"], ["--cache", "none", "FILE"]])
    func neighboursInOneSectorDoNotLoseWrites(arguments: [String]) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("disk.img", sizeBytes: 65536)
        let images = arguments.map { $0 == "FILE" ? file : $0 }
        try serving(["--threads", "2"] + images, in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                handles = [nbd.NBD() for number in range(4)]
                for handle in handles:
                    handle.set_request_block_size(False)
                    handle.connect_uri(uri[0])
                length = 3
                for number, handle in enumerate(handles):
                    for place in range(number, 4096 // length, len(handles)):
                        data = nbd.Buffer.from_bytearray(bytearray([1 + place % 255] * length))
                        handle.aio_pwrite(data, place * length)
                for handle in handles:
                    while handle.aio_in_flight() > 0:
                        cookie = handle.aio_peek_command_completed()
                        if cookie: assert handle.aio_command_completed(cookie)
                        else: handle.poll(1000)
                expected = b''.join(bytes([1 + place % 255] * length) for place in range(4096 // length))
                assert handles[0].pread(len(expected), 0) == expected
                """, in: folder)
        }
    }

    /// A client that says what it needs from one connection sees it from another (NBD_FLAG_CAN_MULTI_CONN).
    @Test(arguments: [["memory:1M"], ["FILE"], ["--cache", "none", "FILE"]])
    func connectionsSeeEachOthersWrites(arguments: [String]) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("disk.img", sizeBytes: 1 << 20)
        let images = arguments.map { $0 == "FILE" ? file : $0 }
        try serving(["--threads", "2"] + Transport.listen + images, in: folder) { server in
            let export = arguments.last == "FILE" ? "disk" : "memory"
            try nbdsh(
                Transport.allCases.map { try server.uri(of: export, over: $0) },
                """
                handles = []
                for number in range(6):
                    handle = nbd.NBD()
                    handle.connect_uri(uri[number % 2])
                    assert handle.can_multi_conn()
                    handles.append(handle)
                for round in range(48):
                    writer, flusher, reader = (handles[(round + step) % 6] for step in (0, 1, 3))
                    writer.pwrite(bytes([round + 1]) * 4096, round * 4096)
                    flusher.flush()
                    assert reader.pread(4096, round * 4096) == bytes([round + 1]) * 4096
                """, in: folder)
        }
    }

    /// Many more requests at a time than the server works on, each answered with its own data.
    @Test(arguments: Transport.allCases)
    func aThousandRequestsInFlight(transport: Transport) throws {
        let folder = try TemporaryFolder()
        try serving(Transport.listen + ["memory:4M"], in: folder) { server in
            try nbdsh(
                [server.uri(of: "memory", over: transport)],
                """
                h.connect_uri(uri[0])
                def finish():
                    while h.aio_in_flight() > 0:
                        cookie = h.aio_peek_command_completed()
                        if cookie: assert h.aio_command_completed(cookie)
                        else: h.poll(1000)
                for number in range(1024):
                    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(number.to_bytes(4, 'big') * 1024)), number * 4096)
                finish()
                buffers = [nbd.Buffer(4096) for number in range(1024)]
                for number in range(1024): h.aio_pread(buffers[number], number * 4096)
                finish()
                for number in range(1024): assert buffers[number].to_bytearray() == number.to_bytes(4, 'big') * 1024
                """, in: folder)
        }
    }
}
