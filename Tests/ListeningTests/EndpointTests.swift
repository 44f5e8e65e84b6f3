// ENDPOINT: what it can be, what is wrong with it, and the URI that a client opens.

import Testing

@testable import Listening

@Suite struct EndpointTests {
    @Test(arguments: [
        ("unix:/run/spindle.sock", Endpoint.unix(path: "/run/spindle.sock")), ("unix:a:b", .unix(path: "a:b")),
        ("tcp:127.0.0.1:10809", .tcp(host: "127.0.0.1", port: 10809)),
        ("tcp:localhost:0", .tcp(host: "localhost", port: 0)),
        ("tcp:[::1]:65535", .tcp(host: "::1", port: 65535)),
        ("tcp:[fe80::1%eth0]:1", .tcp(host: "fe80::1%eth0", port: 1)),
        ("iscsi:127.0.0.1:3260", .iscsi(host: "127.0.0.1", port: 3260)),
        ("iscsi:[::1]:0", .iscsi(host: "::1", port: 0)),
        (
            "iscsi:0.0.0.0:1,portal=a-1.example:2",
            .iscsi(host: "0.0.0.0", port: 1, portal: Portal(host: "a-1.example", port: 2))
        ),
        (
            "iscsi:h:1,portal=[2001:db8::1]:3260",
            .iscsi(host: "h", port: 1, portal: Portal(host: "2001:db8::1", port: 3260))
        ),
        ("vsock:10809", .vsock(port: 10809)), ("vsock:4294967294", .vsock(port: 4_294_967_294)),
        ("fd:3", .descriptor(3)), ("fd:0", .descriptor(0)),
        ("systemd:disks", .systemd(name: "disks")), ("systemd:a:b", .systemd(name: "a:b")), ("stdin", .standardInput),
        ("unix:a,,b", .unix(path: "a,b")), ("unix:a,,,,", .unix(path: "a,,")),
        ("unix:/s,mode=0660", .unix(path: "/s", permissions: .with(mode: 0o660))),
        ("unix:/s,mode=0007", .unix(path: "/s", permissions: .with(mode: 7))),
        ("unix:/s,owner=alice", .unix(path: "/s", permissions: .with(user: "alice"))),
        ("unix:/s,owner=1000:disk", .unix(path: "/s", permissions: .with(user: "1000", group: "disk"))),
        ("unix:/s,owner=:6", .unix(path: "/s", permissions: .with(group: "6"))),
        (
            "unix:/a,,mode=1,mode=0777,owner=a:b",
            .unix(path: "/a,mode=1", permissions: .with(mode: 0o777, user: "a", group: "b"))
        ),
    ])
    func good(text: String, endpoint: Endpoint) throws {
        #expect(try Endpoint(parsing: text) == endpoint)
        #expect("\(endpoint)" == text)
    }

    /// iSCSI has a port that everybody knows.
    @Test(arguments: [("iscsi:h", "h"), ("iscsi:192.0.2.1", "192.0.2.1"), ("iscsi:[::1]", "::1")])
    func aPortOfISCSIMayBeLeftOut(text: String, host: String) throws {
        #expect(try Endpoint(parsing: text) == .iscsi(host: host, port: 3260))
        let portal = text.dropFirst("iscsi:".count)
        let endpoint = try Endpoint(parsing: "iscsi:x:1,portal=\(portal)")
        #expect(endpoint == .iscsi(host: "x", port: 1, portal: Portal(host: host, port: 3260)))
    }

    @Test(arguments: [
        ("", EndpointError.malformed("")), ("unix", .malformed("unix")), ("unix:", .malformed("unix:")),
        ("tcp:", .malformed("tcp:")), ("10809", .malformed("10809")), ("udp:h:1", .malformed("udp:h:1")),
        ("UNIX:/x", .malformed("UNIX:/x")), (":1", .malformed(":1")),
        ("tcp:localhost", .noPort(scheme: "tcp", "localhost")), ("tcp:[::1]", .noPort(scheme: "tcp", "[::1]")),
        ("tcp::10809", .noHost(scheme: "tcp", ":10809")),
        ("tcp:[]:10809", .noHost(scheme: "tcp", "[]:10809")), ("tcp:::1:10809", .bareIPv6(scheme: "tcp", "::1:10809")),
        ("tcp:fe80::1:10809", .bareIPv6(scheme: "tcp", "fe80::1:10809")),
        ("tcp:h:", .badPort("", maximum: 65535)), ("tcp:h:65536", .badPort("65536", maximum: 65535)),
        ("tcp:h:-1", .badPort("-1", maximum: 65535)), ("tcp:h:+1", .badPort("+1", maximum: 65535)),
        ("tcp:h:http", .badPort("http", maximum: 65535)), ("tcp:h:1 ", .badPort("1 ", maximum: 65535)),
        ("tcp:10809", .noHost(scheme: "tcp", "10809")), ("iscsi:3260", .noHost(scheme: "iscsi", "3260")),
        ("iscsi://h", .url("iscsi://h", right: "iscsi:h")),
        ("iscsi://u%p@[::1]:3261/iqn.a:b/0", .url("iscsi://u%p@[::1]:3261/iqn.a:b/0", right: "iscsi:[::1]:3261")),
        ("iscsi:///iqn.a:b", .url("iscsi:///iqn.a:b", right: "iscsi:HOST:PORT")),
        ("nbd://h/disk", .url("nbd://h/disk", right: "tcp:h:10809")),
        ("nbds://h:1/", .url("nbds://h:1/", right: "tcp:h:1")),
        ("tcp://[::1]", .url("tcp://[::1]", right: "tcp:[::1]:10809")),
        ("iscsi:h/iqn.a:1", .badHost(scheme: "iscsi", "h/iqn.a")), ("iscsi:h/x", .badHost(scheme: "iscsi", "h/x")),
        ("iscsi:u@h", .badHost(scheme: "iscsi", "u@h")), ("tcp: h:1", .badHost(scheme: "tcp", " h")),
        ("iscsi:", .malformed("iscsi:")), ("iscsi::3260", .noHost(scheme: "iscsi", ":3260")),
        ("iscsi:::1:3260", .bareIPv6(scheme: "iscsi", "::1:3260")),
        ("iscsi:fe80::1", .bareIPv6(scheme: "iscsi", "fe80::1")),
        ("iscsi:h,", .unknownISCSIProperty("")), ("iscsi:h,mode=0600", .unknownISCSIProperty("mode=0600")),
        ("iscsi:h,portal=a,portal=b", .unknownISCSIProperty("portal=a,portal=b")),
        ("iscsi:h,portal=", .badPortal("")), ("iscsi:h,portal=:3260", .badPortal(":3260")),
        ("iscsi:h,portal=a:0", .badPortal("a:0")), ("iscsi:h,portal=a:x", .badPortal("a:x")),
        ("iscsi:h,portal=3260", .badPortal("3260")), ("iscsi:h,portal=0.0.0.0", .badPortal("0.0.0.0")),
        ("iscsi:h,portal=[::]:3260", .badPortal("[::]:3260")), ("iscsi:h,portal=::1", .badPortal("::1")),
        ("iscsi:h,portal=[fe80::1%eth0]", .badPortal("[fe80::1%eth0]")), ("iscsi:h,portal=a b", .badPortal("a b")),
        ("iscsi:h,portal=1.2.3.4.5", .badPortal("1.2.3.4.5")), ("iscsi:h,portal=a/b", .badPortal("a/b")),
        ("iscsi:h:x", .badPort("x", maximum: 65535)), ("iscsi:[::1]:x", .badPort("x", maximum: 65535)),
        ("vsock:-1", .badPort("-1", maximum: 4_294_967_294)), ("vsock:+1", .badPort("+1", maximum: 4_294_967_294)),
        ("vsock:4294967295", .badPort("4294967295", maximum: 4_294_967_294)),
        ("vsock:2:1", .badPort("2:1", maximum: 4_294_967_294)),
        ("fd:-1", .badDescriptor("-1")), ("fd:+3", .badDescriptor("+3")), ("fd:x", .badDescriptor("x")),
        ("fd:4294967296", .badDescriptor("4294967296")),
        ("systemd:", .malformed("systemd:")), ("stdin:", .malformed("stdin:")), ("STDIN", .malformed("STDIN")),
        ("unix:,mode=0600", .malformed("unix:,mode=0600")), ("unix:/s,", .unknownProperty("")),
        ("unix:/s,b", .unknownProperty("b")), ("unix:/s,mod=0600", .unknownProperty("mod=0600")),
        ("unix:/s,mode=", .badMode("")), ("unix:/s,mode=rw", .badMode("rw")), ("unix:/s,mode=0888", .badMode("0888")),
        ("unix:/s,mode=7777", .badMode("7777")), ("unix:/s,mode=66", .badMode("66")),
        ("unix:/s,mode=+660", .badMode("+660")), ("unix:/s,mode=00660", .badMode("00660")),
        ("unix:/s,owner=", .badOwner("")), ("unix:/s,owner=:", .badOwner(":")), ("unix:/s,owner=a:", .badOwner("a:")),
    ])
    func bad(text: String, error: EndpointError) {
        #expect(throws: error) { try Endpoint(parsing: text) }
    }

    @Test(arguments: [
        (["iscsi:h:1", "iscsi:h:1"], true), (["iscsi:h", "iscsi:H:3260"], true), (["tcp:h:1", "iscsi:h:1"], true),
        (["iscsi:h:1,portal=a", "iscsi:h:1,portal=b"], true), (["unix:/a", "unix:/b", "unix:/a,mode=0600"], true),
        (["fd:3", "fd:3"], true), (["vsock:1", "vsock:1"], true),
        (["iscsi:h:1", "iscsi:h:2"], false), (["iscsi:h:1", "iscsi:g:1"], false), (["tcp:h:0", "tcp:h:0"], false),
        (["iscsi:h:0", "iscsi:h:0", "unix:/a", "unix:/b", "vsock:1", "vsock:2", "fd:3", "fd:4"], false),
    ])
    func twoEndpointsAtOnePlace(texts: [String], areRefused: Bool) throws {
        let endpoints = try texts.map { try Endpoint(parsing: $0) }
        if areRefused {
            #expect(throws: EndpointError.self) { try Endpoint.check(endpoints) }
        } else {
            try Endpoint.check(endpoints)
        }
    }

    @Test func aSocketPathHasItsLimit() throws {
        let longest = String(repeating: "x", count: 107)
        #expect(try Endpoint(parsing: "unix:" + longest) == .unix(path: longest))
        #expect(throws: EndpointError.pathTooLong(longest + "x")) { try Endpoint(parsing: "unix:" + longest + "x") }
        // Bytes count, not characters.
        let umlauts = String(repeating: "ä", count: 54)
        let error = EndpointError.pathTooLong(umlauts)
        #expect(throws: error) { try Endpoint(parsing: "unix:" + umlauts) }
        #expect("\(error)".contains("108 bytes") && "\(error)".contains("107"))
    }

    @Test(arguments: [
        (
            EndpointError.malformed("x"),
            ["'x'", "unix:PATH", "tcp:HOST:PORT", "iscsi:HOST:PORT", "vsock:PORT", "fd:N", "systemd:NAME", "stdin"]
        ),
        (.noPort(scheme: "tcp", "h"), ["'tcp:h'", "tcp:h:10809"]),
        (.url("iscsi://h", right: "iscsi:h"), ["'iscsi://h'", "URL", "use iscsi:h"]),
        (.badHost(scheme: "iscsi", "h/x"), ["'h/x'", "iscsi:HOST:PORT"]),
        (.sharedPlace(.vsock(port: 7), .vsock(port: 7)), ["'vsock:7' is given twice"]),
        (
            .sharedPlace(.tcp(host: "h", port: 7), .iscsi(host: "h", port: 7)),
            ["'tcp:h:7' and 'iscsi:h:7' are one place"]
        ),
        (.noHost(scheme: "tcp", ":1"), ["'tcp::1'", "127.0.0.1", "0.0.0.0"]),
        (.bareIPv6(scheme: "tcp", "::1:1"), ["'tcp:::1:1'", "tcp:[ADDRESS]:PORT"]),
        (.badPort("http", maximum: 65535), ["'http'", "from 0 to 65535"]), (.badDescriptor("x"), ["'x'", "fd:3"]),
        (.unknownHost("nowhere", reason: "why"), ["'nowhere'", "why"]),
        (.cannotListen(.vsock(port: 7), reason: "why"), ["vsock:7", "why"]),
        (.unknownProperty("mod=1"), ["'mod=1'", "mode=0660", "owner=USER:GROUP", "twice"]),
        (.unknownISCSIProperty("mode=1"), ["'mode=1'", "portal=HOST:PORT"]),
        (.badPortal("::"), ["'::'", "portal=storage.example.org:3260", "portal=[2001:db8::1]:3260"]),
        (.badMode("rw"), ["'rw'", "mode=0660"]), (.badOwner(":"), ["':'", "owner=USER:GROUP"]),
        (.notPassed(name: "a", passed: []), ["'a'", ".socket"]),
        (.notPassed(name: "a", passed: ["b", "c"]), ["'a'", "b, c", "FileDescriptorName="]),
        (.notAlone, ["stdin", "no other endpoint"]),
    ])
    func words(error: EndpointError, parts: [String]) {
        for part in parts { #expect("\(error)".contains(part)) }
    }

    @Test(arguments: [
        (Endpoint.tcp(host: "127.0.0.1", port: 10809), "disk", "nbd://127.0.0.1/disk"),
        (.tcp(host: "example.org", port: 1), "", "nbd://example.org:1/"),
        (.tcp(host: "::1", port: 10809), "a b", "nbd://[::1]/a%20b"),
        // RFC 6874, section 2.
        (.tcp(host: "fe80::1%eth0", port: 10809), "disk", "nbd://[fe80::1%25eth0]/disk"),
        (.tcp(host: "fe80::1%a b", port: 1), "disk", "nbd://[fe80::1%25a%20b]:1/disk"),
        (.tcp(host: "::1", port: 2), "a/b", "nbd://[::1]:2/a/b"),
        (.unix(path: "/run/s.sock"), "disk", "nbd+unix:///disk?socket=/run/s.sock"),
        (.unix(path: "/tmp/a b&c=d#e?%"), "ä?", "nbd+unix:///%C3%A4%3F?socket=/tmp/a%20b%26c%3Dd%23e%3F%25"),
        (.unix(path: "/x"), "-._~", "nbd+unix:///-._~?socket=/x"),
        (.vsock(port: 10809), "disk", "nbd+vsock://2:10809/disk"),
        (.descriptor(3), "disk", "fd:3, export 'disk'"),
        (.unix(path: "/x", permissions: .with(mode: 0o600)), "disk", "nbd+unix:///disk?socket=/x"),
    ])
    func uris(endpoint: Endpoint, export: String, uri: String) {
        #expect(endpoint.uri(export: export) == uri)
        #expect(endpoint.uri(target: "iqn.a:b") == nil)
    }

    @Test(arguments: [
        ("iscsi:192.0.2.1:3260", "iscsi://192.0.2.1/iqn.a:b/0"), ("iscsi:[::1]:1", "iscsi://[::1]:1/iqn.a:b/0"),
        ("iscsi:0.0.0.0:1,portal=[2001:db8::1]", "iscsi://[2001:db8::1]/iqn.a:b/0"),
        ("iscsi:0.0.0.0,portal=h:1", "iscsi://h:1/iqn.a:b/0"),
    ])
    func targets(endpoint: String, uri: String) throws {
        #expect(try Endpoint(parsing: endpoint).uri(target: "iqn.a:b") == uri)
    }
}

extension SocketPermissions {
    fileprivate static func with(mode: UInt32? = nil, user: String? = nil, group: String? = nil) -> SocketPermissions {
        var permissions = SocketPermissions()
        permissions.mode = mode
        permissions.user = user
        permissions.group = group
        return permissions
    }
}
