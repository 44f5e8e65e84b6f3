// The machines that serve a loop's requests: one for each kind of request, in a table of its own, where it changes in
// place. An enum of them would be moved out and back at each step.

import Blocks
import Export
import IOUring
import Units

/// The events of a request that is being served.
enum ServingEvent {
    /// It begins.
    case begin
    /// The medium has done what was asked.
    case resume(BlockOutcome)
    /// The medium has said what is stored.
    case resumeLBAStatus(isMapped: Bool, count: UInt32)
    /// Its next command begins.
    case goOn
}

/// A request's facts for the loop. They never change.
struct RequestFacts {
    /// The first byte of the drive that data are read from, or written to.
    let offsetBytes: UInt64
    /// How many bytes it is for.
    let lengthBytes: UInt64
    let bufferNeeds: BufferNeeds
    /// It changes what is on the medium.
    let writes: Bool
    /// Its data are stable before it ends.
    let forcesUnitAccess: Bool
    /// It fails rather than store zeroes no faster than they can be written.
    let hasToBeFast: Bool
    /// The first answer is enough of a BLOCK_STATUS.
    let asksForOneExtent: Bool

    /// Of a READ: the first byte of the drive that goes into the buffer.
    var firstNeededByte: UInt64 { offsetBytes - UInt64(bufferNeeds.dataOffset) }

    /// Which machine serves it.
    let machine: Machine

    enum Machine {
        case request
        case command
    }

    @inline(__always)  // where it is to be
    init(_ request: borrowing ServedRequest) {
        machine = .request
        offsetBytes = request.offsetBytes
        lengthBytes = request.lengthBytes
        bufferNeeds = request.bufferNeeds
        writes = request.writes
        forcesUnitAccess = request.forcesUnitAccess
        hasToBeFast = request.hasToBeFast
        asksForOneExtent = request.asksForOneExtent
    }

    init(_ command: borrowing ServedCommand) {
        machine = .command
        offsetBytes = command.offsetBytes
        lengthBytes = command.lengthBytes
        bufferNeeds = command.bufferNeeds
        writes = command.writes
        forcesUnitAccess = command.forcesUnitAccess
        hasToBeFast = command.hasToBeFast
        asksForOneExtent = command.asksForOneExtent
    }
}

/// The machines of all requests, by their places.
struct ServedTables: ~Copyable {
    var requests: SlotTable<RequestPlace, ServedRequest>
    var commands: SlotTable<RequestPlace, ServedCommand>

    init(capacity: Int) throws(RingError) {
        let requests = try SlotTable<RequestPlace, ServedRequest>(capacity: capacity)
        commands = try SlotTable(capacity: capacity)
        self.requests = requests
    }

    /// A step of a client's request on its way through the drive.
    mutating func advance(
        request place: RequestPlace, _ event: ServingEvent, on drive: inout ExportedDrive,
        buffer: inout MutableRawSpan
    ) -> UnitStep {
        switch event {
        case .begin: requests[place].begin(on: &drive, buffer: &buffer)
        case .resume(let outcome): requests[place].resume(outcome, on: &drive, buffer: &buffer)
        case .resumeLBAStatus(let isMapped, let count):
            requests[place].resumeLBAStatus(isMapped: isMapped, count: count, on: &drive, buffer: &buffer)
        case .goOn: requests[place].goOn(on: &drive, buffer: &buffer)
        }
    }

    /// A step of an initiator's command on its way through the unit.
    mutating func advance(
        command place: RequestPlace, _ event: ServingEvent, on drive: inout ExportedDrive,
        by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        switch event {
        case .begin: commands[place].begin(on: &drive, by: &server, buffer: &buffer)
        case .resume(let outcome): commands[place].resume(outcome, on: &drive, by: &server, buffer: &buffer)
        case .resumeLBAStatus(let isMapped, let count):
            commands[place].resumeLBAStatus(
                isMapped: isMapped, count: count, on: &drive, by: &server, buffer: &buffer)
        case .goOn: commands[place].goOn(on: &drive, by: &server, buffer: &buffer)
        }
    }

    /// Nobody waits for the rest of a request.
    mutating func giveUp(_ place: RequestPlace, _ machine: RequestFacts.Machine) -> UnitStep {
        switch machine {
        case .request: requests[place].giveUp()
        case .command: commands[place].giveUp()
        }
    }

    /// What a request has changed could not be kept: it has failed.
    mutating func failKeeping(_ place: RequestPlace, _ machine: RequestFacts.Machine) {
        switch machine {
        case .request: requests[place].failKeeping()
        case .command: commands[place].failKeeping()
        }
    }

    /// The same request once more, which has not begun.
    mutating func renew(_ place: RequestPlace, _ machine: RequestFacts.Machine) {
        switch machine {
        case .request: requests[place].renew()
        case .command: commands[place].renew()
        }
    }

    /// No other write to the drive may be under way during the next command of a request that writes.
    func needsToBeAlone(_ place: RequestPlace, _ machine: RequestFacts.Machine, granularityBytes: UInt64) -> Bool {
        switch machine {
        case .request: requests[place].needsToBeAlone(granularityBytes: granularityBytes)
        case .command: commands[place].needsToBeAlone(granularityBytes: granularityBytes)
        }
    }

    /// A request is over.
    mutating func remove(at place: RequestPlace, _ machine: RequestFacts.Machine) {
        switch machine {
        case .request: requests.remove(at: place)
        case .command: commands.remove(at: place)
        }
    }

    /// Gives the memory of free places back to the system.
    mutating func trim(_ first: RequestPlace, count: Int) {
        requests.trim(first, count: count)
        commands.trim(first, count: count)
    }
}
