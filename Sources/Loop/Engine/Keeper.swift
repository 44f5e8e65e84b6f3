// What outlasts the server is written beside the loops: persistent reservations, the states of drives.

import Glibc
import Threads

/// Has something written to a file, which may take long and gives an errno, and passes that on.
public typealias Keeper =
    @Sendable (_ write: @escaping @Sendable () -> Int32, _ done: @escaping @Sendable (Int32) -> Void) -> Void

/// Writes by a thread of its own: such writes are rare.
@Sendable
public func keepByThread(_ write: @escaping @Sendable () -> Int32, _ done: @escaping @Sendable (Int32) -> Void) {
    if !startDetachedThread({ done(write()) }) { done(EAGAIN) }
}
