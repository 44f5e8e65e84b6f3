// Between two commands of a request: others have their turn, and a request that nobody waits for any more ends.

import Counters
import Glibc
import IOUring
import Logging
import Units

extension Loop {
    /// A request may have millions of commands (a WRITE_ZEROES of an exabyte). After so many that the medium has done
    /// at once, it is somebody else's turn.
    private static let commandsPerTurn = 64
    /// And after so long, in nanoseconds.
    private static let turnNanoseconds: UInt64 = 1_000_000

    /// A command of a request has ended, and others follow.
    ///
    /// - Parameter count: how many have ended since others had their turn.
    /// - Returns: what the request wants next; nil when it has to wait for it.
    mutating func nextCommand(of place: RequestPlace, after count: Int) -> UnitStep? {
        let slot = place.slot
        if isAbandoned(place, slot) { return giveUp(place, slot) }
        letFencesPass(place, slot)
        if count == Self.commandsPerTurn || clock.now() &- clock.turnStart > Self.turnNanoseconds {
            ring.noOperation(userData: Token(.goOn, place).userData)
            return nil
        }
        guard reenterGate(place, slot) else {
            park(place)
            hasNewlyParked = true
            return nil
        }
        return proceed(place)
    }

    /// Others have had their turn.
    mutating func goOn(_ place: RequestPlace) {
        follow(.commandEnded, place)
        finishIfIdle(place.slot)
    }

    /// The gate has let in a request that was parked: before its first command, or between two.
    mutating func enter(_ place: RequestPlace) {
        let slot = place.slot
        if isAbandoned(place, slot) {
            follow(giveUp(place, slot), place)
        } else if requests[place].hasBegun {
            follow(proceed(place), place)
        } else {
            begin(place)
        }
    }

    private mutating func proceed(_ place: RequestPlace) -> UnitStep {
        step(.goOn, place, requests[place].unit)
    }

    /// Nobody waits for the rest of the request. A WRITE whose payload has come is done all the same.
    private func isAbandoned(_ place: RequestPlace, _ slot: ConnectionSlot) -> Bool {
        guard requests[place].measure.kind != .write else { return false }
        return connections[slot].phase == .closing || connections[slot].isAbandoned || requests[place].isAbandoned
    }

    /// Once a second: whether anybody waits for what a connection has under way, or wants memory for. A client that has
    /// closed its socket looks like one that has ended its own direction and reads on (RFC 9293, 3.6), until something
    /// is sent; over a Unix socket it can be told.
    ///
    /// - Returns: whether the connection was ended.
    mutating func noticeAbsence(_ slot: ConnectionSlot) -> Bool {
        let phase = connections[slot].phase
        guard phase == .transmission || phase == .draining,
            connections[slot].busyRequests > 0 || connections[slot].line != nil, !connections[slot].isReceiving
        else { return false }
        // Requests before DISC are handled ("NBD_CMD_DISC"), whether or not the client waits for that.
        if connections[slot].endReason != .disconnect, LinuxFile.isHungUp(connections[slot].descriptor) {
            abort(slot, .lost)
            finishIfIdle(slot)
            return true
        }
        if phase == .draining, now - (connections[slot].lastProgress) >= shared.limits.stallSeconds {
            connections[slot].isAbandoned = true
        }
        return false
    }

    private mutating func giveUp(_ place: RequestPlace, _ slot: ConnectionSlot) -> UnitStep {
        note(
            connections[slot].phase == .closing ? .debug : .notice, "request given up", slot,
            [
                "command": "\(requests[place].measure.kind.label)",
                "reason": "its client has closed its side, and others wait or it has taken nothing for long",
            ])
        return served.giveUp(place, requests[place].facts.machine)
    }
}
