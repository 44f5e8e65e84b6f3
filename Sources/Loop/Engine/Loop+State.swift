// The states of whole disks are kept in files: what a host may rely on before its command is answered, the rest each
// minute, when the last client has left, and at the end.

import Backends
import Glibc
import IOUring
import Logging
import Units

/// Requests of a drive that wait for its file. One write is under way at a time.
struct StateKeeping {
    let file: StateFile?
    /// So many lasting changes are in the file; without a file no request waits.
    var settledChanges: UInt64
    /// The write that is under way.
    var writing: (number: UInt64, changes: UInt64)?
    /// These are answered when it is written.
    var written = RequestList()
    /// The next write is for these.
    var waiting = RequestList()
    /// The last write has failed, and the log says so.
    var hasFailed = false

    init(_ file: StateFile?) {
        self.file = file
        settledChanges = file?.settledChanges ?? .max
    }
}

extension Loop {
    /// Once a minute each drive's counters are kept, not those of all drives at once.
    static var secondsBetweenStates: Int { 60 }

    /// Keeps what a request has changed of its drive for good, if it may have.
    ///
    /// - Returns: whether the request waits for that.
    mutating func keepState(for place: RequestPlace) -> Bool {
        let unit = requests[place].unit
        // A read changes nothing that lasts, and what others change is not its affair.
        guard exports[unit].served.drive.lastingChanges > exports[unit].stateKeeping.settledChanges,
            requests[place].measure.kind != .read
        else { return false }
        exports[unit].stateKeeping.waiting.append(place, &requests)
        if exports[unit].stateKeeping.writing == nil { writeState(unit) }
        return true
    }

    /// Has the state of a drive written for all requests that wait for it.
    private mutating func writeState(_ unit: ExportNumber) {
        guard let file = exports[unit].stateKeeping.file else { preconditionFailure("who waits for what?") }
        let state = exports[unit].served.state
        exports[unit].stateKeeping.written = exports[unit].stateKeeping.waiting
        exports[unit].stateKeeping.waiting = RequestList()
        exports[unit].stateKeeping.writing = (write(state, file, exports[unit].entry), state.changes)
    }

    /// - Returns: the number of the write.
    private func write(_ state: DriveState, _ file: StateFile, _ entry: ExportEntry) -> UInt64 {
        let number = file.nextNumber()
        let mailbox = shared.mailboxes[index]
        file.beginWrite()
        shared.keep({ file.write(state.bytes, number: number, changes: state.changes) }) {
            file.endWrite()
            mailbox.post(.stateKept(entry, number, $0))
        }
        return number
    }

    /// The file of a drive has what was to be written, or not.
    mutating func stateKept(_ entry: ExportEntry, _ number: UInt64, _ code: Int32) {
        let unit = entry.number
        guard exports.contains(unit), exports[unit].entry === entry,
            let writing = exports[unit].stateKeeping.writing, writing.number == number
        else {
            // Nobody waits for it.
            if code != 0 { entry.noteUnkeptState(code, logger) }
            return
        }
        exports[unit].stateKeeping.writing = nil
        // What is not in the file yet fails the next request that would have to rely on it, too.
        if code == 0 { exports[unit].stateKeeping.settledChanges = writing.changes }
        if code != 0, !exports[unit].stateKeeping.hasFailed { entry.noteUnkeptState(code, logger) }
        exports[unit].stateKeeping.hasFailed = code != 0
        var done = exports[unit].stateKeeping.written
        exports[unit].stateKeeping.written = RequestList()
        if !exports[unit].stateKeeping.waiting.isEmpty { writeState(unit) }
        while let place = done.popFirst(&requests) {
            if code != 0 { served.failKeeping(place, requests[place].facts.machine) }
            endService(place)
            finishIfIdle(place.slot)
        }
    }

    /// Once a second: drives whose turn it is have their counters kept, served or not.
    mutating func keepStates() {
        for entry in shared.exports.directory.entries
        where entry.homeLoop == index && entry.definition.state != nil
            && (entry.number.number + now).isMultiple(of: Self.secondsBetweenStates)
        {
            guard isOpen(entry), !exports[entry.number].isHandedBack else {
                keepState(of: entry)
                continue
            }
            if exports[entry.number].stateKeeping.writing == nil {
                exports[entry.number].served.drive.noteTime(clock.turnStart)
                writeState(entry.number)
            }
        }
    }

    /// The state of a drive that no connection has open on its home loop is kept; later, if a write is under way:
    /// clients that come and go would have as many threads hang with it.
    func keepState(of entry: ExportEntry) {
        guard entry.homeLoop == index, let file = entry.definition.state, !file.isBusy else { return }
        _ = write(entry.driveState, file, entry)
    }
}

extension ExportEntry {
    /// The state of a whole disk that no loop has.
    var driveState: DriveState {
        var drive = drive
        if absence == nil { drive.drive.noteTime(MonotonicClock().now()) }
        return drive.state
    }

    /// At the end the file has everything.
    func keepLastState(_ logger: Logger) {
        guard let file = definition.state else { return }
        let state = driveState
        let code = file.write(state.bytes, number: file.nextNumber(), changes: state.changes)
        if code != 0 { noteUnkeptState(code, logger) }
    }

    func noteUnkeptState(_ code: Int32, _ logger: Logger) {
        logger.error(
            "the state of the drive cannot be kept: commands that rely on it fail until it is",
            metadata: [
                "export": "\(name)", "file": "\(definition.state?.path ?? "")", "reason": "\(errorText(code))",
            ])
    }
}
