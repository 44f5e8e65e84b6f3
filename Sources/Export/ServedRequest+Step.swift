// What an export asks of whoever runs it: sans-I/O, a value out for every event in.

import Blocks

extension ServedRequest {
    /// What has to be done for a request now.
    public enum Step: Equatable, Sendable {
        /// Perform the operation on the medium, then call ``ServedRequest/resume(_:on:buffer:)`` with how it ended.
        /// Data come from or go to the request's buffer, from byte `bufferOffset` on.
        case perform(BlockRequest, bufferOffset: UInt32)
        /// Store zeroes over the sectors; no data buffer stands for them. Then resume as above.
        case performZeroes(lba: UInt64, count: UInt32, mayDeallocate: Bool)
        /// Find out whether the medium has anything stored for the sectors from `lba` on, and for how many of at most
        /// `limit` that is so, then call ``ServedRequest/resumeLBAStatus(isMapped:count:on:buffer:)``.
        case lbaStatus(lba: UInt64, limit: UInt32)
        /// A command of the request has ended, and others follow: here the request may be made to wait, or be ended.
        /// Else call ``ServedRequest/goOn(on:buffer:)``. In the middle of a WRITE there is no such place.
        case commandEnded
        /// The request has been served, or has failed (``ServedRequest/error``): answer it.
        case finished
    }
}

/// How much memory a request needs while it is served.
public struct BufferNeeds: Equatable, Sendable {
    /// The size of the buffer in bytes.
    public let byteCount: Int
    /// Where in it the request's own bytes begin: a WRITE's payload is put there, a READ's data and the descriptors of
    /// a BLOCK_STATUS are found there.
    public let dataOffset: Int
}
