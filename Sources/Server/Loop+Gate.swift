// Writes at the gate of their drive (WriteGate): let in, parked, let in later.

import Export

extension Loop {
    /// A request that writes enters its drive's gate; others pass by it.
    ///
    /// - Returns: false when the request has to be parked.
    mutating func enterGate(_ place: Int, _ slot: Int) -> Bool {
        guard unsafe requests[place].served.writes else { return true }
        let export = unsafe connections[slot].export
        let granularity = UInt64(unsafe exports[export].medium.granularityBytes)
        guard unsafe requests[place].served.needsToBeAlone(granularityBytes: granularity) else {
            guard mayEnter(unsafe exports[export].gate.enterShared(loop: index)) else { return false }
            unsafe requests[place].gate = .shared
            return true
        }
        var hasClaim = unsafe requests[place].gate == .claiming
        let isAlone = mayEnter(unsafe exports[export].gate.enterAlone(loop: index, hasClaim: &hasClaim))
        if hasClaim { unsafe requests[place].gate = isAlone ? .alone : .claiming }
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
    mutating func leaveGate(_ place: Int, _ slot: Int) {
        let gate = unsafe exports[connections[slot].export].gate
        switch unsafe requests[place].gate {
        case .outside: return
        case .shared: wake(gate.leaveShared(loop: index))
        case .claiming, .alone: wake(gate.leaveAlone())
        }
        unsafe requests[place].gate = .outside
    }

    /// Puts a request at the end of the list of those that wait.
    mutating func park(_ place: Int) {
        unsafe requests[place].nextParked = -1
        if lastParked >= 0 {
            unsafe requests[Int(lastParked)].nextParked = Int32(place)
        } else {
            firstParked = Int32(place)
        }
        lastParked = Int32(place)
    }

    /// Tries those that wait, in their order, again for as long as one that goes on may let others go on.
    ///
    /// Every turn does this; another loop that opens a gate causes a turn.
    mutating func retryParked() {
        hasNewlyParked = false
        var progresses = true
        while progresses && firstParked >= 0 {
            progresses = false
            var next = firstParked
            firstParked = -1
            lastParked = -1
            while next >= 0 {
                let place = Int(next)
                let slot = place / Limits.requestsPerConnection
                next = unsafe requests[place].nextParked
                if enterGate(place, slot) {
                    begin(place % Limits.requestsPerConnection, on: slot)
                    progresses = true
                } else {
                    park(place)
                }
            }
        }
    }
}
