// What an operator does to the faults of a drive, and what the log says of a command that one of them has failed.

import ATA
import SAT
import SCSI

/// An operator's order.
public enum FaultOrder: Sendable {
    /// The drive gets one more; it has been tried that it can have it.
    case plant(FaultRule)
    /// The drive loses the one of a number, or all.
    case lift(Int?)
    /// Nothing: what the drive knows of its faults is to be seen.
    case tell
}

extension ExportedDrive {
    /// Does what an operator wants of the drive's faults.
    ///
    /// - Parameter nanoseconds: the time by the clock of ``Drive/noteTime(_:)``.
    public mutating func carryOut(_ order: FaultOrder, at nanoseconds: UInt64) {
        if drive.kind.isWholeDisk { drive.noteTime(nanoseconds) }
        switch order {
        case .plant(let rule): try? drive.plant(rule, isRunning: true)
        case .lift(let number): _ = drive.liftFault(number)
        case .tell: break
        }
    }

    /// What a fault has done to a command, as names and values for the log; nil: nothing that was not told yet.
    public mutating func takeFailure() -> [(name: String, value: String)]? {
        guard let failure = drive.takeFailure() else { return nil }
        let sense = SenseData(failure.result, format: .descriptor)
        let code = sense.additionalSenseCode
        let words = [sense.senseKey.rawValue, code.code, code.qualifier].map { String($0, radix: 16) }
        return [
            ("fault", failure.rule ?? "one that was cleared"), ("failed", failure.commandName),
            ("cmd", failure.command), ("res", failure.registers), ("status", failure.status), ("error", failure.error),
            ("sense", words.joined(separator: "/")),
        ] + (failure.sector.map { [("lba", String($0))] } ?? [])
    }
}
