// Writes at the gate of their drive (WriteGate): let in, parked, let in later.

import Export

extension Loop {
    /// A request that writes enters its drive's gate; others pass by it.
    ///
    /// - Returns: false when the request has to be parked.
    mutating func enterGate(_ place: RequestPlace, _ slot: ConnectionSlot) -> Bool {
        guard requests[place].served.writes else { return true }
        precondition(requests[place].gate == .outside || requests[place].gate == .claiming, "it is in the gate already")
        let export = requests[place].unit
        let granularity = UInt64(exports[export].backend.granularityBytes)
        guard requests[place].served.needsToBeAlone(granularityBytes: granularity) else {
            guard mayEnter(exports[export].gate.enterShared(loop: index)) else { return false }
            requests[place].gate = .shared
            return true
        }
        var hasClaim = requests[place].gate == .claiming
        let isAlone = mayEnter(exports[export].gate.enterAlone(loop: index, hasClaim: &hasClaim))
        if hasClaim { requests[place].gate = isAlone ? .alone : .claiming }
        return isAlone
    }

    private mutating func mayEnter(_ entry: WriteGate.Entry) -> Bool {
        switch entry {
        case .entered(let wake):
            self.wake(wake)
            return true
        case .refused(let wake):
            self.wake(wake)
            return false
        }
    }

    /// A request that was in the gate, in whatever way, is done.
    mutating func leaveGate(_ place: RequestPlace, _ slot: ConnectionSlot) {
        let gate = exports[requests[place].unit].gate
        switch requests[place].gate {
        case .outside: return
        case .shared: wake(gate.leaveShared(loop: index))
        case .claiming, .alone: wake(gate.leaveAlone(loop: index))
        }
        requests[place].gate = .outside
    }

    /// Between two of its commands a request leaves the gate and enters it as the next one needs, so that nobody waits
    /// for all of it.
    ///
    /// - Returns: false when it has to be parked; behind those that are, else it could be alone for ever.
    mutating func reenterGate(_ place: RequestPlace, _ slot: ConnectionSlot) -> Bool {
        guard requests[place].served.writes else { return true }
        leaveGate(place, slot)
        return parked.isEmpty && enterGate(place, slot)
    }

    /// Puts a request at the end of the list of those that wait.
    mutating func park(_ place: RequestPlace) {
        parked.append(place, &requests)
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
