// The keys of [limits].

import Server

/// Bounds that differ from the server's own; nil where they do not.
public struct LimitSettings: Equatable, Sendable {
    /// ``Limits/handshakeSeconds``
    public var handshakeSeconds: Int?
    /// ``Limits/stallSeconds``
    public var stallSeconds: Int?
    /// ``Limits/shutdownSeconds``
    public var shutdownSeconds: Int?

    /// The longest time that makes sense.
    public static let secondsRange = 1...3600

    /// All as the server has them.
    public init() {}

    init(_ reader: inout TableReader) {
        handshakeSeconds = reader.number("handshake-seconds", Self.secondsRange)
        stallSeconds = reader.number("stall-seconds", Self.secondsRange)
        shutdownSeconds = reader.number("shutdown-seconds", Self.secondsRange)
    }

    func overridden(by other: LimitSettings) -> LimitSettings {
        var both = self
        both.handshakeSeconds = other.handshakeSeconds ?? handshakeSeconds
        both.stallSeconds = other.stallSeconds ?? stallSeconds
        both.shutdownSeconds = other.shutdownSeconds ?? shutdownSeconds
        return both
    }

    /// The server's bounds with these among them.
    public var limits: Limits {
        var limits = Limits()
        if let handshakeSeconds { limits.handshakeSeconds = handshakeSeconds }
        if let stallSeconds { limits.stallSeconds = stallSeconds }
        if let shutdownSeconds { limits.shutdownSeconds = shutdownSeconds }
        return limits
    }
}
