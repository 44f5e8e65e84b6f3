// Clients with link-local addresses (RFC 4291, 2.5.6), in a network of the test's own: a pair of veth interfaces.

import Foundation
import Support
import Testing

@Suite struct LinkLocalTests {
    /// Runs a script of sh(1) in a new network with the interfaces `d0` and `d1`. It finds a link-local address of the
    /// former in `$A`, and spindle in `$SPINDLE`; it must not leave anything running, or its end is not noticed.
    private func run(_ script: String, in folder: TemporaryFolder) throws -> ProgramResult {
        let setUp = """
            set -e
            SPINDLE=$0
            ip link set lo up
            ip link add d0 type veth peer name d1
            for i in d0 d1; do echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad; ip link set $i up; done
            for n in $(seq 1000); do
                A=$(ip -6 -o addr show dev d0 scope link -tentative | awk '{ print $4 }' | cut -d/ -f1)
                [ -z "$A" ] || break
                sleep 0.01
            done
            cd \(folder.path)

            """
        return try Program.tool("unshare").run(
            ["--net", "--mount", "sh", "-c", setUp + script, Program.spindle.path], in: folder)
    }

    /// The C library would ask the kernel for the name of the interface, which the filter for system calls does not
    /// have.
    @Test(.enabled(if: geteuid() == 0, "only root can make a network"), arguments: ["tcp:[::]", "tcp:[$A%d0]"])
    func theServerSurvivesThem(_ listen: String) throws {
        let done = try run(
            """
            "$SPINDLE" serve --log-level info --listen "\(listen):10809" --metrics "\(listen):9464" null:1M \\
                2> log > out & P=$!
            trap 'kill $P' EXIT
            until grep -q serving out; do kill -0 $P; sleep 0.01; done
            nbdinfo --size "nbd://[$A%25d0]/"
            curl -s "http://[$A%25d0]:9464/metrics" | grep -c '^# HELP spindle_requests_total'
            trap - EXIT
            kill $P
            wait $P
            echo $?
            grep -q 'client=.fe80:[0-9a-f:]*%[0-9]*.:' log && echo named
            """, in: try TemporaryFolder())
        #expect(done.status == 0 && done.text == "1048576\n1\n0\nnamed\n", "\(done.text) \(done.errors)")
    }

    /// Clients can use the URI as it is printed (RFC 6874), and as `--run` has it.
    @Test(.enabled(if: geteuid() == 0, "only root can make a network"))
    func theURIHasItsZone() throws {
        let done = try run(
            """
            "$SPINDLE" serve --listen "tcp:[$A%d0]:10809" --run 'nbdinfo --size "$uri"; echo $uri' null:1M
            """, in: try TemporaryFolder())
        #expect(done.status == 0 && done.text.hasPrefix("1048576\nnbd://[fe80::"), "\(done.text) \(done.errors)")
        #expect(done.text.hasSuffix("%25d0]/null\n"), "\(done.text)")
    }

    @Test(.enabled(if: geteuid() == 0, "only root can make a network"))
    func anAddressWithoutAZoneIsExplained() throws {
        let done = try run("\"$SPINDLE\" serve --listen \"tcp:[$A]:10809\" null:1M", in: try TemporaryFolder())
        #expect(done.status == 1, "\(done.errors)")
        #expect(done.errors.contains("needs the name of its interface: tcp:[fe80::1%eth0]:10809"), "\(done.errors)")
    }
}
