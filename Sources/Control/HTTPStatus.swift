// Status codes of HTTP (RFC 9110, 15), those that are answered here, and the failures that become one.

import Logs
import Settings

/// A status code.
enum HTTPStatus: Int {
    case ok = 200
    case created = 201
    case accepted = 202
    case noContent = 204
    case badRequest = 400
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case conflict = 409
    case lengthRequired = 411
    case contentTooLarge = 413
    case unprocessableContent = 422
    case requestHeaderFieldsTooLarge = 431
    case internalServerError = 500
    case serviceUnavailable = 503
    case versionNotSupported = 505

    /// The words beside the number.
    var phrase: String {
        switch self {
        case .ok: "OK"
        case .created: "Created"
        case .accepted: "Accepted"
        case .noContent: "No Content"
        case .badRequest: "Bad Request"
        case .notFound: "Not Found"
        case .methodNotAllowed: "Method Not Allowed"
        case .requestTimeout: "Request Timeout"
        case .conflict: "Conflict"
        case .lengthRequired: "Length Required"
        case .contentTooLarge: "Content Too Large"
        case .unprocessableContent: "Unprocessable Content"
        case .requestHeaderFieldsTooLarge: "Request Header Fields Too Large"
        case .internalServerError: "Internal Server Error"
        case .serviceUnavailable: "Service Unavailable"
        case .versionNotSupported: "HTTP Version Not Supported"
        }
    }
}

/// Why a request is not done: a status, and in words what was wrong and what would be right.
struct HTTPFailure: Error, Equatable {
    let status: HTTPStatus
    let message: String

    /// One line, whatever names are in it.
    init(_ status: HTTPStatus, _ message: String) {
        self.status = status
        self.message = message.visible
    }

    /// What is asked for makes no sense: a line for each mistake.
    init(unprocessable error: any Error) {
        status = .unprocessableContent
        message = (error as? SettingsErrors)?.description ?? "\(error)".visible
    }
}
