// The picture of a drive after a power cut.

/// A drive as lines of characters, each of which stands for a sector, or for several. Lines without a sector that a
/// cut has kept, lost or damaged are left out.
struct CutPicture {
    /// What became of the writes that a character stands for.
    private enum Fate: Character, CaseIterable {
        /// There is none that was in doubt.
        case stable = "."
        case kept = "#"
        case lost = "-"
        /// One was kept and another lost.
        case mixed = "%"
        case damaged = "!"

        var name: String {
            switch self {
            case .stable: "stable"
            case .kept: "kept"
            case .lost: "lost"
            case .mixed: "kept and lost"
            case .damaged: "damaged"
            }
        }

        func joined(with other: Fate) -> Fate {
            if self == .damaged || other == .damaged { return .damaged }
            return self == other ? self : .mixed
        }
    }

    private static let columns: UInt64 = 64
    /// As many as a terminal shows.
    private static let lineLimit: UInt64 = 20

    /// The size of the drive.
    private let sectors: UInt64
    /// By first sector.
    private let parts: [(sectors: Range<UInt64>, fate: Fate)]

    /// A picture of a drive of so many sectors, with writes that were in doubt, and damaged sectors: the first and the
    /// last one of each run. Runs that make no sense are left out: a server has answered them, and may be anybody's.
    init(of sectors: UInt64, _ writes: [Answer.PowerCut.Write], damaged: [[UInt64]]) {
        self.sectors = sectors
        var parts: [(sectors: Range<UInt64>, fate: Fate)] = []
        for run in damaged where run.count == 2 && run[0] <= run[1] && run[1] < sectors {
            parts.append((run[0]..<run[1] + 1, .damaged))
        }
        for write in writes {
            let (end, isTooFar) = write.lba.addingReportingOverflow(write.sectors)
            guard !isTooFar, end <= sectors else { continue }
            var next = write.lba
            for run in write.kept where run.count == 2 && next <= run[0] && run[0] <= run[1] && run[1] < end {
                parts += [(next..<run[0], .lost), (run[0]..<run[1] + 1, .kept)]
                next = run[1] + 1
            }
            parts.append((next..<end, .lost))
        }
        self.parts = parts.filter { !$0.sectors.isEmpty }.sorted { $0.sectors.lowerBound < $1.sectors.lowerBound }
    }

    /// The lines, and what their characters mean.
    var text: String {
        guard !parts.isEmpty else { return "no sector was in doubt\n" }
        var scale: UInt64 = 1
        while lines(scale).reduce(0, { $0 + $1.count }) > Self.lineLimit { scale *= 2 }
        let fates = fates(scale)
        let numbers = lines(scale).map { Array($0) }.joined()
        let width = String((parts.map(\.sectors.upperBound).max() ?? 0)).count
        let end = (sectors - 1) / scale + 1
        var (text, next) = ("", numbers.first)
        for line in numbers {
            if line != next { text += String(repeating: " ", count: width) + " :\n" }
            next = line + 1
            let lba = String(line * Self.columns * scale)
            let places = line * Self.columns..<min((line + 1) * Self.columns, end)
            let characters = places.map { (fates[$0] ?? .stable).rawValue }
            text += String(repeating: " ", count: width - lba.count) + lba + " " + String(characters) + "\n"
        }
        let seen = Set(fates.values).union([.stable])
        let legend = Fate.allCases.filter(seen.contains).map { "\($0.rawValue) \($0.name)" }.joined(separator: "  ")
        return text + "\nEach character is \(ControlTables.sectors(scale)):  \(legend)\n"
    }

    /// The numbers of the lines that have a part, if a character stands for so many sectors.
    private func lines(_ scale: UInt64) -> [Range<UInt64>] {
        let perLine = Self.columns * scale
        return parts.reduce(into: []) { lines, part in
            let first = part.sectors.lowerBound / perLine
            let end = (part.sectors.upperBound - 1) / perLine + 1
            if let last = lines.last, first <= last.upperBound {
                lines[lines.count - 1] = last.lowerBound..<max(last.upperBound, end)
            } else {
                lines.append(first..<end)
            }
        }
    }

    /// The characters of these lines that are not stable.
    private func fates(_ scale: UInt64) -> [UInt64: Fate] {
        var fates: [UInt64: Fate] = [:]
        for part in parts {
            for place in part.sectors.lowerBound / scale...(part.sectors.upperBound - 1) / scale {
                fates[place] = fates[place]?.joined(with: part.fate) ?? part.fate
            }
        }
        return fates
    }
}
