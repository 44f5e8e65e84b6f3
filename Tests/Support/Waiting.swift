// Waiting for an event, with a limit.

import Foundation

/// Waits until something is so; `what` says what was waited for in vain.
public func waitUntil(
    _ what: @autoclosure () -> String, limitSeconds: Double = 20, _ condition: () throws -> Bool
) throws {
    let deadline = Date(timeIntervalSinceNow: limitSeconds)
    while try !condition() {
        guard Date() < deadline else { throw ProgramFailure("waited in vain until \(what())") }
        usleep(2000)
    }
}
