// The memory of a whole disk as text: a TOML document, which people read and edit. docs/drive-state.md lists its keys.

extension DiskMemory {
    /// Which version of the format this is.
    static let version: UInt64 = 1

    /// Counters by their keys, in the order in which they are written.
    static let counters: [(key: String, path: WritableKeyPath<DiskHistory, UInt64> & Sendable)] = [
        ("power-cycles", \.powerCycles),
        ("spin-ups", \.spinUps),
        ("hardware-resets", \.hardwareResets),
        ("sectors-read", \.sectorsRead),
        ("sectors-written", \.sectorsWritten),
        ("read-commands", \.readCommands),
        ("write-commands", \.writeCommands),
        ("flush-commands", \.flushCommands),
        ("trim-commands", \.trimCommands),
        ("sectors-trimmed", \.sectorsTrimmed),
        ("uncorrectable-errors", \.uncorrectableErrors),
        ("highest-error-rate", \.highestErrorRate),
        ("write-faults", \.writeFaults),
        ("interface-errors", \.interfaceErrors),
        ("reallocated-sectors", \.reallocatedSectors),
        ("most-pending-sectors", \.mostPendingSectors),
    ]

    /// The whole text.
    public var text: String {
        var lines = [
            "# The state of a disk. Spindle replaces this file while it serves the disk; edit it only when it does not.",
            "version = \(Self.version)",
            "device = \(quoted(kind.rawValue))",
            "serial = \(quoted(serialNumber))",
            "sector-bytes = \(sectorBytes)",
            "",
            "powered-seconds = \(min(history.poweredNanoseconds / 1_000_000_000, Self.secondsLimit))",
        ]
        for (key, path) in Self.counters { lines.append("\(key) = \(min(history[keyPath: path], Self.countLimit))") }
        lines += [
            "coldest = \(history.coldest)",
            "hottest = \(history.hottest)",
            "smart = \(history.smartIsEnabled)",
            "autosave = \(history.savesAttributes)",
            "automatic-off-line = \(history.collectsOffLine)",
            "off-line-status = \(hexadecimal(UInt64(history.offLineStatus)))",
        ]
        if let accessible = history.accessibleSectors { lines.append("accessible-sectors = \(accessible)") }
        lines.append("unreadable-sectors = [" + history.unreadable.ranges.map(sectors).joined(separator: ", ") + "]")
        lines += securityLines + selectiveLines
        lines.append("error-count = \(min(history.errors.count, Self.countLimit))")
        for error in history.errors.latest { lines += ["", "[[error]]"] + errorLines(error) }
        for test in history.selfTests.latest(SelfTestHistory.limit) {
            lines += [
                "", "[[self-test]]", "subcommand = \(hexadecimal(UInt64(test.subcommand)))",
                "status = \(hexadecimal(UInt64(test.status)))", "hours = \(test.hours)",
            ]
            if let sector = test.sector { lines.append("sector = \(sector)") }
        }
        return (lines + hostLogLines).joined(separator: "\n") + "\n"
    }

    private var securityLines: [String] {
        let security = history.security
        var lines: [String] = []
        if let password = security.userPassword { lines.append(passwordLine("user-password", password)) }
        lines.append(passwordLine("master-password", security.masterPassword))
        lines.append("master-identifier = \(hexadecimal(UInt64(security.masterIdentifier)))")
        lines.append("maximum-security = \(security.isMaximum)")
        return lines
    }

    /// A password that could be typed, as it would be: hosts fill it up with zeroes.
    private func passwordLine(_ key: String, _ password: [UInt8]) -> String {
        let end = password.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
        let isText = password[..<end].allSatisfy { (0x20...0x7E).contains($0) }
        guard isText else { return "\(key)-hex = \(quoted(hexadecimal(password)))" }
        return "\(key) = \(quoted(String(decoding: password[..<end], as: UTF8.self)))"
    }

    private var selectiveLines: [String] {
        let selective = history.selective
        guard !selective.spans.isEmpty else { return [] }
        let spans = selective.spans.map { quoted("\($0.first)-\($0.last)") }.joined(separator: ", ")
        return ["selective-spans = [\(spans)]", "selective-flags = \(hexadecimal(UInt64(selective.flags)))"]
    }

    private func errorLines(_ error: ErrorLog.Entry) -> [String] {
        var lines = [
            "status = \(hexadecimal(UInt64(error.result.status)))",
            "error = \(hexadecimal(UInt64(error.result.error)))",
            "count = \(hexadecimal(UInt64(error.result.count)))",
            "lba = \(error.result.lba & 0xFFFF_FFFF_FFFF)",
            "device = \(hexadecimal(UInt64(error.result.device)))",
            "hours = \(error.hours)",
            "commands = [",
        ]
        for command in (0..<5).compactMap({ error.commands[$0] }) {
            let taskfile = command.taskfile
            lines.append(
                "    { command = \(hexadecimal(UInt64(taskfile.command))), feature = \(hexadecimal(UInt64(taskfile.feature))), "
                    + "count = \(hexadecimal(UInt64(taskfile.count))), lba = \(taskfile.lba & 0xFFFF_FFFF_FFFF), "
                    + "device = \(hexadecimal(UInt64(taskfile.device))), milliseconds = \(command.milliseconds) },")
        }
        return lines + ["]"]
    }

    private var hostLogLines: [String] {
        let logs = history.hostLogs.content.sorted { $0.key < $1.key }
        guard !logs.isEmpty else { return [] }
        return ["", "[host-logs]"]
            + logs.map { address, bytes in
                let end = bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
                return "\(hexadecimal([address])) = \(quoted(hexadecimal(bytes[..<end])))"
            }
    }

    private func sectors(_ range: Range<UInt64>) -> String {
        range.count == 1 ? quoted("\(range.lowerBound)") : quoted("\(range.lowerBound)-\(range.upperBound - 1)")
    }
}

/// A basic string (TOML 1.0.0, "String").
private func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": result += "\\" + String(scalar)
        case _ where scalar.value < 0x20 || scalar.value == 0x7F:
            let digits = String(scalar.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}

private func hexadecimal(_ number: UInt64) -> String { "0x" + String(number, radix: 16) }

/// Two digits a byte.
private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 0x0F)]] }
    return String(decoding: text, as: UTF8.self)
}
