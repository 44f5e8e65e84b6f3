// A fault in a drive: what has become of its rule so far.

import Blocks

/// A rule that a drive has, and its state.
struct PlantedFault: Sendable {
    /// What an operator calls it.
    let number: UInt8
    let rule: FaultRule
    /// When the drive got it; nil: before its power came.
    var beganAt: UInt64?
    /// Of sectors that cannot be read: those that were not written since.
    private var places: SectorSet
    /// Of these, the ones that the drive has found.
    private(set) var found = SectorSet()
    /// How many commands it could have happened to.
    private(set) var metCount: UInt64 = 0
    /// How often it has happened.
    private var struckCount: UInt64 = 0
    /// How many commands have ended with it: also those that came to a sector that had been found before.
    var failureCount: UInt64 = 0
    private var dice: Dice

    init(_ rule: FaultRule, number: UInt8, beganAt: UInt64?) {
        self.rule = rule
        self.number = number
        self.beganAt = beganAt
        places = SectorSet()
        _ = places.insert(rule.sectors ?? FaultRule.everywhere)
        dice = Dice(state: rule.seed)
    }

    /// Its time is over.
    func isOver(at now: UInt64) -> Bool {
        guard let seconds = rule.seconds, let beganAt, now > beganAt else { return false }
        return now - beganAt >= seconds * 1_000_000_000
    }

    /// A write makes a sector good, for as long as nothing else makes it bad.
    private var isDefect: Bool { rule.kind == .unreadable && !rule.isOccasional }

    /// A command comes that it could happen to.
    ///
    /// - Parameter range: the command's sectors; nil: it has none.
    /// - Returns: the sector that it happens to, 0 if there is none; nil: it does not.
    mutating func meet(_ group: FaultRule.Commands, _ range: Range<UInt64>?) -> UInt64? {
        guard rule.commands.contains(group), let touched = touched(range) else { return nil }
        metCount &+= 1
        guard metCount > rule.after, struckCount < rule.count ?? .max else { return nil }
        guard (metCount - rule.after) % rule.every == 0 else { return nil }
        // 53 bits: all of a Double.
        if let probability = rule.probability, Double(dice.next() >> 11) * 0x1p-53 >= probability { return nil }
        struckCount &+= 1
        guard let range else { return 0 }
        guard rule.kind.isOfSector else { return range.lowerBound }
        let sector = rule.isOccasional ? touched.lowerBound + dice.next() % UInt64(touched.count) : touched.lowerBound
        if rule.kind == .unreadable { _ = found.insert(sector..<sector + 1) }
        return sector
    }

    /// The part of a command's sectors that it could happen to.
    private func touched(_ range: Range<UInt64>?) -> Range<UInt64>? {
        guard let range else { return rule.sectors == nil ? 0..<1 : nil }
        let within = range.clamped(to: rule.sectors ?? FaultRule.everywhere)
        guard !within.isEmpty else { return nil }
        guard isDefect else { return within }
        return places.first(in: within).map { $0..<within.upperBound }
    }

    /// The first sector that cannot be read for certain; a rule that has not begun knows of none.
    func firstDefect(in range: Range<UInt64>) -> UInt64? {
        let known = found.first(in: range)
        guard isDefect, metCount >= rule.after, struckCount < rule.count ?? .max,
            let place = places.first(in: range)
        else { return known }
        return min(place, known ?? place)
    }

    /// The drive itself has come upon a sector.
    ///
    /// - Returns: false if this fault is not there.
    mutating func find(_ sector: UInt64) -> Bool {
        guard firstDefect(in: sector..<sector + 1) != nil else { return false }
        return found.insert(sector..<sector + 1)
    }

    /// Sectors were written.
    ///
    /// - Returns: how many of them the drive had found unreadable.
    mutating func overwrite(_ range: Range<UInt64>) -> UInt64 {
        guard rule.kind == .unreadable else { return 0 }
        if isDefect { places.remove(range) }
        guard found.first(in: range) != nil else { return 0 }
        let before = found.count
        found.remove(range)
        return before - found.count
    }
}
