// The power of a drive with a volatile write cache: what an operator does to it.

import Blocks
import Glibc
import IOUring
import Logging
import Loop

/// A power cut, and what is known of it.
public struct PowerCutOutcome: Equatable, Sendable {
    /// What the drive has kept and lost.
    public var report: PowerCutReport
    /// The connections that had it open.
    public var connections: [ConnectionStatus]
    /// It has power again.
    public var isOn: Bool
}

extension ServerControl {
    /// How long requests that are under way may take to end, in seconds.
    private static var patienceSeconds: Int { 30 }

    /// Cuts the power of a drive: its clients are cut off, what no flush had asked for is lost or kept as the cut says,
    /// and what is kept goes to the image.
    ///
    /// - Parameter staysOff: nobody may open the export until ``restorePower(of:)``.
    public func cutPower(
        of name: String, _ cut: PowerCut, staysOff: Bool
    ) throws(ServerError) -> PowerCutOutcome {
        let entry = try cachedEntry(name)
        return try operate(entry) { () throws(ServerError) in
            guard entry.isOn else { throw .noPower(name) }
            let connections = try self.connections().filter { $0.export == name }
            entry.switchPower(isOn: false)
            loops.cutOff(entry)
            guard Self.isUnused(entry) else {
                entry.switchPower(isOn: true)
                throw .stillCutting(name)
            }
            let (report, code) = entry.cutPower(cut)
            guard let report, code == 0 else { throw .cutNotStored(name, reason: errorText(code)) }
            if !staysOff { entry.switchPower(isOn: true) }
            loops.logger.notice(
                "power cut",
                metadata: [
                    "export": "\(name)", "keep": "\(cut.keeping.rawValue)", "seed": .stringConvertible(cut.seed),
                    "lost": .stringConvertible(report.writes.count { $0.fate == .lost }),
                    "torn": .stringConvertible(report.writes.count { $0.fate == .torn }),
                ])
            return PowerCutOutcome(report: report, connections: connections, isOn: !staysOff)
        }
    }

    /// Gives a drive its power back.
    public func restorePower(of name: String) throws(ServerError) -> ExportStatus {
        let entry = try cachedEntry(name)
        return try operate(entry) { () throws(ServerError) in
            guard !entry.isOn else { throw .hasPower(name) }
            entry.switchPower(isOn: true)
            loops.logger.notice("power restored", metadata: ["export": "\(name)"])
            return status(of: entry)
        }
    }

    private func cachedEntry(_ name: String) throws(ServerError) -> ExportEntry {
        let entry = try shared.exports.entry(named: name)
        guard entry.hasWriteCache else { throw .noWriteCache(name) }
        return entry
    }

    /// Waits until nobody has an export open that nobody can open anew.
    private static func isUnused(_ entry: ExportEntry) -> Bool {
        for _ in 0..<Self.patienceSeconds * 1000 where entry.connectionCount > 0 { usleep(1000) }
        return entry.connectionCount == 0
    }
}
