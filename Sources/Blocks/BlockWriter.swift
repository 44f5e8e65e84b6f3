// The writer of a request, for layers that tell of it later.

/// The writer of a request, and when it came.
public struct BlockWriter: Equatable, Sendable {
    /// A number that the loop has for the connection.
    public var client: UInt64
    /// Nanoseconds of the monotonic clock.
    public var nanoseconds: UInt64

    /// A writer.
    public init(client: UInt64 = 0, nanoseconds: UInt64 = 0) {
        self.client = client
        self.nanoseconds = nanoseconds
    }
}
