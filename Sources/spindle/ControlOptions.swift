// The options that are about the control socket: of `serve`, which has one, and of `ctl`, which uses it.

import ArgumentParser
import Control
import Glibc
import Listening
import Server

/// Where a server is controlled and watched.
struct ControlOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where the server is controlled: unix:PATH. Only its own user and root may connect, unless a mode is given.",
            valueName: "endpoint"),
        completion: .list(["unix:"]), transform: controlEndpoint(parsing:))
    var control: Endpoint?

    @Option(
        help: ArgumentHelp(
            "Where Prometheus reads /metrics, and nothing else is: tcp:127.0.0.1:9464, say.", valueName: "endpoint"),
        completion: .list(["tcp:127.0.0.1:9464", "unix:"]), transform: metricsEndpoint(parsing:))
    var metrics: Endpoint?

    /// The given ones of the two.
    var endpoints: [Endpoint] { [control, metrics].compactMap(\.self) }
}

/// A value of --control. The message about a mistyped one advises nothing that is refused here.
@Sendable private func controlEndpoint(parsing text: String) throws -> Endpoint {
    do throws(EndpointError) {
        return try Endpoint(parsing: text)
    } catch {
        guard text.hasPrefix("unix:") || text.hasPrefix("fd:") else { throw noControlSocket(text) }
        throw error
    }
}

/// A value of --metrics, which has a usual port of its own.
@Sendable private func metricsEndpoint(parsing text: String) throws -> Endpoint {
    do throws(EndpointError) {
        return try Endpoint(parsing: text)
    } catch {
        guard case .noPort(let scheme, let rest, _) = error else { throw error }
        throw EndpointError.noPort(scheme: scheme, rest, usual: 9464)
    }
}

private func noControlSocket(_ text: String) -> ValidationError {
    ValidationError("'\(text)' is no control socket; use unix:PATH")
}

/// Where `ctl` finds the server, and how it prints what that says.
struct ControlClientOptions: ParsableArguments {
    /// A value of --control.
    struct Socket {
        let path: String

        init(parsing text: String) throws {
            guard case .unix(let path, _) = try controlEndpoint(parsing: text) else { throw noControlSocket(text) }
            self.path = path
        }
    }

    @Option(
        help: ArgumentHelp("The server's control socket, unix:PATH.", valueName: "endpoint"),
        completion: .list(["unix:"]), transform: Socket.init(parsing:))
    var control: Socket?

    @Flag(help: "Print the server's answer, in JSON.")
    var json = false

    /// The default of --control.
    static func standardPath() throws -> String {
        guard let value = unsafe getenv("SPINDLE_CONTROL") else { return ControlClient.standardPath }
        let text = unsafe String(cString: value)
        // A path alone, too, as in other programs' variables of this kind.
        return text.hasPrefix("/") ? text : try Socket(parsing: text).path
    }
}
