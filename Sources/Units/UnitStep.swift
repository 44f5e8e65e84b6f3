// The steps of a unit, which its caller takes: sans-I/O, a value out for every event in.

import Blocks

/// The next thing to do for a request or a command of a unit.
public enum UnitStep: Equatable, Sendable {
    /// Perform the operation on the medium, then call `resume` with how it ended. Data come from or go to the request's
    /// buffer, from byte `bufferOffset` on.
    case perform(BlockRequest, bufferOffset: UInt32)
    /// Store zeroes over the sectors; no data buffer stands for them. Then resume as above.
    case performZeroes(lba: UInt64, count: UInt32, mayDeallocate: Bool)
    /// Find out whether the medium has anything stored for the sectors from `lba` on, and for how many of at most
    /// `limit` that is so, then call `resumeLBAStatus`.
    case lbaStatus(lba: UInt64, limit: UInt32)
    /// A command of the request has ended, and others follow: here the request may be made to wait, or be ended. Else
    /// call `goOn`. In the middle of a WRITE there is no such place.
    case commandEnded
    /// The request has been served, or has failed: answer it.
    case finished
}

/// How much memory a request needs while it is served.
public struct BufferNeeds: Equatable, Sendable {
    /// The size of the buffer in bytes.
    public let byteCount: Int
    /// Where in it the request's own bytes begin: data of the initiator are put there, and data for it are found there.
    public let dataOffset: Int

    /// So much memory.
    @inlinable
    public init(byteCount: Int, dataOffset: Int) {
        self.byteCount = byteCount
        self.dataOffset = dataOffset
    }
}
