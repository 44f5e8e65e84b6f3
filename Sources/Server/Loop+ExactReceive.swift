// Receiving no more than what is waited for (Receiving.exactly).

import Export
import Glibc
import IOUring

extension Loop {
    /// After so many other requests in a row, receiving whatever comes costs less again.
    private static let othersInARow = 32
    /// Then it is another connection's turn.
    private static let headersInARow = 8

    /// A request begins. After a large WRITE others like it are expected.
    mutating func chooseReceiving(_ place: Int, _ slot: Int) {
        guard isLarge(unsafe requests[place].served, slot) else {
            noteOther(slot)
            return
        }
        unsafe connections[slot].othersInARow = 0
        switch unsafe connections[slot].receiving {
        case .asTheyCome:
            unsafe connections[slot].receiving = .ending
            guard unsafe connections[slot].isReceiving else { return }
            ring.cancel(Token(.receive, connection: slot).userData, userData: Token(.cancelled).userData)
        case .ending:
            break
        case .exactly:
            takePipe(place, slot)
        }
    }

    private mutating func noteOther(_ slot: Int) {
        guard unsafe connections[slot].receiving == .exactly else { return }
        unsafe connections[slot].othersInARow += 1
        if unsafe connections[slot].othersInARow >= Self.othersInARow {
            unsafe connections[slot].receiving = .asTheyCome
        }
    }

    /// Waits until the socket has something, if that could be taken now.
    mutating func awaitInput(_ slot: Int) {
        unsafe connections[slot].receiving = .exactly
        let hasPlace =
            unsafe connections[slot].payloadRequest != nil
            || connections[slot].headerCount < connections[slot].headerLength
        guard hasPlace, unsafe connections[slot].receivedCount == 0 && !connections[slot].isFenced else { return }
        unsafe connections[slot].isReceiving = true
        unsafe ring.awaitInput(connections[slot].descriptor, userData: Token(.input, connection: slot).userData)
    }

    /// The socket has something, or its end.
    mutating func inputCame(on slot: Int) {
        unsafe connections[slot].isReceiving = false
        if unsafe connections[slot].receiving == .exactly {
            unsafe connections[slot].mayHaveInput = true
            unsafe connections[slot].isInputNew = true
            unsafe connections[slot].headersLeft = Self.headersInARow
        }
        pump(slot)
        resumeReceiving(slot)
        finishIfIdle(slot)
    }

    /// Receives what is missing of a header.
    ///
    /// - Returns: whether there was any of it.
    mutating func receiveHeader(_ slot: Int) -> Bool {
        guard unsafe connections[slot].mayBeAsked else { return false }
        let filled = unsafe connections[slot].headerCount
        if filled == 0 {
            guard unsafe connections[slot].headersLeft > 0 else {
                unsafe connections[slot].mayHaveInput = false
                return false
            }
            unsafe connections[slot].headersLeft -= 1
        }
        let missing = unsafe connections[slot].headerLength - filled
        let socket = unsafe connections[slot].descriptor
        let result = unsafe withUnsafeMutableBytes(of: &connections[slot].header) { bytes in
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[filled..<filled + missing])
            return unsafe recv(socket, rest.baseAddress, rest.count, Int32(MSG_DONTWAIT))
        }
        let count = noteInput(result, slot)
        unsafe connections[slot].headerCount += count
        return count > 0
    }

    /// Receives what is missing of a payload, to where it belongs.
    ///
    /// - Returns: how many bytes it was.
    mutating func receivePayload(into target: UnsafeMutableRawPointer, count: Int, _ slot: Int) -> Int {
        guard unsafe connections[slot].mayBeAsked else { return 0 }
        return noteInput(unsafe recv(connections[slot].descriptor, target, count, Int32(MSG_DONTWAIT)), slot)
    }

    /// Something was received, or the end of it, or nothing.
    ///
    /// - Parameter result: of recv(2).
    /// - Returns: how many bytes it was.
    mutating func noteInput(_ result: Int, _ slot: Int) -> Int {
        if result > 0 {
            unsafe connections[slot].isInputNew = false
            unsafe connections[slot].lastProgress = now
            unsafe connections[slot].receivedBytes &+= UInt64(result)
            counters[.receivedBytes].add(UInt64(result))
            return result
        }
        let code = errno
        unsafe connections[slot].mayHaveInput = false
        if result == 0 {
            unsafe connections[slot].isAtEndOfFile = true
        } else if code != EAGAIN && code != EINTR {
            noteLost(slot, code)
            abort(slot, .lost)
        }
        return 0
    }
}
