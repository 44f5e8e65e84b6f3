// The handshake as libnbd does it step by step: lists, information, choosing, leaving.

import Support
import Testing

@Suite struct HandshakeTests {
    @Test func optionsOneByOne() throws {
        let folder = try TemporaryFolder()
        let device = "ide-hd,serial=918a6997-1928-38a1-9"
        try serving(["--device", device, "first=memory:1M", "zweites Gerät=memory:2M"], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                h.set_opt_mode(True)
                h.set_full_info(True)
                h.connect_unix('\(server.socketPath)')
                names = []
                assert h.opt_list(lambda name, text: names.append((name, text))) == 2
                about = 'QEMU HARDDISK 2.5+, serial 918a6997-1928-38a1-9, %d sectors'
                assert [name for name, text in names] == ['first', 'zweites Gerät'], names
                assert h.get_protocol() == 'newstyle-fixed'
                # Information about one export, about another, about none; then a choice.
                h.set_export_name('zweites Gerät')
                h.opt_info()
                assert h.get_size() == 2 << 20 and h.get_export_description() == about % 4096
                assert h.get_canonical_export_name() == 'zweites Gerät'
                h.set_export_name('')
                h.opt_info()
                assert h.get_size() == 1 << 20 and h.get_canonical_export_name() == 'first'
                for name in ('no such export', 'FIRST', 'first ', 'n' * 4096):
                    h.set_export_name(name)
                    refused('ENOENT', h.opt_info)
                    refused('ENOENT', h.opt_go)
                h.set_export_name('first')
                h.opt_go()
                assert h.get_export_description() == about % 2048
                assert h.pread(512, 0) == bytes(512)
                h.shutdown()
                """, in: folder)
        }
    }

    @Test func clientsLeaveWhenTheyLike() throws {
        let folder = try TemporaryFolder()
        try serving(["memory:1M"], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                socket = '\(server.socketPath)'
                for number in range(20):
                    # Before the handshake is over, politely and not.
                    one = nbd.NBD()
                    one.set_opt_mode(True)
                    one.connect_unix(socket)
                    one.opt_abort()
                    two = nbd.NBD()
                    two.set_opt_mode(True)
                    two.connect_unix(socket)
                    del two
                    # With requests under way: those are finished, and the write is there afterwards.
                    three = nbd.NBD()
                    three.connect_uri(uri[0])
                    three.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([number + 1] * 4096)), number * 4096)
                    three.shutdown()
                    four = nbd.NBD()
                    four.connect_uri(uri[0])
                    four.aio_pread(nbd.Buffer(1 << 20), 0)
                    del four
                    five = nbd.NBD()
                    five.connect_uri(uri[0])
                    assert five.pread(4096, number * 4096) == bytes([number + 1] * 4096), number
                """, in: folder)
        }
    }

    /// Clients that know less: the plain newstyle handshake without its extensions, EXPORT_NAME with and without the
    /// zeroes.
    @Test(arguments: [0, 1, 2, 3])
    func olderClientsAreServed(handshakeFlags: Int) throws {
        let folder = try TemporaryFolder()
        try serving(["memory:1M", "disk=memory:2M"], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                h.set_handshake_flags(\(handshakeFlags))
                h.set_export_name('disk')
                h.connect_unix('\(server.socketPath)')
                assert h.get_protocol() == ('newstyle-fixed' if \(handshakeFlags) & 1 else 'newstyle')
                assert h.get_size() == 2 << 20
                h.pwrite(b'x' * 512, 512)
                assert h.pread(1024, 0) == bytes(512) + b'x' * 512
                """, in: folder)
        }
    }
}
