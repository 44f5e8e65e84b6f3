// How clients come to a server: sockets that listen, or the one connection that was there before it.

/// A server's endpoints, opened.
public struct Entrances: Sendable {
    /// Those that listen.
    public let listeners: [Listener]
    /// Nil, unless standard input is the endpoint.
    public let connection: InheritedConnection?
    /// The names of sockets that systemd has passed and no endpoint names.
    public private(set) var unnamed: [String] = []

    /// Clients come to these sockets.
    public init(listeners: [Listener]) {
        self.listeners = listeners
        connection = nil
    }

    /// Opens all of them, or none.
    public init(_ endpoints: [Endpoint]) throws(EndpointError) {
        let passed = SystemdSockets.take()
        guard !endpoints.contains(.standardInput) else {
            guard endpoints.count == 1 else { throw .notAlone }
            listeners = []
            connection = try InheritedConnection.standardInput()
            return
        }
        let asked = endpoints.compactMap { if case .systemd(let name) = $0 { name } else { nil } }
        var listeners = asked.isEmpty ? try passed.listeners() : []
        do throws(EndpointError) {
            for endpoint in endpoints { listeners += try Listener.open(endpoint, passed: passed) }
            if listeners.isEmpty { listeners = try Listener.open(.standard) }
        } catch {
            // Else the paths of Unix sockets would stay behind.
            for listener in listeners { listener.close() }
            throw error
        }
        unnamed = asked.isEmpty ? [] : passed.namesBeside(asked)
        self.listeners = listeners
        connection = nil
    }
}
