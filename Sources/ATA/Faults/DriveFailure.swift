// A command that a fault has failed, as Linux's libata writes of one.

/// A command that a fault has failed.
public struct DriveFailure: Equatable, Sendable {
    /// The rule, in words; nil: it was lifted meanwhile.
    public let rule: String?
    /// The command as the host delivered it.
    let taskfile: Taskfile
    /// The registers as the command left them.
    public let result: TaskfileResult
    /// The sector, if the command has one.
    public let sector: UInt64?

    /// The standard's name of the command.
    public var commandName: String { CommandRow.row(of: taskfile.command)?.name ?? hex(taskfile.command) + "h" }

    /// `25/00:08:e8:03:00/00:00:00:00:00/40`: command and feature, then count and address; what the registers held
    /// before; the device register.
    public var command: String {
        registers(
            taskfile.command, UInt8(truncatingIfNeeded: taskfile.feature), UInt8(taskfile.feature >> 8),
            count: taskfile.count, lba: taskfile.lba, device: taskfile.device)
    }

    /// The same with status and error in front.
    public var registers: String {
        registers(result.status, result.error, 0, count: result.count, lba: result.lba, device: result.device)
    }

    /// `{ DRDY DF ERR }`.
    public var status: String {
        words(result.status, [(0x40, "DRDY"), (0x20, "DF"), (0x08, "DRQ"), (0x01, "ERR")])
    }

    /// `{ UNC }`.
    public var error: String {
        words(result.error, [(0x80, "ICRC"), (0x40, "UNC"), (0x10, "IDNF"), (0x04, "ABRT")])
    }

    private func words(_ register: UInt8, _ bits: [(bit: UInt8, name: String)]) -> String {
        "{ " + bits.filter { register & $0.bit != 0 }.map(\.name).joined(separator: " ") + " }"
    }

    private func registers(
        _ first: UInt8, _ second: UInt8, _ previous: UInt8, count: UInt16, lba: UInt64, device: UInt8
    ) -> String {
        func byte(_ shift: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: lba >> shift) }
        let current = [second, UInt8(truncatingIfNeeded: count), byte(0), byte(8), byte(16)]
        let before = [previous, UInt8(count >> 8), byte(24), byte(32), byte(40)]
        return [[first], current, before, [device]].map { $0.map(hex).joined(separator: ":") }.joined(separator: "/")
    }

    private func hex(_ byte: UInt8) -> String {
        (byte < 0x10 ? "0" : "") + String(byte, radix: 16)
    }
}
