// The options of `serve` that bound what clients can take.

import ArgumentParser
import Settings

/// `--connections` and its companions.
struct LimitOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Connections in all, 1024 if not given; more are closed at once.", valueName: "number"))
    var connections: Int?

    @Option(
        help: ArgumentHelp("Seconds that a client may take to open an export, 10 if not given.", valueName: "seconds"))
    var handshakeSeconds: Int?

    @Option(
        help: ArgumentHelp(
            "Options of a handshake, 32 if not given, and four more for each export.", valueName: "number"))
    var handshakeOptions: Int?

    @Option(
        help: ArgumentHelp(
            "Seconds after which a silent TCP connection is asked for a sign of life, 60 if not given; 0: never.",
            valueName: "seconds"))
    var keepaliveSeconds: Int?

    @Option(
        help: ArgumentHelp(
            "Memory for the data of one connection's requests, in MiB, 2 if not given.", valueName: "mib"))
    var connectionMegabytes: Int?

    @Option(
        help: ArgumentHelp(
            "Memory for the data of requests in all, in MiB, 256 if not given; a thread has at least 36.",
            valueName: "mib"))
    var requestMegabytes: Int?

    @Option(
        help: ArgumentHelp(
            "Seconds without a byte after which a client that keeps memory from others is ended, 10 if not given.",
            valueName: "seconds"))
    var stallSeconds: Int?

    @Option(
        help: ArgumentHelp("Seconds that a stopping server gives its clients, 5 if not given.", valueName: "seconds"))
    var shutdownSeconds: Int?

    func validate() throws {
        if let mistake = settings.mistake { throw ValidationError("--\(mistake)") }
    }

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
