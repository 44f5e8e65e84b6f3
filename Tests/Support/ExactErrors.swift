// Errors that are expected word by word: a case and what it is about, not just some error.

import Testing

/// Expects that something fails and says this, all of it.
public func expectError(
    _ words: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("did not fail with: \(words)", sourceLocation: sourceLocation)
    } catch {
        #expect("\(error)" == words, sourceLocation: sourceLocation)
    }
}
