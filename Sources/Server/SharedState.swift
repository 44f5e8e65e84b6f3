// What the loops of a server have in common; nothing of it changes once they run, but for what is atomic.

import IOUring
import Logging
import NBD
import Synchronization

/// Shared by all loops and the thread that started them.
final class SharedState: Sendable {
    let exports: [ServedExport]
    let information: [ExportInformation]
    /// By export.
    let gates: [WriteGate]
    let limits: Limits
    /// Nil: no TLS.
    let tls: TLSSettings?
    let logger: Logger
    let listeners: [Listener]
    let loopCount: Int
    /// The rings' descriptors by loop, for messages between them.
    private let rings: [RingCell]
    /// Loops that have not ended.
    let running: Atomic<Int>

    private final class RingCell: Sendable {
        let descriptor = Atomic<Int32>(-1)
    }

    init(
        exports: [ServedExport], information: [ExportInformation], listeners: [Listener], loopCount: Int,
        limits: Limits,
        tls: TLSSettings?, logger: Logger
    ) throws(RingError) {
        self.exports = exports
        self.information = information
        self.listeners = listeners
        self.limits = limits
        self.tls = tls
        self.logger = logger
        self.loopCount = loopCount
        gates = try exports.map { _ throws(RingError) in try WriteGate(loopCount: loopCount) }
        rings = (0..<loopCount).map { _ in RingCell() }
        running = Atomic<Int>(loopCount)
    }

    /// What the handshake of every connection has to know of TLS.
    var tlsPolicy: TLSPolicy {
        guard let tls else { return .unavailable }
        return tls.isRequired ? .required : .optional
    }

    /// Tells the other loops where to send messages.
    func publish(ring descriptor: Int32, of loop: Int) {
        rings[loop].descriptor.store(descriptor, ordering: .releasing)
    }

    /// The ring of a loop; -1 before it has one.
    func ring(of loop: Int) -> Int32 {
        rings[loop].descriptor.load(ordering: .acquiring)
    }
}
