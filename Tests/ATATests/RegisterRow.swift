// A line of Golden/ata-registers: what was sent to QEMU's reference drive, and the registers after it.

@testable import ATA

struct RegisterRow: CustomStringConvertible {
    let line: String
    /// `name=value` before the arrow, or anywhere in a line without one.
    let sent: [Substring: Substring]
    /// `name=value` after the arrow, or anywhere in a line without one.
    let received: [Substring: Substring]

    init(_ line: String) {
        self.line = line
        let words = line.split(separator: " ")
        let arrow = words.firstIndex(of: "->")
        sent = Self.values(words[..<(arrow ?? words.endIndex)])
        received = Self.values(words[(arrow ?? words.startIndex)...])
    }

    private static func values(_ words: ArraySlice<Substring>) -> [Substring: Substring] {
        var values: [Substring: Substring] = [:]
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        return values
    }

    var description: String { line }

    /// The command: address and count with the previous content that the row shows, unless it was sent as a 48-bit one.
    func taskfile(command: UInt8, extended: Bool = false) -> Taskfile {
        var taskfile = Taskfile(command: command)
        taskfile.feature = UInt16(hexadecimal: sent["feature"] ?? "0")
        taskfile.count = UInt16(hexadecimal: sent["count"])
        taskfile.lba = UInt64(hexadecimal: sent["lba"])
        taskfile.device = UInt8(hexadecimal: sent["dev"])
        if !extended {
            taskfile.device |= UInt8(truncatingIfNeeded: taskfile.lba >> 24) & 0x0F
            taskfile.lba = taskfile.lba & 0xFF_FFFF | result.lba & ~0xFF_FFFF
            taskfile.count = taskfile.count & 0x00FF | result.count & 0xFF00
        }
        return taskfile
    }

    /// The registers after the command.
    var result: TaskfileResult {
        let previous = (received["hob"] ?? "").split(separator: ":").map { UInt64(hexadecimal: $0) }
        let lba = (received["lba"] ?? "").split(separator: ":").map { UInt64(hexadecimal: $0) }
        var taskfile = Taskfile(command: 0)
        taskfile.count = UInt16(previous[0]) << 8 | UInt16(hexadecimal: received["count"])
        for (index, byte) in (lba + previous[1...]).enumerated() { taskfile.lba |= byte << (8 * UInt64(index)) }
        taskfile.device = UInt8(hexadecimal: received["device"])
        return TaskfileResult(
            taskfile, status: UInt8(hexadecimal: received["status"]), error: UInt8(hexadecimal: received["error"]))
    }

    /// Words of IDENTIFY DEVICE data that changed: `w88=003f`.
    var changedWords: [Int: UInt16] {
        var words: [Int: UInt16] = [:]
        for (name, value) in received where name.hasPrefix("w") {
            words[Int(name.dropFirst()) ?? -1] = UInt16(hexadecimal: value)
        }
        return words
    }
}

extension FixedWidthInteger {
    /// A number of a row; a row without it is a mistake of the test.
    init(hexadecimal text: Substring?) {
        self = Self(text ?? "", radix: 16)!
    }
}

extension TaskfileResult {
    /// The registers alone, which are all that a row knows.
    var registers: TaskfileResult {
        var registers = self
        registers.blockFailure = nil
        registers.sectorsTransferred = 0
        return registers
    }
}
