// The keys of [limits].

import Loop
import Server

/// Bounds that differ from the server's own; nil where they do not.
public struct LimitSettings: Equatable, Sendable {
    /// One bound: its key, which is the option's name too, what it may be, and where it goes.
    struct Bound: Sendable {
        let key: String
        let range: ClosedRange<Int>
        let setting: WritableKeyPath<LimitSettings, Int?> & Sendable
        let limit: WritableKeyPath<Limits, Int> & Sendable
    }

    /// ``Limits/connections``
    public var connections: Int?
    /// ``Limits/handshakeSeconds``
    public var handshakeSeconds: Int?
    /// ``Limits/handshakeOptions``
    public var handshakeOptions: Int?
    /// ``Limits/keepAliveSeconds``
    public var keepaliveSeconds: Int?
    /// ``Limits/connectionMegabytes``
    public var connectionMegabytes: Int?
    /// ``Limits/requestMegabytes``
    public var requestMegabytes: Int?
    /// ``Limits/stallSeconds``
    public var stallSeconds: Int?
    /// ``Limits/shutdownSeconds``
    public var shutdownSeconds: Int?

    static let bounds: [Bound] = [
        Bound(key: "connections", range: 1...1_000_000, setting: \.connections, limit: \.connections),
        Bound(key: "handshake-seconds", range: 1...3600, setting: \.handshakeSeconds, limit: \.handshakeSeconds),
        Bound(key: "handshake-options", range: 4...1_000_000, setting: \.handshakeOptions, limit: \.handshakeOptions),
        Bound(key: "keepalive-seconds", range: 0...32767, setting: \.keepaliveSeconds, limit: \.keepAliveSeconds),
        Bound(key: "connection-megabytes", range: 1...64, setting: \.connectionMegabytes, limit: \.connectionMegabytes),
        Bound(key: "request-megabytes", range: 1...1_048_576, setting: \.requestMegabytes, limit: \.requestMegabytes),
        Bound(key: "stall-seconds", range: 1...3600, setting: \.stallSeconds, limit: \.stallSeconds),
        Bound(key: "shutdown-seconds", range: 0...3600, setting: \.shutdownSeconds, limit: \.shutdownSeconds),
    ]

    /// All as the server has them.
    public init() {}

    init(_ reader: inout TableReader) {
        for bound in Self.bounds { self[keyPath: bound.setting] = reader.number(bound.key, bound.range) }
    }

    func overridden(by other: LimitSettings) -> LimitSettings {
        var both = self
        for bound in Self.bounds {
            both[keyPath: bound.setting] = other[keyPath: bound.setting] ?? self[keyPath: bound.setting]
        }
        return both
    }

    /// The allowed values of a bound, by its key.
    public static func range(of key: String) -> ClosedRange<Int> {
        guard let bound = bounds.first(where: { $0.key == key }) else {
            preconditionFailure("no bound is named '\(key)'")
        }
        return bound.range
    }

    /// The server's bounds with these among them.
    public var limits: Limits {
        var limits = Limits()
        for bound in Self.bounds {
            if let value = self[keyPath: bound.setting] { limits[keyPath: bound.limit] = value }
        }
        return limits
    }
}
