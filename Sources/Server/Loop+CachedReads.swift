// READs whose data are sent straight from the page cache (FileMapping), without a copy in our memory.

import Export
import Glibc
import IOUring
import Logging
import Media

extension Loop {
    /// A larger READ may be more than one SCSI command.
    private static let largestCachedRead: UInt64 = 1 << 20

    /// Of a larger READ that is answered in chunks, zeroes are not sent, and have to be looked for. (But on this machine
    /// sending them costs less than looking, so that only holes of the image count.)
    private static let largestUnsearchedRead: UInt64 = 1 << 15

    /// From here on splicing costs less than the copy that it saves.
    private static let smallestSplicedRead: UInt64 = 1 << 15

    /// Where the sectors of a READ are in the page cache, if they are known to be there and nobody but the kernel has to look
    /// at them, as TLS does, which encrypts.
    mutating func cachedData(
        of served: ServedRequest, _ slot: Int
    ) -> (place: UnsafeMutableRawPointer?, source: RequestSlot.DataSource) {
        guard served.command == .read, served.lengthBytes <= Self.largestCachedRead,
            let messages = unsafe connections[slot].parameters?.messages, unsafe !connections[slot].encryptsHere
        else { return (nil, .memory) }
        let medium = unsafe exports[connections[slot].export].medium
        let needs = served.bufferNeeds
        let start = served.offsetBytes - UInt64(needs.dataOffset)
        let count = UInt64(needs.byteCount)
        let isInOnePiece = !messages.hasChunks || served.flags.contains(.df)
        if served.lengthBytes >= Self.smallestSplicedRead, unsafe connections[slot].secure == nil, isTold(slot),
            let place = unsafe medium.residentBytes(at: start, count: count),
            unsafe isInOnePiece || !connections[slot].peer.isRemote && medium.isStored(at: start, count: count)
        {
            return unsafe (place, .splice)
        }
        guard hasRoomForMappedReply, isInOnePiece || served.lengthBytes <= Self.largestUnsearchedRead else {
            return (nil, .memory)
        }
        let place = unsafe medium.cachedBytes(
            at: start, count: count, known: shared.residentChunks, scratch: scratch)
        return unsafe (place, .mapping)
    }

    private mutating func isTold(_ slot: Int) -> Bool {
        let export = unsafe connections[slot].export
        guard unsafe exports[export].toldAt != now else { return true }
        guard unsafe exports[export].medium.tellsWhatIsResident else { return false }
        unsafe exports[export].toldAt = now
        return true
    }

    /// Once a second, on one loop.
    mutating func beginCacheEpoch() {
        shared.residentChunks.limit(to: shared.allowedChunks)
        if shared.residentChunks.beginEpoch() { shared.exports.dropMappedPages() }
    }

    /// The kernel found a page missing that was to be sent: the file has shrunk, or its medium fails. What is left of the
    /// send is read after all, waiting for it, and what is no longer in the file reads as zeroes.
    ///
    /// - Returns: whether the message can be sent now.
    mutating func rescue(_ slot: Int) -> Bool {
        guard unsafe connections[slot].rescued == nil, unsafe connections[slot].phase != .closing else { return false }
        let medium = unsafe exports[connections[slot].export].medium
        let message = unsafe connections[slot].message.pointee
        let memory = unsafe UnsafeMutableRawPointer.allocate(
            byteCount: max(1, connections[slot].sendBytesLeft), alignment: 16)
        unsafe connections[slot].rescued = memory
        var filled = 0
        for number in unsafe 0..<message.msg_iovlen {
            guard let vector = unsafe message.msg_iov, let base = unsafe vector[number].iov_base,
                let offset = unsafe medium.mappedOffset(of: base)
            else { continue }
            let count = unsafe vector[number].iov_len
            let code = unsafe medium.readNow(at: offset, into: memory + filled, count: count)
            guard code == 0 else {
                note(
                    .error, "the medium failed in the middle of a reply", slot,
                    ["offset": .stringConvertible(offset), "reason": "\(errorText(code))"])
                return false
            }
            unsafe vector[number].iov_base = memory + filled
            filled += count
        }
        return true
    }
}
