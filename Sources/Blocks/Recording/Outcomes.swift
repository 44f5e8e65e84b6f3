// All outcomes of a power cut, where they are few; some, where they are many.

/// One of the outcomes of a cut.
public struct CutChoice: Equatable, Sendable {
    /// What is kept.
    public var cut: PowerCut
    /// What is lost all the same.
    public var lost: [LostPart]

    /// An outcome.
    public init(_ cut: PowerCut, losing lost: [LostPart] = []) {
        self.cut = cut
        self.lost = lost
    }
}

extension RecordedHistory {
    /// The outcomes of a cut that keep data in some way.
    ///
    /// Where there are no more than `limit`, these are all; damage to the neighbours of torn physical sectors is not
    /// among them. Else nothing is lost in the first, everything in the second, and seeds choose the others.
    ///
    /// - Returns: the outcomes, and how many there are in all; nil: 2^64 or more.
    public func choices(
        at point: Int, _ keeping: PowerCutKeeping, limit: Int, seed: UInt64
    ) -> (choices: [CutChoice], count: UInt64?) {
        let all = cut(PowerCut(keeping: .all, seed: seed), at: point)
        let units = units(of: all.report.writes, keeping)
        switch keeping {
        case .none, .all: return ([CutChoice(PowerCut(keeping: keeping, seed: seed))], 1)
        case .prefix where units.count < limit:
            let choices = (0...units.count).map { number in
                CutChoice(PowerCut(keeping: .all, seed: seed), losing: Array(units[number...]))
            }
            return (choices.reversed(), UInt64(choices.count))
        case .subset where units.count < 62 && 1 << units.count <= limit,
            .torn where units.count < 62 && 1 << units.count <= limit:
            let choices = (0..<1 << units.count).map { mask in
                CutChoice(
                    PowerCut(keeping: .all, seed: seed),
                    losing: units.indices.filter { mask >> $0 & 1 == 1 }.map { units[$0] })
            }
            return (choices, UInt64(choices.count))
        case .prefix, .subset, .torn:
            let certain = [PowerCutKeeping.all, .none].map { CutChoice(PowerCut(keeping: $0, seed: seed)) }
            let chosen = (0..<max(limit - 2, 0)).map { number in
                CutChoice(PowerCut(keeping: keeping, seed: seed &+ UInt64(number)))
            }
            let count = keeping == .prefix ? UInt64(units.count) + 1 : units.count < 64 ? 1 << units.count : nil
            return (Array((certain + chosen).prefix(limit)), count)
        }
    }

    /// What is lost or not as a whole.
    private func units(of writes: [CutWrite], _ keeping: PowerCutKeeping) -> [LostPart] {
        writes.flatMap { write in
            guard keeping == .torn, write.operation == .write else { return [LostPart(write.sequence, write.sectors)] }
            return write.sectors.map { LostPart(write: write.sequence, sectors: $0...$0) }
        }
    }
}

/// A smallest part of some elements with which something still fails: none of them can be left out (Zeller and
/// Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002, the algorithm ddmin). With all it fails.
public func smallest<Element, Failure: Error>(
    of elements: [Element], failing fails: ([Element]) throws(Failure) -> Bool
) throws(Failure) -> [Element] {
    var left = elements
    var pieces = 2
    while left.count > 1 {
        var isSmaller = false
        let cuts = (0...pieces).map { left.count * $0 / pieces }
        let chunks = (0..<pieces).map { cuts[$0]..<cuts[$0 + 1] }
        for chunk in chunks {
            guard try fails(Array(left[chunk])) else { continue }
            (left, pieces, isSmaller) = (Array(left[chunk]), 2, true)
            break
        }
        if !isSmaller, pieces > 2 {
            for chunk in chunks {
                let rest = Array(left[..<chunk.lowerBound] + left[chunk.upperBound...])
                guard try fails(rest) else { continue }
                (left, pieces, isSmaller) = (rest, max(pieces - 1, 2), true)
                break
            }
        }
        if isSmaller { continue }
        guard pieces < left.count else { return left }
        pieces = min(pieces * 2, left.count)
    }
    return left
}

extension PowerCutReport {
    /// All that is lost.
    public var lost: [LostPart] {
        writes.flatMap { write in
            write.kept.reduce([write.sectors]) { rest, kept in
                rest.flatMap { $0.without(kept.lowerBound...kept.upperBound - 1) }
            }.map { LostPart(write.sequence, $0) }
        }
    }
}

extension RecordedHistory {
    /// A loss in parts that can be lost alone: zeroes and trims are lost as a whole.
    public func pieces(of part: LostPart) -> [LostPart] {
        guard entries[Int(part.write) - 1].kind == .write else { return [part] }
        return part.sectors.map { LostPart(write: part.write, sectors: $0...$0) }
    }
}

extension [LostPart] {
    /// The same, in as few parts as possible; they are in order.
    public var joined: [LostPart] {
        reduce(into: []) { joined, part in
            let last = joined.last
            if let last, last.write == part.write, last.sectors.upperBound + 1 == part.sectors.lowerBound {
                joined[joined.count - 1].sectors = last.sectors.lowerBound...part.sectors.upperBound
            } else {
                joined.append(part)
            }
        }
    }
}
