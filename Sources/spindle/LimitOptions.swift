// The options of `serve` that bound what clients can take.

import ArgumentParser
import Settings

/// `--connections` and its companions.
struct LimitOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Connections in all, 1024 if not given; more are closed at once.", valueName: "number"),
        transform: number(in: LimitSettings.range(of: "connections")))
    var connections: Int?

    @Option(
        help: ArgumentHelp("Seconds that a client may take to open an export, 10 if not given.", valueName: "seconds"),
        transform: number(in: LimitSettings.range(of: "handshake-seconds")))
    var handshakeSeconds: Int?

    @Option(
        help: ArgumentHelp(
            "Options of a handshake, 32 if not given, and four more for each export.", valueName: "number"),
        transform: number(in: LimitSettings.range(of: "handshake-options")))
    var handshakeOptions: Int?

    @Option(
        help: ArgumentHelp(
            "Seconds after which a silent TCP connection is asked for a sign of life, 60 if not given; 0: never.",
            valueName: "seconds"),
        transform: number(in: LimitSettings.range(of: "keepalive-seconds")))
    var keepaliveSeconds: Int?

    @Option(
        help: ArgumentHelp(
            "Memory for the data of one connection's requests, in MiB, 2 if not given.", valueName: "mib"),
        transform: number(in: LimitSettings.range(of: "connection-megabytes")))
    var connectionMegabytes: Int?

    @Option(
        help: ArgumentHelp(
            "Memory for the data of requests in all, in MiB, 256 if not given; a thread has at least 44.",
            valueName: "mib"),
        transform: number(in: LimitSettings.range(of: "request-megabytes")))
    var requestMegabytes: Int?

    @Option(
        help: ArgumentHelp(
            "Seconds in which a client that keeps memory from others has to move enough of it, 10 if not given.",
            valueName: "seconds"),
        transform: number(in: LimitSettings.range(of: "stall-seconds")))
    var stallSeconds: Int?

    @Option(
        help: ArgumentHelp("Seconds that a stopping server gives its clients, 5 if not given.", valueName: "seconds"),
        transform: number(in: LimitSettings.range(of: "shutdown-seconds")))
    var shutdownSeconds: Int?

    /// The bounds that are given.
    var settings: LimitSettings {
        var settings = LimitSettings()
        settings.connections = connections
        settings.handshakeSeconds = handshakeSeconds
        settings.handshakeOptions = handshakeOptions
        settings.keepaliveSeconds = keepaliveSeconds
        settings.connectionMegabytes = connectionMegabytes
        settings.requestMegabytes = requestMegabytes
        settings.stallSeconds = stallSeconds
        settings.shutdownSeconds = shutdownSeconds
        return settings
    }
}
