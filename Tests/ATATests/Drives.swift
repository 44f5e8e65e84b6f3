// Drives for the tests, and shorthands to give them commands.

import ATA
import Blocks

extension DriveProperties {
    /// The properties of the reference drive: slave of the first channel, with a serial number.
    static var reference: DriveProperties {
        var properties = DriveProperties()
        properties.serialNumber = "918a6997-1928-38a1-9"
        properties.unit = 1
        return properties
    }
}

extension Drive {
    /// The reference drive has 3 GiB.
    static let referenceSectors: UInt64 = 6_291_456

    static func reference(sectors: UInt64 = referenceSectors, controller: Controller = .piix3IDE) -> Drive {
        Drive(.reference, sectors: sectors, bootSector: nil, controller: controller)
    }

    /// Begins a command that takes no data.
    mutating func begin(_ taskfile: Taskfile) -> Step {
        var command = CommandInProgress(taskfile)
        return begin(&command, data: RawSpan())
    }

    /// Executes a command with a medium that does everything it is asked for.
    mutating func execute(_ taskfile: Taskfile, data: [UInt8] = []) -> (result: TaskfileResult, asked: [BlockRequest]) {
        execute(taskfile, data: data) { _ in .done }
    }

    /// Executes a command; each operation's outcome is what `perform` says.
    mutating func execute(
        _ taskfile: Taskfile, data: [UInt8] = [], perform: (BlockRequest) -> BlockOutcome
    ) -> (result: TaskfileResult, asked: [BlockRequest]) {
        var command = CommandInProgress(taskfile)
        var asked: [BlockRequest] = []
        var step = begin(&command, data: data.span.bytes)
        while true {
            switch step {
            case .finished(let result), .dataIn(_, let result), .packetEnded(_, let result):
                return (result, asked)
            case .blocks(let operation):
                asked.append(operation)
                step = resume(&command, perform(operation), data: data.span.bytes)
            }
        }
    }

    /// A page as it would be transferred.
    func bytes(_ page: DataPage) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: 512)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        copy(page, into: &raw)
        return bytes
    }
}
