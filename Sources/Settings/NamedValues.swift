// Words that stand for values, on the command line and in files alike. Each error says what would be right.

import ATA
import Backends

/// A word that is none of those that are allowed.
public struct BadValue: Error, Equatable, CustomStringConvertible {
    /// The given value, and the allowed ones.
    public let description: String

    /// Describes a wrong word.
    public init(_ value: String, _ what: String, allowed: [String]) {
        description = "'\(value)' is no \(what): it is one of \(allowed.joined(separator: ", "))"
    }
}

/// A controller by its name.
public func parseController(_ text: String) throws(BadValue) -> Controller {
    guard let controller = Controller(rawValue: text) else {
        throw BadValue(text, "controller", allowed: Controller.allCases.map(\.rawValue))
    }
    return controller
}

/// Whether images are locked: `on` or `off`.
public func parseLocking(_ text: String) throws(BadValue) -> Bool {
    switch text {
    case "on": return true
    case "off": return false
    default: throw BadValue(text, "way of locking", allowed: ["on", "off"])
    }
}

/// A cache mode by its name.
public func parseCacheMode(_ text: String) throws(BadValue) -> CacheMode {
    guard let mode = CacheMode(rawValue: text) else {
        throw BadValue(text, "cache mode", allowed: CacheMode.allCases.map(\.rawValue))
    }
    return mode
}
