// Metadata contexts: what BLOCK_STATUS can tell of a range, and how clients select it (NBD protocol, "Metadata
// querying", NBD_OPT_LIST_META_CONTEXT, NBD_OPT_SET_META_CONTEXT).

/// A metadata context. The raw value is its id on the wire, the same in every session.
public enum MetadataContext: UInt32, CaseIterable, Sendable {
    /// `base:allocation`: what is allocated, and what reads as zeroes.
    case allocation = 1

    /// The name, namespace and leaf.
    public var name: String {
        switch self {
        case .allocation: "base:allocation"
        }
    }
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT: name of the export and queries.
struct MetadataQueries {
    let name: [UInt8]
    let queries: [String]

    init(_ data: RawSpan) throws(MetadataQueryError) {
        var rest = data
        name = try Self.takeString(&rest)
        guard rest.byteCount >= 4 else { throw .tooShort(bytes: data.byteCount) }
        let count = rest.loadBigEndian(at: 0, as: UInt32.self)
        rest = rest.extracting(droppingFirst: 4)
        var queries: [String] = []
        // Each query takes bytes, so that a count without queries behind it ends at once.
        for _ in 0..<count {
            let bytes = try Self.takeString(&rest)
            guard let query = String(validating: bytes, as: UTF8.self), query.utf8.contains(UInt8(ascii: ":")) else {
                throw .noNamespace(bytes)
            }
            queries.append(query)
        }
        guard rest.byteCount == 0 else { throw .excess(bytes: rest.byteCount) }
        self.queries = queries
    }

    /// SET_META_CONTEXT selects the named contexts. A context that this server does not know, and a namespace alone,
    /// selects nothing.
    func selects(_ context: MetadataContext) -> Bool {
        queries.contains(context.name)
    }

    /// LIST_META_CONTEXT also finds a context by its namespace, and without any query.
    func finds(_ context: MetadataContext) -> Bool {
        queries.isEmpty || queries.contains("base:") || selects(context)
    }

    /// Takes a length and as many bytes from the front.
    private static func takeString(_ rest: inout RawSpan) throws(MetadataQueryError) -> [UInt8] {
        guard rest.byteCount >= 4 else { throw .tooShort(bytes: rest.byteCount) }
        let length = rest.loadBigEndian(at: 0, as: UInt32.self)
        guard length <= rest.byteCount - 4 else { throw .stringOutsideData(bytes: length) }
        guard length <= ExportInformation.maximumStringBytes else { throw .stringTooLong(bytes: length) }
        let bytes = rest.extracting(4..<4 + Int(length)).bytes()
        rest = rest.extracting(droppingFirst: 4 + Int(length))
        return bytes
    }
}

/// A mistake in the data of LIST_META_CONTEXT or SET_META_CONTEXT.
enum MetadataQueryError: Error, CustomStringConvertible {
    case tooShort(bytes: Int)
    case stringOutsideData(bytes: UInt32)
    case stringTooLong(bytes: UInt32)
    case noNamespace([UInt8])
    case excess(bytes: Int)

    var description: String {
        switch self {
        case .tooShort(let bytes):
            "a number of 4 bytes is missing; \(bytes) bytes are left"
        case .stringOutsideData(let bytes):
            "a name or query is said to have \(bytes) bytes, which is more than are left of the option"
        case .stringTooLong(let bytes):
            "a name or query has \(bytes) bytes; at most \(ExportInformation.maximumStringBytes) are allowed"
        case .noNamespace(let query):
            "the query \(quoted(query)) is no UTF-8 with a namespace and a colon"
        case .excess(let bytes):
            "\(bytes) bytes follow the last query"
        }
    }
}
