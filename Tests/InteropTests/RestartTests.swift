// A server that takes the place of one that was killed, at once, as a service manager does it.

import Dispatch
import Glibc
import Support
import Testing

@Suite("Starting again")
struct RestartTests {
    /// The kernel takes the ring of a killed process apart in the background: its sockets listen a little longer than
    /// it lives. A socket of the test's own plays that part here.
    @Test("a port that somebody still listens on is waited for")
    func portInUseForAMoment() throws {
        // Nobody who is started meanwhile may hold it, too.
        let holder = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(holder, $0, length) | listen(holder, 1) | getsockname(holder, $0, &length)
            }
        }
        #expect(result == 0)
        // A queue of its own: the threads of the global ones are busy with other tests.
        DispatchQueue(label: "holder").asyncAfter(deadline: .now() + .milliseconds(400)) { close(holder) }
        let endpoint = "tcp:127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        let server = try RunningServer(["--listen", endpoint, "null:1M"], in: try TemporaryFolder())
        #expect(try server.stop() == 0)
    }
}
