// The sockets that systemd hands over: sd_listen_fds(3)'s protocol.

import Glibc

/// The descriptors that systemd passed to this process, from 3 on, with their names.
struct SystemdSockets {
    private var names: [String] = []

    /// None.
    init() {}

    /// Takes them out of the environment: they belong to this process alone, not to what it starts.
    static func take() -> SystemdSockets {
        var sockets = SystemdSockets()
        guard let process = environment("LISTEN_PID"), Int32(process) == getpid(),
            let text = environment("LISTEN_FDS"), let count = Int32(text), count > 0
        else { return sockets }
        let names = (environment("LISTEN_FDNAMES") ?? "").split(separator: ":", omittingEmptySubsequences: false)
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsafe unsetenv(variable) }
        // Nobody is passed more, whatever the variable says.
        for number in 0..<min(Int(count), 1 << 16) {
            sockets.names.append(number < names.count && !names[number].isEmpty ? String(names[number]) : "unknown")
        }
        return sockets
    }

    /// All of them.
    func listeners() throws(EndpointError) -> [Listener] {
        try listeners { _ in true }
    }

    /// Those of a name: one .socket unit may have several.
    func listeners(named name: String) throws(EndpointError) -> [Listener] {
        let found = try listeners { $0 == name }
        guard !found.isEmpty else { throw .notPassed(name: name, passed: names) }
        return found
    }

    /// The names of sockets that nobody asks for.
    func namesBeside(_ asked: [String]) -> [String] {
        names.filter { !asked.contains($0) }
    }

    private func listeners(where isMeant: (String) -> Bool) throws(EndpointError) -> [Listener] {
        var listeners: [Listener] = []
        for (number, name) in names.enumerated() where isMeant(name) {
            listeners.append(try Listener.adopt(3 &+ Int32(number)))
        }
        return listeners
    }
}
