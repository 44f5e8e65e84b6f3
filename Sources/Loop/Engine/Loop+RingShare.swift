// An export's share of the ring: how many requests may be there at a time, and those that wait for their turn.

import Backends

/// One export's share of its loop's ring. Each operation may take one of the ring's threads, for ever if the file
/// system does not answer, and no other export's operation may be without one.
struct RingShare {
    /// So many operations at a time, a 64th of the ring's threads, and fewer than a disk usually has places for.
    static let capacity = 64

    private(set) var count = 0
    private var waiting = RequestList()

    var hasRoom: Bool { count < Self.capacity }

    /// An operation is with the ring now.
    mutating func enter() {
        count += 1
    }

    /// An operation has come back.
    mutating func leave() {
        precondition(count > 0, "no operation comes back that was not with the ring")
        count -= 1
    }

    /// How many requests wait for their turn, by going through all of them.
    func waitingCount(_ requests: borrowing SlotTable<RequestPlace, RequestSlot>) -> Int { waiting.count(requests) }

    mutating func append(_ place: RequestPlace, _ requests: inout SlotTable<RequestPlace, RequestSlot>) {
        waiting.append(place, &requests)
    }

    /// The request whose turn it is; nil when nobody waits, or there is no room.
    mutating func next(_ requests: inout SlotTable<RequestPlace, RequestSlot>) -> RequestPlace? {
        hasRoom ? waiting.popFirst(&requests) : nil
    }
}

extension Loop {
    /// Begins what the backend is asked to do, as soon as the export's share of the ring has room for it.
    mutating func startAtBackend(_ place: RequestPlace, _ export: ExportNumber) -> BackendProgress {
        guard requests[place].task.operation != .flush else { return flush(place, export) }
        guard exports[export].ringShare.hasRoom else {
            exports[export].ringShare.append(place, &requests)
            return .pending
        }
        let backend = exports[export].backend(ofFile: requests[place].file)
        let progress = backend.start(
            &requests[place].task, ring: &ring, userData: Token(.backend, place).userData)
        if progress == .pending {
            exports[export].ringShare.enter()
            requests[place].isInRing = true
        }
        return progress
    }

    /// The ring has come back with something for a request.
    mutating func backendCompleted(_ result: Int32, of place: RequestPlace) {
        let export = requests[place].unit
        let userData = Token(.backend, place).userData
        let progress = exports[export].backend(ofFile: requests[place].file).resume(
            &requests[place].task, result: result, ring: &ring, userData: userData)
        // Others begin first: with its last answer, the loop may have no use for the export any more.
        if progress != .pending {
            requests[place].isInRing = false
            leaveRing(export)
        }
        resume(place, progress, export)
    }

    private mutating func leaveRing(_ export: ExportNumber) {
        exports[export].ringShare.leave()
        while let next = exports[export].ringShare.next(&requests) {
            let progress = startAtBackend(next, export)
            if progress != .pending { resume(next, progress, export) }
        }
    }
}
