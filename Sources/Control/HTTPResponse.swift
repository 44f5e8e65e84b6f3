// A response and its bytes (RFC 9112, 4): always with its length, always the last one of its connection.

/// An answer to a client.
struct HTTPResponse: Equatable {
    /// A header field.
    struct Field: Equatable {
        let name: String
        let value: String
    }

    var status: HTTPStatus
    var fields: [Field] = []
    var body: [UInt8] = []

    /// A text of some media type.
    init(_ status: HTTPStatus, contentType: String, body: [UInt8]) {
        self.status = status
        self.fields = [Field(name: "Content-Type", value: contentType)]
        self.body = body
    }

    /// Nothing but a status.
    init(_ status: HTTPStatus) {
        self.status = status
    }

    /// The response as it is sent.
    ///
    /// - Parameter isHead: for a HEAD request, to which the content is described and not sent (RFC 9110, 9.3.2).
    func encoded(isHead: Bool = false) -> [UInt8] {
        var text = "HTTP/1.1 \(status.rawValue) \(status.phrase)\r\n"
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        // RFC 9110, 8.6: not in a response without content by its status.
        if status != .noContent { text += "Content-Length: \(body.count)\r\n" }
        text += "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        return Array(text.utf8) + (isHead ? [] : body)
    }
}
