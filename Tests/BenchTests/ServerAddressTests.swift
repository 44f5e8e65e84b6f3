// NBD URIs (doc/uri.md of the NBD project), as a client reads them.

import Testing

@testable import Bench

@Suite struct ServerAddressTests {
    @Test(arguments: [
        ("nbd://localhost", ServerAddress.Place.tcp(host: "localhost", port: 10809), ""),
        ("nbd://localhost/", .tcp(host: "localhost", port: 10809), ""),
        ("nbd:///disk", .tcp(host: "localhost", port: 10809), "disk"),
        ("nbd://example.com:1234/a/b", .tcp(host: "example.com", port: 1234), "a/b"),
        ("nbd://[::1]:1234/a%20b", .tcp(host: "::1", port: 1234), "a b"),
        ("nbd://[fe80::1]", .tcp(host: "fe80::1", port: 10809), ""),
        ("nbd+unix:///?socket=/tmp/s", .unix(path: "/tmp/s"), ""),
        ("nbd+unix:///disk%3F?x=1&socket=/tmp/a%26b", .unix(path: "/tmp/a&b"), "disk?"),
    ])
    func isRead(uri: String, place: ServerAddress.Place, export: String) throws {
        let address = try ServerAddress(parsing: uri)
        #expect(address.place == place)
        #expect(address.export == export)
        #expect(address.proof == nil)
    }

    @Test(arguments: [
        (
            "nbds://alice@localhost/disk?tls-psk-file=/k/keys.psk",
            ServerAddress.Proof.preSharedKey(user: "alice", file: "/k/keys.psk")
        ),
        ("nbds://a@b@localhost/?tls-psk-file=k", .preSharedKey(user: "a@b", file: "k")),
        (
            "nbds+unix://al%40ice@/?socket=/s&tls-psk-file=k",
            .preSharedKey(user: "al@ice", file: "k")
        ),
        ("nbds://h.example/?tls-certificates=/pki", .certificates(directory: "/pki", serverName: "h.example")),
        (
            "nbds+unix:///?socket=/s&tls-certificates=/pki&tls-hostname=h.example",
            .certificates(directory: "/pki", serverName: "h.example")
        ),
    ])
    func saysHowToProve(uri: String, proof: ServerAddress.Proof) throws {
        #expect(try ServerAddress(parsing: uri).proof == proof)
    }

    /// As libiscsi has them.
    @Test(arguments: [
        ("iscsi://localhost/iqn.t:d/0", ServerAddress.Place.tcp(host: "localhost", port: 3260), "iqn.t:d", 0),
        ("iscsi://[::1]:1234/iqn.t%3Ad/255", .tcp(host: "::1", port: 1234), "iqn.t:d", 255),
    ])
    func unitsAreRead(url: String, place: ServerAddress.Place, target: String, unit: Int) throws {
        let address = try ServerAddress(parsing: url)
        #expect(address.place == place && address.export == target && address.logicalUnit == unit)
    }

    @Test(arguments: [
        ("iscsi://localhost", ServerAddressError.noUnit("iscsi://localhost")),
        ("iscsi://localhost/iqn.t:d", .noUnit("iscsi://localhost/iqn.t:d")),
        ("iscsi://localhost/iqn.t:d/x", .noUnit("iscsi://localhost/iqn.t:d/x")),
        ("iscsi://localhost/iqn.t:d/16384", .noUnit("iscsi://localhost/iqn.t:d/16384")),
        ("/tmp/socket", .noURI("/tmp/socket")),
        ("http://localhost", .unknownScheme("http")),
        ("nbd+unix:///disk", .noSocket("nbd+unix:///disk")),
        ("nbd://localhost:70000", .badPort("nbd://localhost:70000")),
        ("nbd://[::1]x", .badPort("nbd://[::1]x")),
        ("nbd://localhost/%zz", .badEncoding("nbd://localhost/%zz")),
        ("nbds://localhost", .noProof("nbds://localhost")),
        ("nbds://localhost?tls-psk-file=k", .noUser("nbds://localhost?tls-psk-file=k")),
    ])
    func isRefused(uri: String, reason: ServerAddressError) {
        #expect(throws: reason) { try ServerAddress(parsing: uri) }
    }
}
