// Golden/sat-probe: a hundred commands that were sent to Linux's SAT layer in one session, and what came back.
// Reads of sector 4096 and writes of sector 8192 failed below the drive; everything that was read was zeroes.

import SCSI

/// A command of the session.
struct ProbeCommand {
    var name: String
    /// Bytes in the data buffer.
    var length: Int
    var cdb: CommandDescriptorBlock
    var dataOut: [UInt8]

    /// `name|direction|length|CDB|data-out`
    init?(_ line: String) {
        let fields = line.split(separator: "|", omittingEmptySubsequences: false)
        guard fields.count == 5, let length = Int(fields[2]), let cdb = [UInt8](hexadecimal: fields[3]),
            let dataOut = [UInt8](hexadecimal: fields[4])
        else { return nil }
        name = String(fields[0])
        self.length = length
        self.cdb = CommandDescriptorBlock(cdb)
        self.dataOut = dataOut
    }

    static func all() throws -> [ProbeCommand] {
        try GoldenFiles.lines("sat-probe/commands.txt").filter { !$0.hasPrefix("#") }.map { line in
            guard let command = ProbeCommand(line) else { throw MalformedLine(line: line) }
            return command
        }
    }
}

/// sg_raw's output for a command.
struct ProbeAnswer {
    var name: String
    var isGood = false
    /// Sense bytes in whole rows of 16, and the rest if it has at least four.
    var sense: [UInt8] = []
    /// Length of the data, and the first 64 bytes of them.
    var dataLength = 0
    var data: [UInt8] = []

    static func all() throws -> [ProbeAnswer] {
        var answers: [ProbeAnswer] = []
        var isData = false
        for line in try GoldenFiles.lines("sat-probe/sat-probe.txt") {
            if line.hasPrefix("=== block layer") { break }
            if line.hasPrefix("== ") {
                answers.append(ProbeAnswer(name: String(line.dropFirst(3))))
                isData = false
                continue
            }
            guard !answers.isEmpty else { continue }
            let last = answers.count - 1
            let text = line.drop { $0 == " " }
            if text.hasPrefix("SCSI Status: ") {
                answers[last].isGood = text.hasPrefix("SCSI Status: Good")
            } else if text.hasPrefix("data (") {
                isData = true
                answers[last].dataLength = Int(text.dropFirst(6).prefix { $0.isNumber }) ?? -1
            } else if let bytes = [UInt8](hexadecimal: text) {
                if isData { answers[last].data += bytes } else { answers[last].sense += bytes }
            }
        }
        return answers
    }
}

struct MalformedLine: Error {
    var line: String
}
