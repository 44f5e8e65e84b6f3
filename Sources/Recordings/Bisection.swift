// The first cut whose outcome fails a check, and the smallest loss that still fails it.

import Blocks
import Glibc

/// What was found.
public struct Finding: Sendable {
    /// The cut, with what it loses.
    public let cut: RecordedCut
    /// Its losses: everything else is kept.
    public let lost: [LostPart]
}

/// A search for failures in the outcomes of a recording's cuts.
public struct Bisection {
    private let recording: Recording
    private let base: OverlayBase
    private let check: OverlayCheck
    private let folder: String
    /// How often the check ran.
    public private(set) var checkCount = 0
    /// Disks that have passed.
    private var passed: Set<Int> = []

    /// A search.
    ///
    /// - Parameter folder: where overlays are made, one after the other.
    public init(_ recording: Recording, _ base: OverlayBase, _ check: OverlayCheck, in folder: String) {
        self.recording = recording
        self.base = base
        self.check = check
        self.folder = folder
    }

    /// Tries outcomes of cuts at these points, in their order. The first that fails is made smaller: to the first point
    /// at which the same loss fails, and to sectors of which each is needed.
    public mutating func find(
        at points: [Int], _ keeping: PowerCutKeeping, limit: Int, seed: UInt64
    ) throws(RecordingsError) -> Finding? {
        for point in points {
            for choice in recording.history.choices(at: point, keeping, limit: limit, seed: seed).choices {
                let cut = recording.history.cut(choice.cut, at: point, losing: choice.lost)
                guard try !isPassed(cut) else { continue }
                return try smallest(cut)
            }
        }
        return nil
    }

    private mutating func smallest(_ cut: RecordedCut) throws(RecordingsError) -> Finding {
        let first = try firstPoint(of: cut)
        // Damaged sectors are no loss of a write; what fails without them is shown without them.
        let whole = finding(first.point, first.report.lost)
        guard try fails(whole) else { return Finding(cut: first, lost: first.report.lost) }
        guard try !fails(finding(first.point, [])) else { return finding(first.point, []) }
        var lost = try Blocks.smallest(of: whole.lost) { parts throws(RecordingsError) in
            try fails(finding(first.point, parts))
        }
        lost = try Blocks.smallest(of: lost.flatMap(recording.history.pieces)) { parts throws(RecordingsError) in
            try fails(finding(first.point, parts))
        }
        return finding(first.point, lost.joined)
    }

    /// The same loss at an earlier point, at which fewer writes are there.
    private mutating func firstPoint(of cut: RecordedCut) throws(RecordingsError) -> RecordedCut {
        let lost = cut.report.lost
        for point in cut.stableCount..<cut.point {
            let earlier = finding(point, lost).cut
            if earlier.stableCount == cut.stableCount, try !isPassed(earlier) { return earlier }
        }
        return cut
    }

    private func finding(_ point: Int, _ lost: [LostPart]) -> Finding {
        let cut = recording.history.cut(PowerCut(keeping: .all, seed: 0), at: point, losing: lost)
        return Finding(cut: cut, lost: lost.filter { $0.write <= UInt64(point) })
    }

    private mutating func fails(_ finding: Finding) throws(RecordingsError) -> Bool { try !isPassed(finding.cut) }

    private mutating func isPassed(_ cut: RecordedCut) throws(RecordingsError) -> Bool {
        var hasher = Hasher()
        for extent in recording.history.disk(after: cut) {
            hasher.combine(extent)
            if extent.source == .noise { hasher.combine(cut.report.cut.seed) }
        }
        let disk = hasher.finalize()
        guard !passed.contains(disk) else { return true }
        let path = folder + "/cut-\(getpid())-\(checkCount).qcow2"
        checkCount += 1
        try recording.makeOverlay(path, after: cut, base)
        defer { _ = unsafe unlink(path) }
        let isPassed = try check.isPassed(path)
        if isPassed { passed.insert(disk) }
        return isPassed
    }
}
