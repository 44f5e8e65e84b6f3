// The control socket and the metrics endpoint: where they listen, when they begin and end.

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

    /// What went wrong and what would be right.
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
    /// How many clients are heard at a time.
    private static let controlThreads = 32
    private static let metricsThreads = 8

    private let control: HTTPService
    private let metrics: HTTPService

    /// Listens.
    ///
    /// - Parameters:
    ///   - control: where the whole API is; a Unix socket, which nobody else's programs can connect to unless it says so.
    ///   - metrics: where only the counters are.
    public init(control: Endpoint?, metrics: Endpoint?) throws {
        let controlListeners = try control.map(Self.openControl) ?? []
        do {
            self.metrics = HTTPService(listeners: try metrics.map(Self.openMetrics) ?? [])
        } catch {
            for listener in controlListeners { listener.refuse() }
            throw error
        }
        self.control = HTTPService(listeners: controlListeners)
    }

    private static func openControl(_ endpoint: Endpoint) throws -> [Listener] {
        switch endpoint {
        case .unix(let path, var permissions):
            if permissions.mode == nil { permissions.mode = 0o600 }
            return try Listener.open(.unix(path: path, permissions: permissions))
        case .descriptor: return try Listener.open(endpoint)
        case .tcp, .vsock, .systemd, .standardInput: throw ControlServiceError.unsafeControl(endpoint)
        }
    }

    private static func openMetrics(_ endpoint: Endpoint) throws -> [Listener] {
        switch endpoint {
        case .unix, .tcp, .vsock, .descriptor: return try Listener.open(endpoint)
        case .systemd, .standardInput: throw ControlServiceError.noMetrics(endpoint)
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
