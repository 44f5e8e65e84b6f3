// Replies whose data go from the page cache into the socket by splice(2) (PagePipe): nobody copies them on this side.

import Glibc
import IOUring

extension Loop {
    /// Sends what was gathered, through the pipe: as much as the socket takes now.
    ///
    /// - Returns: whether it was all. If not, the rest follows when there is room, or the connection is over.
    mutating func sendSpliced(_ slot: Int) -> Bool {
        while unsafe connections[slot].sendBytesLeft > 0 {
            fillPipe(slot)
            guard pipe.byteCount > 0 else {
                sendRescued(slot)
                return false
            }
            let (sent, end) = pipe.send(to: unsafe connections[slot].descriptor)
            noteSent(sent, slot)
            switch end {
            case .done: continue
            case .full: awaitRoom(slot)
            case .unable: sendRescued(slot)
            case .lost(let code): lose(slot, code)
            }
            return false
        }
        releaseSentReplies(slot)
        return true
    }

    /// There is room in the socket again, or it is of no more use.
    mutating func sendMore(on slot: Int) {
        unsafe connections[slot].isSending = false
        sendsUnderWay -= 1
        if unsafe connections[slot].phase == .closing {
            releaseSentReplies(slot)
        } else if sendSpliced(slot) {
            queueSend(slot)
            pump(slot)
        }
        finishIfIdle(slot)
    }

    /// Puts headers and data into the pipe, as many as it takes and as there are.
    private mutating func fillPipe(_ slot: Int) {
        let medium = unsafe exports[connections[slot].export].medium
        let message = unsafe connections[slot].message.pointee
        for number in unsafe 0..<message.msg_iovlen {
            guard let vector = unsafe message.msg_iov, let base = unsafe vector[number].iov_base else { return }
            let count = unsafe vector[number].iov_len
            let added = unsafe medium.add(base, count: count, to: &pipe) ?? pipe.add(base, count: count)
            guard added == count else { return }
        }
    }

    /// The file has shrunk, or its medium fails, or this cannot be done here: the data are read after all.
    private mutating func sendRescued(_ slot: Int) {
        if rescue(slot) { submitMessage(slot) } else { lose(slot) }
    }

    private mutating func noteSent(_ count: Int, _ slot: Int) {
        guard count > 0 else { return }
        counters[.sentBytes].add(UInt64(count))
        unsafe connections[slot].lastProgress = now
        skipSent(count, slot)
    }

    private mutating func awaitRoom(_ slot: Int) {
        unsafe connections[slot].isSending = true
        sendsUnderWay += 1
        unsafe ring.awaitRoom(connections[slot].descriptor, userData: Token(.room, connection: slot).userData)
    }

    /// Nothing can be sent any more.
    private mutating func lose(_ slot: Int, _ code: Int32 = 0) {
        if code != 0 { noteLost(slot, code) }
        releaseSentReplies(slot)
        abort(slot, .lost)
    }
}
