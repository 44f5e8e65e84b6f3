// The faults of a whole disk: what an operator does to break it, and to make it whole again.

import ATA
import IOUring
import Logging
import Loop
import Units

extension ServerControl {
    /// The faults of a drive, and what they have done.
    public func faults(of name: String) throws(ServerError) -> [FaultStatus] {
        let entry = try brokenEntry(name)
        return try operate(entry) { () throws(ServerError) in
            try order(.tell, entry)
            return entry.drive.drive.faults
        }
    }

    /// Breaks a drive. Its clients stay.
    ///
    /// - Returns: all its faults.
    public func plant(_ rule: FaultRule, in name: String) throws(ServerError) -> [FaultStatus] {
        let entry = try brokenEntry(name)
        return try operate(entry) { () throws(ServerError) in
            try order(.tell, entry)
            // One operator at a time: what this copy can have, the drive can.
            var drive = entry.drive.drive
            do throws(FaultRuleError) {
                try drive.plant(rule, isRunning: true)
            } catch {
                throw .fault(name, error)
            }
            try order(.plant(rule), entry)
            loops.logger.notice("fault planted", metadata: ["export": "\(name)", "fault": "\(rule)"])
            return entry.drive.drive.faults
        }
    }

    /// Takes a fault from a drive, or all.
    ///
    /// - Returns: those that it has still.
    public func liftFault(_ number: Int?, of name: String) throws(ServerError) -> [FaultStatus] {
        let entry = try brokenEntry(name)
        return try operate(entry) { () throws(ServerError) in
            try order(.tell, entry)
            if let number, !entry.drive.drive.faults.contains(where: { $0.number == number }) {
                throw .noSuchFault(name, number)
            }
            try order(.lift(number), entry)
            let which = number.map { "\($0)" } ?? "all"
            loops.logger.notice("fault cleared", metadata: ["export": "\(name)", "number": "\(which)"])
            return entry.drive.drive.faults
        }
    }

    private func brokenEntry(_ name: String) throws(ServerError) -> ExportEntry {
        let entry = try drive(named: name)
        let kind = entry.drive.drive.kind
        guard kind.isWholeDisk else { throw .noFaults(name, kind) }
        return entry
    }

    private func order(_ order: FaultOrder, _ entry: ExportEntry) throws(ServerError) {
        _ = try ask { () throws(RingError) in try loops.change(entry, .faults(order)) }
    }
}
