// Which request is whose: the table of all routes, and how a request finds its place in it.

/// A method and the paths it is for.
struct Route: Sendable {
    /// The arguments of a route's handler.
    struct Call {
        /// The segments of the path that the template leaves open, in their order.
        let arguments: [String]
        let query: [HTTPRequest.Parameter]
        let body: [UInt8]

        /// A parameter of the query.
        func parameter(_ name: String) -> String? { query.first { $0.name == name }?.value }
    }

    let method: String
    /// `/v1/exports/{name}`
    let template: String
    /// The parameters of the query that there are; nil: any, which mean nothing.
    let parameters: [String]?
    /// Whether a request may wait, and with how many others; nil: it is answered at once.
    let patience: Patience?
    let handle: @Sendable (Call) throws(HTTPFailure) -> HTTPResponse

    init(
        _ method: String, _ template: String, parameters: [String]? = [], _ patience: Patience? = nil,
        _ handle: @escaping @Sendable (Call) throws(HTTPFailure) -> HTTPResponse
    ) {
        self.method = method
        self.template = template
        self.parameters = parameters
        self.patience = patience
        self.handle = handle
    }

    /// The parts of the path where the template is open; nil if it is another path.
    func arguments(_ path: [String]) -> [String]? {
        let pattern = template.dropFirst().split(separator: "/")
        guard pattern.count == path.count else { return nil }
        var arguments: [String] = []
        for (expected, segment) in zip(pattern, path) {
            if expected.hasPrefix("{") {
                arguments.append(segment)
            } else if expected != segment {
                return nil
            }
        }
        return arguments
    }
}

extension [Route] {
    /// Does what a request asks for.
    func respond(to request: HTTPRequest) -> HTTPResponse {
        let candidates = compactMap { route in route.arguments(request.path).map { (route, $0) } }
        guard !candidates.isEmpty else {
            let paths = Set(map(\.template)).sorted().joined(separator: ", ")
            return HTTPResponse(HTTPFailure(.notFound, "there is nothing at this path; there are \(paths)"))
        }
        // RFC 9110, 9.3.2: HEAD is GET without the content.
        let method = request.method == "HEAD" ? "GET" : request.method
        guard let (route, arguments) = candidates.first(where: { $0.0.method == method }) else {
            let allowed = candidates.map(\.0.method).sorted().joined(separator: ", ")
            var response = HTTPResponse(
                HTTPFailure(.methodNotAllowed, "'\(request.method)' cannot be done here; what can: \(allowed)"))
            response.fields.append(HTTPResponse.Field(name: "Allow", value: allowed))
            return response
        }
        do throws(HTTPFailure) {
            if let known = route.parameters {
                for parameter in request.query where !known.contains(parameter.name) {
                    let hint = known.isEmpty ? "there are none" : "known: " + known.joined(separator: ", ")
                    throw HTTPFailure(.badRequest, "there is no parameter '\(parameter.name)' here; \(hint)")
                }
                for name in known where request.query.count(where: { $0.name == name }) > 1 {
                    throw HTTPFailure(.badRequest, "the parameter '\(name)' is there more than once")
                }
            }
            let call = Route.Call(arguments: arguments, query: request.query, body: request.body)
            guard let patience = route.patience else { return try route.handle(call) }
            return try patience.wait { () throws(HTTPFailure) in try route.handle(call) }
        } catch {
            return HTTPResponse(error)
        }
    }
}
