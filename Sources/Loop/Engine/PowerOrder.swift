// Orders to cut the power of a drive with a volatile write cache: at once, or at a moment that is to come.

import Blocks
import IOUring
import Synchronization

/// Somebody's wish for a drive's power.
public struct PowerOrder: Equatable, Sendable {
    /// The choice of kept and lost data.
    public var cut: PowerCut
    /// When; nil: now.
    public var moment: CutMoment?
    /// The power stays off. Else it is back at once.
    public var staysOff: Bool
    /// Sessions are not ended: they get no answer any more, until the power is back.
    public var hangs: Bool

    /// An order.
    public init(cut: PowerCut, moment: CutMoment? = nil, staysOff: Bool = false, hangs: Bool = false) {
        self.cut = cut
        self.moment = moment
        self.staysOff = staysOff
        self.hangs = hangs
    }
}

/// A power cut, and what is known of it.
public struct PowerCutOutcome: Equatable, Sendable {
    /// The order.
    public var order: PowerOrder
    /// The account of kept and lost data.
    public var report: PowerCutReport
    /// The size of the drive.
    public var sectors: UInt64
    /// The connections that had it open.
    public var connections: [ConnectionStatus]

    /// The outcome of an order.
    public init(_ order: PowerOrder, _ report: PowerCutReport, sectors: UInt64, connections: [ConnectionStatus]) {
        self.order = order
        self.report = report
        self.sectors = sectors
        self.connections = connections
    }
}

/// Why a power cut could not be finished, in words.
public struct CutFailure: Error {
    /// The words.
    public let reason: String

    /// A failure.
    public init(_ reason: String) { self.reason = reason }
}

/// An order whose moment is to come, and the thread that waits for it.
public final class ArmedCut: Sendable {
    /// The order.
    public let order: PowerOrder
    private let connections = Mutex<[ConnectionStatus]?>(nil)
    private let isOver: EventCounter

    /// An order that the drive does not know yet.
    public init(_ order: PowerOrder) throws(RingError) {
        self.order = order
        isOver = try EventCounter()
    }

    deinit {
        isOver.close()
    }

    /// Waits for the moment.
    ///
    /// - Returns: the connections that had the drive open; nil: the order was taken back.
    public func wait() -> [ConnectionStatus]? {
        isOver.wait()
        return connections.withLock { $0 }
    }

    /// Its moment has come, and was not taken back before.
    public var hasCome: Bool { connections.withLock { $0 != nil } }

    /// The moment has come.
    func come(_ present: [ConnectionStatus]) {
        connections.withLock { $0 = present }
        isOver.signal()
    }

    /// The moment will not come.
    public func takeBack() { isOver.signal() }
}
