// The command of `spindle ctl` that is about faults.

import ATA
import ArgumentParser
import Control

extension Ctl {
    struct Fault: ControlCommand {
        static let configuration = CommandConfiguration(
            abstract: "Break a drive of spindle-hd or spindle-ssd, or make it whole again.",
            discussion: """
                'add' plants a fault: a kind (\(FaultRule.Kind.allCases.map(\.rawValue).joined(separator: ", "))), and where \
                and when in words such as lba=81920..81927, command=read,write, every=100, probability=0.01, seed=7, after=5, \
                count=1 and for=60. 'list' shows what is planted, and what it has done. 'clear' takes away one, by its number, \
                or all: the data are what they were.
                """)
        /// What to do.
        enum Action: String, CaseIterable, ExpressibleByArgument {
            case add, list, clear
        }

        @ParentCommand var ctl: Ctl
        @OptionGroup var options: ControlClientOptions
        @Argument(help: "add, list or clear.") var action: Action
        @Argument(help: "The export's name.") var name: String
        @Argument(
            help: ArgumentHelp("With 'add' the fault, with 'clear' a number.", valueName: "rule"),
            completion: .list(FaultRule.Kind.allCases.map(\.rawValue)))
        var words: [String] = []

        func validate() throws {
            switch action {
            case .add:
                do throws(FaultRuleError) {
                    _ = try FaultRule(parsing: rule)
                } catch {
                    throw ValidationError("\(error)")
                }
            case .list:
                guard words.isEmpty else { throw ValidationError("'list' needs no more than the export's name") }
            case .clear:
                guard words.count < 2 else {
                    throw ValidationError("'clear' is for one number, or for all without one")
                }
            }
        }

        private var rule: String { words.joined(separator: " ") }

        func run() throws {
            let path = ["v1", "exports", name, "faults"]
            let answer =
                switch action {
                case .add: try client().send("POST", path, body: ControlRequest.fault(rule))
                case .list: try client().send("GET", path)
                case .clear:
                    try client().send(
                        "DELETE", path, query: words.first.map { "number=" + ControlClient.percentEncoded($0) })
                }
            try show(answer, ControlTables.faults)
        }
    }
}
