// The control socket and the metrics endpoint: where they listen, when they begin and end.

import Listening
import Logs
import Server

/// Why there can be no endpoint for operators.
public enum ControlServiceError: Error, Equatable, CustomStringConvertible {
    /// Over this endpoint anybody could come.
    case unsafeControl(Endpoint)
    /// Nobody could connect to it by HTTP.
    case noMetrics(Endpoint)
    /// There can be no threads.
    case noThreads

    /// The mistake and the right way.
    public var description: String {
        switch self {
        case .unsafeControl(let endpoint):
            "--control \(endpoint) is not possible: nobody is asked for a password there, so it has to be a Unix socket, "
                + "unix:PATH, whose mode says who may connect"
        case .noMetrics(let endpoint):
            "--metrics \(endpoint) is not possible; use tcp:127.0.0.1:9464, say, or unix:PATH"
        case .noThreads: "no threads can be started for the control socket"
        }
    }
}

/// The endpoints for operators: they listen from the beginning, and answer when they are started.
public final class ControlService: Sendable {
    /// How many requests are answered at a time. Fewer may wait (``Patience``), so that some threads are always free.
    private static let controlThreads = 32
    private static let metricsThreads = 8

    private let control: HTTPService
    private let metrics: HTTPService

    /// Listens.
    ///
    /// - Parameters:
    ///   - control: where the whole API is; a Unix socket, which nobody else's programs can connect to unless it says
    ///     so.
    ///   - metrics: where only the counters are.
    public init(control: Endpoint?, metrics: Endpoint?) throws {
        try Self.check(control: control, metrics: metrics)
        let controlListeners = try control.map(Self.openControl) ?? []
        do {
            self.metrics = HTTPService(listeners: try metrics.map(Listener.open) ?? [])
        } catch {
            for listener in controlListeners { listener.refuse() }
            throw error
        }
        self.control = HTTPService(listeners: controlListeners)
    }

    /// Endpoints that cannot be of these kinds, on any system.
    public static func check(control: Endpoint?, metrics: Endpoint?) throws(ControlServiceError) {
        switch control {
        case nil, .unix, .descriptor: break
        case .tcp?, .iscsi?, .vsock?, .systemd?, .standardInput?: throw .unsafeControl(control ?? .standard)
        }
        switch metrics {
        case nil, .unix, .tcp, .vsock, .descriptor: break
        case .systemd?, .standardInput?, .iscsi?: throw .noMetrics(metrics ?? .standard)
        }
    }

    private static func openControl(_ endpoint: Endpoint) throws -> [Listener] {
        guard case .unix(let path, var permissions) = endpoint else { return try Listener.open(endpoint) }
        if permissions.mode == nil { permissions.mode = 0o600 }
        do throws(EndpointError) {
            return try Listener.open(.unix(path: path, permissions: permissions))
        } catch .cannotListen(_, let reason) {
            // In the words of who has asked for it: the mode is ours.
            throw EndpointError.cannotListen(endpoint, reason: reason)
        }
    }

    /// Answers from now on.
    public func start(_ program: ControlledProgram) throws(ControlServiceError) {
        let api = ControlAPI(program)
        let routes = api.routes
        let metricsRoutes = [api.metricsRoute]
        let logger = program.logs.logger(label: "control")
        let isStarted =
            control.start(threads: Self.controlThreads) { request in
                let response = routes.respond(to: request)
                logger.debug(
                    "control request",
                    metadata: [
                        "method": "\(request.method)", "path": "/\(request.path.joined(separator: "/"))",
                        "status": "\(response.status.rawValue)",
                    ])
                return response
            } && metrics.start(threads: Self.metricsThreads) { metricsRoutes.respond(to: $0) }
        guard isStarted else { throw .noThreads }
    }

    /// Stops listening; the socket of a path disappears.
    public func stop() {
        control.stop()
        metrics.stop()
    }
}
