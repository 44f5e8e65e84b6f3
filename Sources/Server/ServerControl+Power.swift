// The power of a drive with a volatile write cache: what an operator does to it.

import Blocks
import Glibc
import IOUring
import Logging
import Loop
import Threads

/// The power of a drive.
public struct PowerStatus: Sendable {
    /// The drive has power.
    public var isOn: Bool
    /// The cut that is to come.
    public var armed: PowerOrder?
    /// The last cut, or why it could not be finished.
    public var lastCut: Result<PowerCutOutcome, CutFailure>?

    init(_ entry: ExportEntry) {
        isOn = entry.isOn
        armed = entry.armedCut?.order
        lastCut = entry.lastCut
    }
}

extension ServerControl {
    /// How long requests that are under way may take to end, in seconds.
    private static var patienceSeconds: Int { 30 }

    /// Cuts the power of a drive now: its clients are cut off or hang, all that no flush had asked for is lost or kept
    /// as the order says, and the kept data go to the image.
    public func cutPower(of name: String, _ order: PowerOrder) throws(ServerError) -> PowerCutOutcome {
        let entry = try cachedEntry(name)
        return try operate(entry) { () throws(ServerError) in
            try checkPower(entry, order)
            let connections = try self.connections().filter { $0.export == name }
            entry.switchOff()
            return try carryOut(order, entry, connections)
        }
    }

    /// Has the power of a drive cut at the moment that an order names. A thread waits for that, and does the rest.
    public func armPowerCut(of name: String, _ order: PowerOrder) throws(ServerError) -> PowerStatus {
        let entry = try cachedEntry(name)
        return try operate(entry) { () throws(ServerError) in
            try checkPower(entry, order)
            let armed: ArmedCut
            do throws(RingError) { armed = try ArmedCut(order) } catch { throw .ring(error) }
            guard startDetachedThread({ self.carryOut(armed, entry) }) else { throw .ring(.descriptor(errno: EAGAIN)) }
            entry.arm(armed)
            do throws(ServerError) {
                _ = try ask { () throws(RingError) in try loops.orderPower(of: entry, order.moment) }
            } catch {
                disarm(entry)
                throw error
            }
            loops.logger.notice("power cut armed", metadata: ["export": "\(name)"])
            return PowerStatus(entry)
        }
    }

    /// The power of a drive, and what its last cut has left.
    ///
    /// - Parameter seconds: so long it waits for a cut that is to come.
    public func power(of name: String, waitingFor seconds: Int) throws(ServerError) -> PowerStatus {
        let entry = try cachedEntry(name)
        let armed = entry.armedCut
        for _ in 0..<seconds * 100 where entry.armedCut != nil { usleep(10_000) }
        guard seconds == 0 || entry.armedCut == nil else { throw .momentNotCome(name, seconds: seconds) }
        if seconds > 0, let armed, !armed.hasCome { throw .cutTakenBack(name) }
        return PowerStatus(entry)
    }

    /// Gives a drive its power back, or leaves it to one whose cut is to come. Clients that hang are cut off.
    public func restorePower(of name: String) throws(ServerError) -> ExportStatus {
        let entry = try cachedEntry(name)
        return try operate(entry) { () throws(ServerError) in
            if entry.armedCut != nil {
                guard try ask({ () throws(RingError) in try loops.orderPower(of: entry, nil) }) else {
                    throw .cutUnderWay(name)
                }
                disarm(entry)
                loops.logger.notice("power cut taken back", metadata: ["export": "\(name)"])
                return status(of: entry)
            }
            guard !entry.isOn else { throw .hasPower(name) }
            loops.cutOff(entry)
            guard hasEnded(entry, { entry.connectionCount == 0 }) else { throw .stillCutting(name) }
            entry.switchOn()
            try shared.exports.refresh(entry)
            loops.logger.notice("power restored", metadata: ["export": "\(name)"])
            return status(of: entry)
        }
    }

    private func cachedEntry(_ name: String) throws(ServerError) -> ExportEntry {
        let entry = try drive(named: name)
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        guard entry.hasWriteCache else { throw .noWriteCache(name) }
        return entry
    }

    private func checkPower(_ entry: ExportEntry, _ order: PowerOrder) throws(ServerError) {
        guard entry.armedCut == nil else { throw .cutArmed(entry.name) }
        guard entry.isOn else { throw .noPower(entry.name) }
        let sectors = entry.drive.drive.sectors
        var named = order.cut.lost
        if case .atWrite(let range) = order.moment { named.append(range) }
        if let range = named.first(where: { $0.upperBound >= sectors }) {
            throw .beyondDrive(entry.name, range, sectors: sectors)
        }
    }

    private func disarm(_ entry: ExportEntry) {
        entry.armedCut?.takeBack()
        entry.disarm()
    }

    /// Waits for the moment of a cut.
    private func carryOut(_ armed: ArmedCut, _ entry: ExportEntry) {
        guard let connections = armed.wait() else { return }
        _ = entry.operate {
            do throws(ServerError) {
                _ = try carryOut(armed.order, entry, connections)
            } catch {
                loops.logger.error("power cut", metadata: ["export": "\(entry.name)", "reason": "\(error)"])
                entry.note(.failure(CutFailure("\(error)")))
            }
        }
    }

    /// Does what is left to do when nobody can open the export any more.
    private func carryOut(
        _ order: PowerOrder, _ entry: ExportEntry, _ connections: [ConnectionStatus]
    ) throws(ServerError) -> PowerCutOutcome {
        if order.hangs { loops.hang(entry) } else { loops.cutOff(entry) }
        // Sessions that hang keep the export open.
        let isStill = hasEnded(entry) { order.hangs ? entry.hasBlocks : entry.connectionCount == 0 }
        guard isStill else { throw .stillCutting(entry.name) }
        let (report, code) = entry.cutPower(order.cut)
        guard let report, code == 0 else { throw .cutNotStored(entry.name, reason: errorText(code)) }
        if !order.staysOff {
            entry.switchOn()
            try shared.exports.refresh(entry)
        }
        loops.logger.notice(
            "power cut",
            metadata: [
                "export": "\(entry.name)", "keep": "\(order.cut.keeping.rawValue)",
                "seed": .stringConvertible(order.cut.seed),
                "lost": .stringConvertible(report.writes.count { $0.fate == .lost }),
                "torn": .stringConvertible(report.writes.count { $0.fate == .torn }),
            ])
        let outcome = PowerCutOutcome(
            order, report, sectors: entry.drive.drive.sectors, connections: connections)
        entry.note(.success(outcome))
        return outcome
    }

    /// Waits until requests have ended, for so long as they may take. A server that stops does not wait for that.
    func hasEnded(_ entry: ExportEntry, _ condition: () -> Bool) -> Bool {
        for _ in 0..<Self.patienceSeconds * 1000 where !condition() && !loops.isStopping { usleep(1000) }
        return condition()
    }
}
