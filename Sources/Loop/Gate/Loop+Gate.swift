// Writes that the gate of their drive (WriteGate) did not let in: parked, and let in later.

import Export

extension Loop {
    /// Between two of its commands a request leaves the gate and enters it as the next one needs, so that nobody waits
    /// for all of it.
    ///
    /// - Returns: false when it has to be parked; behind those that are, else it could be alone for ever.
    mutating func reenterGate(_ place: RequestPlace, _ slot: ConnectionSlot) -> Bool {
        guard requests[place].facts.writes else { return true }
        leaveGate(place, slot)
        return parked.isEmpty && enterGate(place, slot)
    }

    /// Puts a request at the end of the list of those that wait.
    mutating func park(_ place: RequestPlace) {
        parked.append(place, &requests)
        hurryHeld(of: requests[place].unit)
    }

    /// Tries those that wait, in their order, again for as long as one that goes on may let others go on.
    ///
    /// Every turn does this; another loop that opens a gate causes a turn.
    mutating func retryParked() {
        hasNewlyParked = false
        var progresses = true
        while progresses && !parked.isEmpty {
            progresses = false
            var waiting = parked
            parked = RequestList()
            while let place = waiting.popFirst(&requests) {
                if enterGate(place, place.slot) {
                    enter(place)
                    progresses = true
                } else {
                    park(place)
                }
            }
        }
    }
}
