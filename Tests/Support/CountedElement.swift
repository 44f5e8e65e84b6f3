// Elements whose lives can be counted, for tests of what keeps elements.

/// Counts how many of it there are.
public final class Living {
    /// As many as were made and have not ended.
    public fileprivate(set) var count = 0

    /// Nothing lives yet.
    public init() {}
}

/// An element that is counted as long as it lives.
public struct CountedElement: ~Copyable {
    private let living: Living
    /// What tells it from others.
    public var value: Int

    /// A new one.
    public init(_ living: Living, _ value: Int) {
        self.living = living
        self.value = value
        living.count += 1
    }

    deinit { living.count -= 1 }
}
