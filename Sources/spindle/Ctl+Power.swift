// The command of `spindle ctl` that is about power.

import ArgumentParser
import Control

extension Ctl {
    struct Power: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cut the power of a drive with a volatile write cache, or give it back.",
            discussion: """
                A cut ends the drive's connections at once, and loses what no flush has asked for: all of it (--keep none, the \
                default), nothing, those writes behind some write (prefix), some writes (subset) or some sectors (torn). The \
                same seed and the same writes give the same outcome. 'off' leaves the drive without power until 'on'.

                With one of --after-writes, --at-write, --at-flush, --at-flush-end and --random the cut is armed: it comes \
                at that moment. 'report' shows the last cut, and 'on' takes back one that is to come.
                """)
        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Option(
            help: ArgumentHelp("What is kept: none, all, prefix, subset or torn.", valueName: "what"),
            completion: .list(PowerWish.waysToKeep))
        var keep: String?
        @Option(help: "What decides where there is a choice; a random number if not given.") var seed: UInt64?
        @Option(help: ArgumentHelp("Sectors that are lost in any case; may be repeated.", valueName: "first-last"))
        var lose: [String] = []
        @Option(help: ArgumentHelp("Cut when n more writes have been answered.", valueName: "n"))
        var afterWrites: String?
        @Option(help: ArgumentHelp("Cut at the next write that touches these sectors.", valueName: "first-last"))
        var atWrite: String?
        @Option(help: ArgumentHelp("Cut when the n-th flush comes, before it does anything.", valueName: "n"))
        var atFlush: String?
        @Option(help: ArgumentHelp("Cut when n flushes have been done, before the last is answered.", valueName: "n"))
        var atFlushEnd: String?
        @Option(help: ArgumentHelp("Cut after one of the next n writes; the seed says which.", valueName: "n"))
        var random: String?
        @Option(
            help: ArgumentHelp("With 'off', what becomes of connections: drop or hang.", valueName: "what"),
            completion: .list(PowerWish.waysOfSessions))
        var sessions: String?
        @Option(help: ArgumentHelp("With 'report', how long to wait for a cut that is to come.", valueName: "seconds"))
        var wait: Int?
        @Flag(help: "Print a picture of the drive instead of a list of writes.") var picture = false
        @Argument(help: "The export's name.") var name: String
        @Argument(
            help: "off, on, cut or report.",
            completion: .list(PowerWish.Switch.allCases.map(\.rawValue) + [Self.report]))
        var state: String

        private static let report = "report"

        private var texts: PowerTexts {
            var texts = PowerTexts(state: state)
            (texts.keep, texts.seed) = (keep, seed.map { String($0) })
            texts.lose = lose.isEmpty ? nil : lose.joined(separator: ",")
            (texts.afterWrites, texts.atWrite, texts.random) = (afterWrites, atWrite, random)
            (texts.atFlush, texts.atFlushEnd) = (atFlush, atFlushEnd)
            texts.sessions = sessions
            return texts
        }

        func validate() throws {
            guard state != Self.report else {
                guard texts == PowerTexts(state: state) else {
                    throw ValidationError("with 'report' nothing is cut: its options are --wait and --picture")
                }
                return
            }
            let states = PowerWish.Switch.allCases.map(\.rawValue)
            guard states.contains(state) else {
                throw ValidationError(
                    "'\(state)' is no state of the power: it is \(states.joined(separator: ", ")) or \(Self.report)")
            }
            guard wait == nil else { throw ValidationError("--wait is for 'report'") }
            do {
                _ = try PowerWish(texts)
            } catch {
                throw ValidationError("\(error)")
            }
        }

        func run() throws {
            guard !picture || !options.json && !ctl.options.json else {
                throw ValidationError("--picture is for people, and --json for programs")
            }
            let path = ["v1", "exports", name, "power"]
            guard state != Self.report else {
                let answer = try client().send("GET", path, query: wait.map { "wait=\($0)" })
                return try show(answer) { try ControlTables.power($0, picture: picture) }
            }
            let answer = try client().send("POST", path, body: ControlRequest.power(texts))
            let wish = try PowerWish(texts)
            try show(answer) { json in
                if wish.state == .on { return try ControlTables.export(json) }
                let table = wish.isArmed ? ControlTables.power : ControlTables.powerCut
                return try table(json, picture)
            }
        }
    }
}
