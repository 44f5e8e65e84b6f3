// Small writes that the loop does itself (SmallWrites).

import Export
import Media
import NBD

extension Loop {
    /// Begins a small WRITE whose payload has arrived in one piece and is written from there: it needs no memory, and is not
    /// copied but by the kernel.
    ///
    /// - Parameter payload: what has arrived behind the header.
    /// - Returns: false when the usual way has to be taken; nothing has happened then.
    mutating func writeInPlace(
        _ header: RequestHeader, _ verdict: RequestVerdict, _ payload: UnsafeRawBufferPointer, _ slot: Int
    ) -> Bool {
        guard case .perform(let command) = verdict, command == .write, smallWrites.areQuick,
            header.lengthBytes <= SmallWrites.largestBytes, header.lengthBytes <= payload.count,
            unsafe exports[connections[slot].export].medium.writesToPageCache
        else { return false }
        let served = ServedRequest(header, as: command)
        let count = Int(header.lengthBytes)
        let needs = served.bufferNeeds
        // Sectors that have to be completed need memory.
        guard needs.byteCount == count && needs.dataOffset == 0,
            let request = unsafe connections[slot].takeRequest()
        else { return false }
        let place = self.slot(request, of: slot)
        unsafe (requests + place).initialize(
            to: RequestSlot(
                served: served, task: MediumTask(.flush, offset: 0, length: 0, buffer: nil),
                measure: RequestMeasure(kind: CommandKind(command)),
                buffer: UnsafeMutableRawPointer(mutating: payload.baseAddress), bufferBytes: count, isInPlace: true))
        guard enterGate(place, slot) else {
            unsafe connections[slot].releaseRequest(request)
            return false
        }
        arrive(place, slot)
        begin(request, on: slot)
        return true
    }

    /// Whether the loop does a request's task now.
    mutating func isQuick(_ place: Int, _ medium: Medium) -> Bool {
        guard unsafe !requests[place].isInPlace else { return true }
        guard let count = unsafe requests[place].task.bytesToWrite, count <= SmallWrites.largestBytes,
            medium.writesToPageCache
        else { return false }
        guard !smallWrites.areQuick else { return true }
        smallWrites.skip()
        return false
    }

    /// Does a request's task, which is a write.
    mutating func writeNow(_ place: Int, _ medium: Medium) -> MediumProgress {
        let start = RequestClock.now()
        let progress = unsafe medium.writeNow(&requests[place].task)
        smallWrites.learn(nanoseconds: RequestClock.now() &- start)
        if unsafe requests[place].isInPlace {
            // What comes after the write, a flush, comes when others have been received there.
            unsafe requests[place].isInPlace = false
            unsafe requests[place].buffer = nil
            unsafe requests[place].bufferBytes = 0
        }
        return progress
    }
}
