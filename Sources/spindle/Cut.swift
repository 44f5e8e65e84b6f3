// `spindle cut`: power cuts of a recorded drive, as overlays.

import ArgumentParser
import Blocks
import Control
import Glibc
import Recordings
import Settings

/// The subcommand.
struct Cut: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cut the power of a recorded drive, at any command, and keep what it may have kept.",
        subcommands: [Make.self, List.self, Bisect.self, Export.self], defaultSubcommand: Make.self)

    /// Moments for many cuts.
    enum Moment: String, CaseIterable, ExpressibleByArgument {
        /// Behind each write, zero and trim.
        case write
        /// When a flush has done nothing yet, and at the end.
        case flush

        /// So many commands have ended then.
        func points(of history: RecordedHistory, from first: Int) -> [Int] {
            let points = history.entries.compactMap { entry -> Int? in
                switch (self, entry.kind) {
                case (.write, .flush): nil
                case (.write, _): Int(entry.number)
                case (.flush, .flush): Int(entry.number) - 1
                case (.flush, _): nil
                }
            }
            let last = self == .flush && points.last != history.entries.count ? [history.entries.count] : []
            return (points + last).filter { $0 >= first }
        }
    }

    /// What cuts have in common.
    struct Options: ParsableArguments {
        @Option(
            help: ArgumentHelp("What is kept: none, all, prefix, subset or torn.", valueName: "what"),
            completion: .list(PowerCutKeeping.allCases.map(\.rawValue)))
        var keep: PowerCutKeeping?
        @Option(help: "What decides where there is a choice; a random number if not given.") var seed: UInt64?
        @Option(
            help: ArgumentHelp(
                "The image that the drive began with: a copy from before, if the recorded drive has written to its own.",
                valueName: "file"), completion: .file())
        var base: String?
        @Flag(help: "Print JSON instead of a table.") var json = false
        @Flag(help: "Print a picture of the drive instead of a list of writes.") var picture = false
        @Argument(help: "A recording.", completion: .file()) var recording: String

        func validate() throws {
            guard !picture || !json else { throw ValidationError("--picture is for people, and --json for programs") }
        }

        /// An account of a cut, in the form that is asked for.
        func print(_ report: RecordedCutReport) throws {
            try writeToStandardOutput(json ? report.json : Array((picture ? report.picture : report.text).utf8))
        }

        func open() throws -> (Recording, OverlayBase) {
            let recording = try Recording(path: recording)
            let isQcow2 = base.map { $0.lowercased().hasSuffix(".qcow2") } ?? false
            return (recording, try OverlayBase(of: recording, said: base, isQcow2: isQcow2))
        }

        /// The command that makes an overlay again.
        func command(_ cut: RecordedCut, losing lost: [LostPart], _ overlay: String) -> String {
            var words = ["spindle", "cut", recording, "--at", "\(cut.point)"]
            words += ["--keep", cut.report.cut.keeping.rawValue]
            switch cut.report.cut.keeping {
            case .none, .all: break
            case .prefix, .subset, .torn: words += ["--seed", "\(cut.report.cut.seed)"]
            }
            words += lost.flatMap { ["--lose", $0.text] }
            if let base { words += ["--base", base] }
            return (words + ["-o", overlay]).map(quotedForShell).joined(separator: " ")
        }
    }
}

extension PowerCutKeeping: ExpressibleByArgument {}

extension LostPart {
    /// `17:2048-2055`, as it is written.
    fileprivate var text: String {
        sectors.count == 1 ? "\(write):\(sectors.lowerBound)" : "\(write):\(sectors.lowerBound)-\(sectors.upperBound)"
    }
}

/// A value of `--lose`.
private struct Loss: ExpressibleByArgument {
    let write: UInt64
    /// Nil: all of them.
    let sectors: ClosedRange<UInt64>?

    init?(argument: String) {
        let words = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard let write = UInt64(words[0]), words.count <= 2 else { return nil }
        self.write = write
        guard words.count == 2 else {
            sectors = nil
            return
        }
        let ends = words[1].split(separator: "-", omittingEmptySubsequences: false).map { UInt64($0) }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last else {
            return nil
        }
        sectors = first...last
    }

    func part(in history: RecordedHistory) throws -> LostPart {
        guard write > 0, write <= history.entries.count, history.entries[Int(write) - 1].kind != .flush else {
            throw CutError("--lose \(write): the recording has no write of that number")
        }
        let own = history.entries[Int(write) - 1].sectors
        return LostPart(write: write, sectors: sectors ?? own.lowerBound...own.upperBound - 1)
    }
}

/// What is asked of a recording that it cannot give.
private struct CutError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

extension Cut {
    struct Make: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make overlays, qcow2 images that have the disk after a cut.",
            discussion: """
                A recording has the commands that a drive has executed, in the order of their ends ('spindle cut list'). With \
                --at N the first N of them had ended when the power went. What no flush had made stable is lost (--keep none, \
                the default), kept, or lost in part, as with 'spindle ctl power'. With --every or --enumerate, OVERLAY is a \
                folder.
                """)
        @OptionGroup var options: Options
        @Option(
            help: ArgumentHelp("Cut when the first n commands have ended; at the end, if not given.", valueName: "n"))
        var at: Int?
        @Option(
            help: ArgumentHelp("Cut after every write, or at every flush.", valueName: "moment"),
            completion: .list(Moment.allCases.map(\.rawValue)))
        var every: Moment?
        @Flag(help: "Make every outcome where there are no more than --limit; else as many, chosen evenly.")
        var enumerate = false
        @Option(
            help: ArgumentHelp("How many outcomes --enumerate makes.", valueName: "n"),
            transform: number(in: 1...1_000_000))
        var limit = 64
        @Option(
            help: ArgumentHelp(
                "A write, or sectors of it, that is lost in any case: 17, or 17:2048-2055; may be repeated.",
                valueName: "n"))
        fileprivate var lose: [Loss] = []
        @Option(name: .shortAndLong, help: ArgumentHelp("The file to make.", valueName: "overlay"), completion: .file())
        var output: String

        func validate() throws {
            guard every == nil || at == nil else { throw ValidationError("--at is one moment, and --every many") }
            guard every == nil || !enumerate else {
                throw ValidationError("--enumerate makes the outcomes of one moment: give --at, not --every")
            }
            guard !options.picture || every == nil && !enumerate else {
                throw ValidationError("--picture is of one cut, and --every and --enumerate make many")
            }
            guard lose.isEmpty || !enumerate else {
                throw ValidationError("--enumerate decides what is lost; leave --lose out")
            }
        }

        func run() throws {
            let (recording, base) = try options.open()
            let history = recording.history
            let point = at ?? history.entries.count
            guard (0...history.entries.count).contains(point) else {
                throw CutError("--at \(point): the recording has \(history.entries.count) commands")
            }
            let seed = options.seed ?? UInt64.random(in: 0...UInt64.max)
            let lost = try lose.map { try $0.part(in: history) }
            guard every != nil || enumerate else {
                let choice = CutChoice(PowerCut(keeping: options.keep ?? .none, seed: seed), losing: lost)
                let report = try make(choice, point, output, recording, base)
                return try options.print(report)
            }
            var outcomes: UInt64?
            var cuts: [(point: Int, choice: CutChoice)]
            if let every {
                let choice = CutChoice(PowerCut(keeping: options.keep ?? .none, seed: seed), losing: lost)
                cuts = every.points(of: history, from: 0).map { ($0, choice) }
            } else {
                let all = history.choices(at: point, options.keep ?? .subset, limit: limit, seed: seed)
                outcomes = all.count
                cuts = all.choices.map { (point, $0) }
            }
            try makeFolder(output)
            let digits = String(max(history.entries.count, cuts.count)).count
            let reports = try cuts.enumerated().map { number, cut in
                let name = every == nil ? number + 1 : cut.point
                let padded = String(repeating: "0", count: digits - String(name).count) + String(name)
                return try make(cut.choice, cut.point, output + "/" + padded + ".qcow2", recording, base)
            }
            let list = RecordedCutList(reports, of: options.recording, outcomes: outcomes)
            guard !options.json else { return try writeToStandardOutput(list.json) }
            var text = list.text
            if enumerate { text += "\n\(reports.count) of \(outcomes.map { "\($0)" } ?? "2^64 or more") outcomes\n" }
            try writeToStandardOutput(Array(text.utf8))
        }

        private func make(
            _ choice: CutChoice, _ point: Int, _ path: String, _ recording: Recording, _ base: OverlayBase
        ) throws -> RecordedCutReport {
            let cut = recording.history.cut(choice.cut, at: point, losing: choice.lost)
            try recording.makeOverlay(path, after: cut, base)
            return RecordedCutReport(
                cut, of: options.recording, sectors: recording.history.header.sectors, overlay: path,
                command: options.command(cut, losing: choice.lost, path))
        }

        private func makeFolder(_ path: String) throws {
            guard unsafe mkdir(path, 0o777) != 0, errno != EEXIST else { return }
            throw CutError("cannot make the folder '\(path)': \(unsafe String(cString: strerror(errno)))")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the commands of a recording.")
        @Flag(help: "Print JSON instead of a table.") var json = false
        @Argument(help: "A recording.", completion: .file()) var recording: String

        func run() throws {
            let recording = try Recording(path: recording)
            let list = RecordingList(recording.history, tornBytes: recording.tornBytes)
            try writeToStandardOutput(json ? list.json : Array(list.text.utf8))
            guard recording.tornBytes > 0 else { return }
            writeToStandardError(
                "warning: the last \(recording.tornBytes) bytes are no whole command: they are left out\n")
        }
    }

    struct Bisect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Find the first cut that a check does not survive, and the smallest loss that it does not.",
            discussion: """
                The check is a command of the shell. It gets the path of an overlay as $1, and ends with 0 if all is well \
                there; with another status up to 125 it fails. Cuts are tried in their order, at each up to --limit outcomes. \
                The exit status is 0 if none fails, and 2 if one does.
                """)
        @OptionGroup var options: Options
        @Option(help: ArgumentHelp("The check.", valueName: "command")) var check: String
        @Option(
            help: ArgumentHelp("Cut after every write, or at every flush.", valueName: "moment"),
            completion: .list(Moment.allCases.map(\.rawValue)))
        var every = Moment.flush
        @Option(
            help: ArgumentHelp("Begin with cuts behind the first n commands.", valueName: "n"),
            transform: number(in: 0...Int.max))
        var from = 0
        @Option(
            help: ArgumentHelp("How many outcomes are tried at each.", valueName: "n"),
            transform: number(in: 1...1_000_000))
        var limit = 16
        @Option(
            name: .shortAndLong, help: ArgumentHelp("Where the overlay that fails is to be.", valueName: "overlay"),
            completion: .file())
        var output: String

        func run() throws {
            let (recording, base) = try options.open()
            let points = every.points(of: recording.history, from: from)
            let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
            var bisection = Bisection(recording, base, OverlayCheck(check), in: folder)
            let seed = options.seed ?? UInt64.random(in: 0...UInt64.max)
            let found = try bisection.find(at: points, options.keep ?? .subset, limit: limit, seed: seed)
            writeToStandardError("the check ran \(bisection.checkCount) times\n")
            guard let found else {
                return writeToStandardError("no outcome of \(points.count) cuts fails\n")
            }
            try recording.makeOverlay(output, after: found.cut, base)
            let report = RecordedCutReport(
                found.cut, of: options.recording, sectors: recording.history.header.sectors, overlay: output,
                command: options.command(found.cut, losing: found.lost, output))
            try options.print(report)
            throw ExitCode(2)
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a recording as a log of the kernel's dm-log-writes, which xfstests' replay-log reads.")
        @Argument(help: "A recording.", completion: .file()) var recording: String
        @Option(name: .shortAndLong, help: ArgumentHelp("The file to make.", valueName: "log"), completion: .file())
        var output: String

        func run() throws {
            try Recording(path: recording).exportLogWrites(to: output)
        }
    }
}
