// What is on its way to a client from the page cache while others change what lies beside it.

import Foundation
import Support
import Testing

@Suite(.enabled(if: FrozenFileSystem.canBeMade, "only root may mount")) struct SplicedReplyTests {
    /// Zeroes for one sector are nobody else's: XFS fills the rest of the page, too, for a moment.
    @Test(arguments: FrozenFileSystem.FileSystem.allCases)
    func zeroesBesideAReadAreNotSeen(type: FrozenFileSystem.FileSystem) throws {
        let fileSystem = try FrozenFileSystem(type)
        let path = fileSystem.path + "/disk.img"
        try Data(repeating: 7, count: 4 << 20).write(to: URL(fileURLWithPath: path))
        let folder = try TemporaryFolder(onDisk: true)
        let server = try RunningServer(["--threads", "1", path], in: folder)
        try nbdsh(
            [server.uri],
            """
            import select
            def opened():
                handle = nbd.NBD()
                handle.set_request_structured_replies(False)
                handle.connect_uri(uri[0])
                return handle
            reader, other = opened(), opened()
            changes = {
                'zeroes': lambda offset: other.zero(512, offset),
                'zeroes without holes': lambda offset: other.zero(512, offset, nbd.CMD_FLAG_NO_HOLE),
                'many zeroes': lambda offset: other.zero(512 + 8192, offset - 8192 if offset else 1 << 19),
                'trim': lambda offset: other.trim(512, offset)}
            for what, change in changes.items():
                for length in (1 << 15, 1 << 17):
                    for place in (0, 1 << 20):
                        # The pages before this one may be changed, and those from its second sector on are read.
                        other.pwrite(b'h' * (1 << 18), 0)
                        other.pwrite(b'h' * (1 << 18), (1 << 20) - 8192)
                        buffer = nbd.Buffer(length)
                        cookie = reader.aio_pread(buffer, place + 512)
                        # The reply is in the socket, and nobody takes it.
                        assert select.select([reader.aio_get_fd()], [], [], 60)[0]
                        change(place)
                        while not reader.aio_command_completed(cookie): reader.poll(-1)
                        wrong = length - buffer.to_bytearray().count(b'h')
                        assert wrong == 0, (what, length, place, wrong)
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
