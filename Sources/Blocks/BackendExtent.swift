// The answer to a look-up: of a backend, or of a layer that knows better.

/// Sectors in a row of which something is stored, or of which nothing is and which read as zeroes.
public struct BackendExtent: Equatable, Sendable {
    /// Something is stored. A medium that cannot tell says so of everything.
    public var isMapped: Bool
    /// How many bytes it has, at least a logical block.
    public var lengthBytes: UInt64

    /// An extent.
    public init(isMapped: Bool, lengthBytes: UInt64) {
        self.isMapped = isMapped
        self.lengthBytes = lengthBytes
    }
}
