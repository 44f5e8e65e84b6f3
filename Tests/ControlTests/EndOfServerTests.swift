// The end of a server that operators keep busy.

import Foundation
import Support
import Testing

@Suite struct EndOfServerTests {
    /// Orders by threads, one after the other, until nobody listens any more.
    private static let operators = """
        import json, socket, sys, threading
        def order(path, body):
            content = json.dumps(body).encode()
            while True:
                connection = socket.socket(socket.AF_UNIX)
                try:
                    connection.connect(sys.argv[1])
                except OSError:
                    return
                try:
                    connection.sendall(b'POST /v1/exports/%s HTTP/1.1\\r\\nHost: spindle\\r\\nConnection: close\\r\\n'
                                       b'Content-Length: %d\\r\\n\\r\\n%s' % (path.encode(), len(content), content))
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass
                connection.close()
        orders = [('over/revert', {}), ('over/revert', {})]
        orders += [('disk/power', {'state': state}) for state in ('off', 'on', 'cut', 'on')]
        threads = [threading.Thread(target=order, args=each) for each in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """

    /// Power is cut and given back, and overlays are reverted, when the server is told to end: it does, in time, and
    /// nobody works with an image that is closed.
    @Test func operatorsGoOn() throws {
        let folder = try TemporaryFolder()
        let base = try folder.file("base.img", sizeBytes: 64 << 20)
        for _ in 0..<5 {
            let server = try ControlledServer(
                [
                    "--threads", "2", "--shutdown-seconds", "1", "--write-cache-model", "volatile:1M",
                    "disk=memory:64M", "over=overlay:\(base)",
                ], in: folder)
            let operators = try RunningProgram(
                .tool("python3"), ["-c", Self.operators, server.socketPath], in: folder)
            try operators.wait("to be obeyed") {
                server.server.log.contains("overlay reverted") && server.server.log.contains("power restored")
            }
            let start = ContinuousClock.now
            try server.finish()
            #expect(ContinuousClock.now - start < .seconds(8), "\(server.server.log.suffix(2000))")
            try waitUntil("the operators notice it") { !operators.isRunning }
        }
    }
}
