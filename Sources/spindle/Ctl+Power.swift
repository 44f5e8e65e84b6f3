// The command of `spindle ctl` that is about power.

import ArgumentParser
import Control

extension Ctl {
    struct Power: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cut the power of a drive with a volatile write cache, or give it back.",
            discussion: """
                A cut ends the drive's connections at once, and loses what no flush has asked for: all of it (--keep none, the                 default), nothing, those writes behind some write (prefix), some writes (subset) or some sectors (torn). The                 same seed and the same writes give the same outcome. 'off' leaves the drive without power until 'on'.
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
        @Argument(help: "The export's name.") var name: String
        @Argument(help: "off, on or cut.", completion: .list(PowerWish.Switch.allCases.map(\.rawValue))) var state:
            String

        func validate() throws {
            do {
                _ = try PowerWish(
                    state: state, keep: keep, seed: seed.map { String($0) },
                    lose: lose.isEmpty ? nil : lose.joined(separator: ","))
            } catch {
                throw ValidationError("\(error)")
            }
        }

        func run() throws {
            let body = ControlRequest.power(state, keep: keep, seed: seed, lose: lose)
            let answer = try client().send("POST", ["v1", "exports", name, "power"], body: body)
            try show(answer, state == "on" ? ControlTables.export : ControlTables.powerCut)
        }
    }
}
