// REPORT SUPPORTED OPERATION CODES (SPC-4), from the table that commands are dispatched by.

import SCSI

/// The answer to one command.
struct SupportedOperationCodes {
    /// REPORTING OPTIONS.
    private enum Option: UInt8 {
        case all = 0
        case one = 1
        case oneWithServiceAction = 2
        case oneOrServiceAction = 3
    }

    /// Room for all commands with their timeouts.
    static let longestAnswer = 4096

    private let cdb: CommandDescriptorBlock
    private let unit: UnitFacts
    /// RCTD: with timeouts, which are none.
    private let hasTimeouts: Bool

    init(_ cdb: CommandDescriptorBlock, _ unit: UnitFacts) {
        self.cdb = cdb
        self.unit = unit
        hasTimeouts = cdb[2] & 0x80 != 0
    }

    /// A command that asks for what makes no sense.
    struct Refusal: Error {
        let objection: Objection
    }

    var answer: Result<Answer, Refusal> {
        guard let option = Option(rawValue: cdb[2] & 0x07) else {
            return .failure(Refusal(objection: .invalidField(2, bit: 2)))
        }
        let (code, action) = (cdb[3], UInt16(cdb[4]) << 8 | UInt16(cdb[5]))
        let hasActions = hasServiceActions(code)
        switch option {
        case .all: return .success(all)
        case .one:
            return hasActions ? .failure(Refusal(objection: .invalidField(2, bit: 2))) : .success(one(code, 0))
        case .oneWithServiceAction:
            // Of an operation code that is unknown nobody knows whether it has service actions.
            guard hasActions || row(code, 0) == nil else {
                return .failure(Refusal(objection: .invalidField(2, bit: 2)))
            }
            return .success(one(code, action))
        case .oneOrServiceAction:
            return .success(hasActions || action == 0 ? one(code, action) : one(nil))
        }
    }

    /// Of a DVD-ROM nobody knows ATA PASS-THROUGH (32).
    private func hasServiceActions(_ code: UInt8) -> Bool {
        CommandDescription.hasServiceActions(code) && (code != PassThrough32.operationCode || !unit.kind.isDisc)
    }

    private func row(_ code: UInt8, _ action: UInt16) -> CommandDescription? {
        if code == PassThrough32.operationCode {
            return hasServiceActions(code) && action == PassThrough32.serviceAction ? .passThrough32 : nil
        }
        guard action < 0x20 else { return nil }
        let probe = CommandDescriptorBlock(high: UInt64(code) << 56 | UInt64(action) << 48, low: 0)
        return CommandDescription(probe, of: unit)
    }

    /// Command descriptors of all commands but ATA PASS-THROUGH (32): libiscsi asks for each command of the list, and
    /// has no room for usage data of 32 bytes. A request for that one alone is answered.
    private var all: Answer {
        var list = Answer()
        for code in UInt8.min...UInt8.max {
            let hasActions = hasServiceActions(code)
            for action in 0..<(hasActions ? UInt16(0x20) : 1) where row(code, action) != nil {
                list.append(code)
                list.append(UInt8(0))
                list.append(action)
                list.append(UInt8(0))
                // CTDP and SERVACTV.
                list.append(UInt8((hasTimeouts ? 0x02 : 0) | (hasActions ? 0x01 : 0)))
                list.append(UInt16(Self.length(of: code)))
                if hasTimeouts { appendTimeouts(to: &list) }
            }
        }
        var answer = Answer()
        answer.append(UInt32(list.bytes.count))
        answer.append(bytes: list.bytes)
        return answer
    }

    private func one(_ code: UInt8, _ action: UInt16) -> Answer { one(row(code, action)) }

    /// The data of one command: SUPPORT 011b as the standard has it, or 001b not supported.
    private func one(_ row: CommandDescription?) -> Answer {
        var answer = Answer()
        answer.append(UInt8(0))
        guard let row else {
            answer.append(UInt8(0x01))
            answer.append(UInt16(0))
            return answer
        }
        answer.append(UInt8((hasTimeouts ? 0x80 : 0) | 0x03))
        let length = Self.length(of: row.usage.operationCode)
        answer.append(UInt16(length))
        for index in 0..<length {
            answer.append(index < 16 ? row.usage[index] : row.usageOfRest?[index - 16] ?? 0)
        }
        if hasTimeouts { appendTimeouts(to: &answer) }
        return answer
    }

    /// A command timeouts descriptor that says nothing.
    private func appendTimeouts(to answer: inout Answer) {
        answer.append(UInt16(0x0A))
        answer.append(bytes: [UInt8](repeating: 0, count: 10))
    }

    /// The length of a CDB, by the group of its operation code (SPC-4).
    private static func length(of code: UInt8) -> Int {
        switch code >> 5 {
        case 0: 6
        case 1, 2: 10
        case 3: 32
        case 5: 12
        default: 16
        }
    }
}
