// How many exports a server can have, and what sets that bound.

import Server

/// Room for exports.
public struct ExportRoom: Equatable, Sendable {
    /// So many at a time, those among them that wait for their last client.
    public let exports: Int
    /// The reason for the bound, and a way to raise it.
    public let reason: String

    /// As many as any server can have.
    public static let standard = ExportRoom(
        exports: Server.exportCapacity, reason: "a server has at most \(Server.exportCapacity) exports")

    /// Room for so many, and why not for more.
    public init(exports: Int, reason: String) {
        self.exports = exports
        self.reason = reason
    }

    /// Refuses one more when there are so many.
    func check(_ count: Int) throws(NoRoom) {
        if count >= exports { throw NoRoom(description: reason) }
    }
}

/// There are as many exports as there can be.
public struct NoRoom: Error, Equatable, CustomStringConvertible {
    /// Why there cannot be more.
    public let description: String
}
