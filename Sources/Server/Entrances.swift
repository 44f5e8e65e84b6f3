// How clients come to a server: sockets that listen, or the one connection that was there before it.

import Logging

/// What a server's endpoints stand for.
struct Entrances {
    let listeners: [Listener]
    /// Nil, unless standard input is the endpoint.
    let connection: InheritedConnection?

    /// Clients come to these sockets.
    init(listeners: [Listener]) {
        self.listeners = listeners
        connection = nil
    }

    /// Opens all of them, or none.
    init(_ endpoints: [Endpoint], logger: Logger) throws(EndpointError) {
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
        let rest = asked.isEmpty ? [] : passed.namesBeside(asked)
        if !rest.isEmpty {
            logger.warning(
                "systemd has passed sockets that no endpoint names",
                metadata: ["names": "\(rest.joined(separator: " "))"])
        }
        self.listeners = listeners
        connection = nil
    }
}
