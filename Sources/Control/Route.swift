// Which request is whose: the table of all routes, and how a request finds its place in it.

/// A method and the paths it is for.
struct Route: Sendable {
    /// The arguments of a route's handler.
    struct Call {
        /// The segments of the path that the template leaves open, in their order.
        let arguments: [String]
        let query: [HTTPRequest.Parameter]
        let body: [UInt8]

        /// A parameter of the query; the last one counts.
        func parameter(_ name: String) -> String? { query.last { $0.name == name }?.value }
    }

    let method: String
    /// `/v1/exports/{name}`
    let template: String
    /// The parameters of the query that there are; nil: any, which mean nothing.
    let parameters: [String]?
    let handle: @Sendable (Call) throws(HTTPFailure) -> HTTPResponse

    init(
        _ method: String, _ template: String, parameters: [String]? = [],
        _ handle: @escaping @Sendable (Call) throws(HTTPFailure) -> HTTPResponse
    ) {
        self.method = method
        self.template = template
        self.parameters = parameters
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
            }
            return try route.handle(Route.Call(arguments: arguments, query: request.query, body: request.body))
        } catch {
            return HTTPResponse(error)
        }
    }
}
