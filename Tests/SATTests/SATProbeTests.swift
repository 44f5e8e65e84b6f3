// The whole probe session, command by command.

import ATA
import Blocks
import SAT
import SCSI
import Testing

@Suite("The probe of Linux's SAT layer")
struct SATProbeTests {
    /// One session: MODE SELECT changes what later commands answer.
    @Test("status, sense data and data are Linux's, command by command")
    func session() throws {
        let commands = try ProbeCommand.all()
        let answers = try ProbeAnswer.all()
        #expect(commands.count == 105)
        #expect(commands.map(\.name) == answers.map(\.name))
        #expect(answers.allSatisfy { $0.isGood == $0.sense.isEmpty })
        var initiator = Initiator()
        for (command, answer) in zip(commands, answers) {
            let response = initiator.send(
                command.cdb, data: command.dataOut, length: command.length, perform: Self.failingMedium)
            let name = Comment(rawValue: command.name)
            #expect((response.status == .good) == answer.isGood, name)
            check(response, answer, name)
        }
    }

    private func check(_ response: Response, _ answer: ProbeAnswer, _ name: Comment) {
        let sense = response.sense?.bytes ?? []
        // A last row of less than four bytes is not in the capture.
        #expect(sense.prefix(answer.sense.count).elementsEqual(answer.sense), "\(name): \(sense.hexadecimal)")
        #expect(sense.count - answer.sense.count < 5, name)
        #expect((sense.count == answer.sense.count) || answer.sense.count % 16 == 0, name)
        if answer.isGood || !response.data.isEmpty {
            // Data-out has not been captured.
            if answer.dataLength != 0 { #expect(response.data.count == answer.dataLength, name) }
            #expect(response.data.prefix(answer.data.count).elementsEqual(answer.data), name)
        } else {
            // What the command left alone.
            #expect(answer.data.allSatisfy { $0 == 0 }, name)
        }
    }

    /// Input/output errors below the drive.
    private static func failingMedium(_ operation: BlockRequest) -> BlockOutcome {
        switch operation {
        case .read(let lba, let count) where lba <= 4096 && 4096 < lba + UInt64(count): .failed(.unrecovered)
        case .write(let lba, let count) where lba <= 8192 && 8192 < lba + UInt64(count): .failed(.unrecovered)
        default: .done
        }
    }
}
