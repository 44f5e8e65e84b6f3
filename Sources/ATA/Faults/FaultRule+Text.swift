// Rules as people write them: a kind, and then what, where and when, in any order.

/// What is wrong with a rule, or with a rule for a drive.
public struct FaultRuleError: Error, Equatable, CustomStringConvertible {
    /// What it is, and what would be right.
    public let description: String

    init(_ description: String) { self.description = description }
}

extension FaultRule: CustomStringConvertible {
    private static let keys = ["lba", "command", "after", "every", "probability", "seed", "count", "for", "seconds"]
    /// More commands than a drive sees in its life.
    private static let countLimit: UInt64 = 1 << 48
    private static let secondLimit: UInt64 = 1_000_000_000

    /// Reads a rule: `unreadable lba=81920..81927`, `icrc every=100 command=write count=3`.
    public init(parsing text: String) throws(FaultRuleError) {
        let words = text.split(separator: " ").map(String.init)
        let kinds = Kind.allCases.map(\.rawValue)
        guard let first = words.first else {
            throw FaultRuleError("a fault begins with its kind, one of \(kinds.joined(separator: ", "))")
        }
        guard let kind = Kind(rawValue: first) else {
            throw FaultRuleError("'\(first)' is no kind of fault: it is one of \(kinds.joined(separator: ", "))")
        }
        self.init(kind)
        var taken: Set<String> = []
        for word in words.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, Self.keys.contains(parts[0]) else {
                throw FaultRuleError(
                    "'\(word)' says nothing about a fault: words behind the kind are KEY=VALUE, the keys "
                        + Self.keys.joined(separator: ", "))
            }
            guard taken.insert(parts[0]).inserted else { throw FaultRuleError("'\(parts[0])' is there more than once") }
            try take(parts[0], parts[1])
        }
        try check(taken)
    }

    private mutating func take(_ key: String, _ value: String) throws(FaultRuleError) {
        switch key {
        case "lba": sectors = try Self.sectors(value)
        case "command": commands = try Self.commands(value)
        case "after": after = try Self.number(key, value, 0...Self.countLimit)
        case "every": every = try Self.number(key, value, 1...Self.countLimit)
        case "seed": seed = try Self.number(key, value, 0...UInt64.max)
        case "count": count = try Self.number(key, value, 1...Self.countLimit)
        case "seconds": delayMilliseconds = try Self.milliseconds(value)
        case "for": seconds = try Self.number(key, value, 1...Self.secondLimit)
        default:
            guard let probability = Double(value), probability > 0, probability <= 1 else {
                throw FaultRuleError("'\(key)=\(value)' is no probability: it is above 0 and at most 1")
            }
            self.probability = probability == 1 ? nil : probability
        }
    }

    /// What does not go together.
    private mutating func check(_ keys: Set<String>) throws(FaultRuleError) {
        let impossible = commands.subtracting(kind.possibleCommands)
        guard impossible.isEmpty else {
            throw FaultRuleError(
                "'\(kind.rawValue)' does not happen to \(impossible.inWords): it happens to \(kind.possibleCommands.inWords)"
            )
        }
        guard (kind == .slow) == keys.contains("seconds") else {
            throw FaultRuleError(
                kind == .slow
                    ? "how slow is missing: seconds=0.5" : "'\(kind.rawValue)' takes no time: seconds is for slow")
        }
        let without = commands.subtracting(.addressed)
        guard sectors == nil || without.isEmpty || !keys.contains("command") else {
            throw FaultRuleError("\(without.inWords) commands have no address here: leave lba out, or them")
        }
        if sectors != nil { commands.formIntersection(.addressed) }
    }

    private static func sectors(_ text: String) throws(FaultRuleError) -> Range<UInt64> {
        let ends = text.split(separator: "..", maxSplits: 1, omittingEmptySubsequences: false).map { decimal($0) }
        guard let first = ends[0], let last = ends[ends.count - 1], first <= last, everywhere.contains(last) else {
            throw FaultRuleError(
                "'lba=\(text)' names no sectors: FIRST..LAST, or one number, as in lba=81920..81927; the last is below 2^48"
            )
        }
        return first..<last + 1
    }

    private static func commands(_ text: String) throws(FaultRuleError) -> Commands {
        var commands: Commands = []
        for name in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let group = Commands.names.first(where: { $0.name == name }) else {
                throw FaultRuleError(
                    "'\(name)' is no group of commands: it is one of "
                        + Commands.names.map(\.name).joined(separator: ", "))
            }
            commands.formUnion(group.commands)
        }
        return commands
    }

    private static func number(
        _ key: String, _ text: String, _ range: ClosedRange<UInt64>
    ) throws(FaultRuleError) -> UInt64 {
        guard let number = decimal(text), range.contains(number) else {
            throw FaultRuleError(
                "'\(key)=\(text)' is not right: it is a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// An hour at the most.
    private static func milliseconds(_ text: String) throws(FaultRuleError) -> UInt32 {
        guard let seconds = Double(text), seconds >= 0.001, seconds <= 3600 else {
            throw FaultRuleError("'seconds=\(text)' is not right: it is a number from 0.001 to 3600")
        }
        return UInt32((seconds * 1000).rounded())
    }

    /// Digits alone.
    private static func decimal(_ text: some StringProtocol) -> UInt64? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt64(text) : nil
    }

    /// The rule as it is read, without what goes without saying.
    public var description: String {
        var words = [kind.rawValue]
        if let sectors {
            let last = sectors.upperBound - 1
            words.append(last == sectors.lowerBound ? "lba=\(last)" : "lba=\(sectors.lowerBound)..\(last)")
        }
        let all = kind.usualCommands
        if commands != (sectors == nil ? all : all.intersection(.addressed)) {
            words.append("command=\(commands.inWords)")
        }
        if after != 0 { words.append("after=\(after)") }
        if every != 1 { words.append("every=\(every)") }
        if let probability { words.append("probability=\(probability)") }
        if seed != 0 { words.append("seed=\(seed)") }
        if let count { words.append("count=\(count)") }
        if let seconds { words.append("for=\(seconds)") }
        if delayMilliseconds != 0 {
            let isWhole = delayMilliseconds % 1000 == 0
            words.append("seconds=" + (isWhole ? "\(delayMilliseconds / 1000)" : "\(Double(delayMilliseconds) / 1000)"))
        }
        return words.joined(separator: " ")
    }
}

extension FaultRule.Commands {
    /// Their names, as a rule has them.
    var inWords: String {
        if self == .all { return "all" }
        return Self.names.filter { $0.commands != .all && contains($0.commands) }.map(\.name).joined(separator: ",")
    }
}
