// Large WRITEs to the page cache: the payload goes from the socket into a pipe and from there into the file. It is copied once,
// by the kernel, and never was in our memory.

import Export
import IOUring
import Media

extension Loop {
    /// Payloads of this size go through a pipe, if they come over TCP, where receiving is what takes the loop most of its time.
    /// Over a Unix socket workers that write while the loop receives are faster, where there is a processor for them.
    private static let pipedBytes: ClosedRange<UInt64> = (1 << 17)...(1 << 18)

    /// Whether a request's payload could go through a pipe.
    func isLarge(_ served: ServedRequest, _ slot: Int) -> Bool {
        guard served.command == .write, Self.pipedBytes.contains(served.lengthBytes),
            unsafe connections[slot].secure == nil && connections[slot].peer.isRemote,
            unsafe exports[connections[slot].export].medium.writesToPageCache
        else { return false }
        // Sectors that have to be completed need memory.
        let needs = served.bufferNeeds
        return needs.dataOffset == 0 && needs.byteCount == Int(served.lengthBytes)
    }

    /// The payload of a request goes through a pipe, if there is one, and none of it has been received.
    mutating func takePipe(_ place: Int, _ slot: Int) {
        guard unsafe connections[slot].receivedCount == 0 else { return }
        guard largeWrites.areQuick else {
            largeWrites.skip()
            return
        }
        guard let pipe = pipes.take() else { return }
        unsafe requests[place].source = .pipe(pipe)
    }

    /// Moves payload into the request's pipe. The request begins when all of it is there: of a write whose client vanishes in
    /// the middle, nothing reaches the drive.
    ///
    /// - Returns: false when there is nothing now.
    mutating func pipePayload(of request: Int, _ pipe: Int, _ slot: Int) -> Bool {
        guard unsafe connections[slot].mayBeAsked else { return false }
        let place = self.slot(request, of: slot)
        let socket = unsafe connections[slot].descriptor
        let left = Int(unsafe requests[place].served.lengthBytes) - (unsafe connections[slot].payloadCount)
        let available = LinuxFile.receivedBytes(socket)
        if available == 0, unsafe !connections[slot].isInputNew {
            unsafe connections[slot].mayHaveInput = false
            return false
        }
        let wanted = min(available, left)
        let count = wanted > 0 ? unsafe pipes.pointer(to: pipe).pointee.add(socket: socket, count: wanted) : 0
        guard count > 0 else {
            // The end of the stream, bytes out of band, a pipe full of small pieces: recv(2) knows what to do.
            leavePipe(place)
            return true
        }
        unsafe connections[slot].payloadCount += noteInput(count, slot)
        if count == left {
            unsafe connections[slot].payloadRequest = nil
            start(request, on: slot)
        }
        return true
    }

    /// What has come of a payload goes to the request's memory after all, if it is in a pipe.
    mutating func leavePipe(_ place: Int) {
        guard let pipe = unsafe requests[place].source.pipe, let buffer = unsafe requests[place].buffer else { return }
        unsafe pipes.pointer(to: pipe).pointee.empty(into: buffer)
        releasePipe(place)
    }

    /// Writes a request's payload from its pipe.
    mutating func writeFromPipe(_ place: Int, _ pipe: Int, _ medium: Medium) -> MediumProgress {
        let start = RequestClock.now()
        let progress = unsafe medium.writeNow(&requests[place].task, from: &pipes.pointer(to: pipe).pointee)
        largeWrites.learn(nanoseconds: RequestClock.now() &- start)
        releasePipe(place)
        hasReplyToSend = true
        return progress
    }

    /// The request has no use for its pipe any more, if it has one.
    mutating func releasePipe(_ place: Int) {
        guard let pipe = unsafe requests[place].source.pipe else { return }
        pipes.release(pipe)
        unsafe requests[place].source = .memory
    }
}
