// JSON (RFC 8259): responses from values, and the content of requests as values like those of the configuration file.

import FoundationEssentials
import Logs
import Settings

/// The two directions.
enum JSON {
    /// A value as people and programs read it: members in the order of their names, in the spelling of the
    /// configuration's keys (`sizeBytes` is `size-bytes`).
    static func encode(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .custom { Key(withHyphens($0.last?.stringValue ?? "")) }
        guard let data = try? encoder.encode(value) else { preconditionFailure("nothing here has no JSON") }
        return Array(String(decoding: data, as: UTF8.self).visibleJSON.utf8) + [UInt8(ascii: "\n")]
    }

    /// A response's content.
    static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .custom { Key(withoutHyphens($0.last?.stringValue ?? "")) }
        return try decoder.decode(type, from: Data(bytes))
    }

    /// The content of a request.
    static func decode(_ bytes: [UInt8]) throws(HTTPFailure) -> SettingsValue {
        guard !bytes.isEmpty else {
            throw HTTPFailure(.badRequest, "the request has no content; a JSON object is needed")
        }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(bytes)).settings
        } catch DecodingError.dataCorrupted(let context) {
            let reason = context.underlyingError.map { "\($0)" } ?? context.debugDescription
            throw HTTPFailure(.badRequest, "the request's content is no JSON: \(reason)")
        } catch {
            throw HTTPFailure(.badRequest, "the request's content is no JSON: \(error)")
        }
    }

    private static func withHyphens(_ name: String) -> String {
        name.map { $0.isUppercase ? "-\($0.lowercased())" : String($0) }.joined()
    }

    private static func withoutHyphens(_ name: String) -> String {
        let words = name.split(separator: "-")
        return words.dropFirst().reduce(words.first.map(String.init) ?? "") { name, word in
            name + word.prefix(1).uppercased() + word.dropFirst()
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    /// Any JSON value.
    private struct Value: Decodable {
        let settings: SettingsValue

        init(from decoder: any Decoder) throws {
            if let container = try? decoder.container(keyedBy: Key.self) {
                var members: [String: SettingsValue] = [:]
                for key in container.allKeys {
                    members[key.stringValue] = try container.decode(Value.self, forKey: key).settings
                }
                settings = SettingsValue(.table(members))
            } else if var container = try? decoder.unkeyedContainer() {
                var elements: [SettingsValue] = []
                while !container.isAtEnd { elements.append(try container.decode(Value.self).settings) }
                settings = SettingsValue(.array(elements))
            } else {
                settings = SettingsValue(Self.scalar(try decoder.singleValueContainer()))
            }
        }

        private static func scalar(_ container: any SingleValueDecodingContainer) -> SettingsValue.Content {
            if let value = try? container.decode(Bool.self) { return .boolean(value) }
            if let value = try? container.decode(String.self) {
                // It becomes strings of C, which end there.
                return value.utf8.contains(0) ? .other("a string with a NUL character") : .string(value)
            }
            if let value = try? container.decode(Int.self) { return .integer(value) }
            return .other(container.decodeNil() ? "null" : "a number that is no integer")
        }
    }
}

extension HTTPResponse {
    /// A value as JSON.
    init(_ status: HTTPStatus, _ value: some Encodable) {
        self.init(status, contentType: "application/json", body: JSON.encode(value))
    }

    /// The failure, as JSON.
    init(_ failure: HTTPFailure) {
        self.init(failure.status, Answer.Failure(error: failure.message))
    }
}
