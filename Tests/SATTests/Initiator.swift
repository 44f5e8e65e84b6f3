// A drive, the layer above it and someone who sends commands, with a medium that the test plays.

import ATA
import Blocks
import SAT
import SCSI

/// What a command came to.
struct Response {
    var status: SCSIStatus
    var sense: SenseData?
    /// The data that the command transferred to the initiator, or those it was sent.
    var data: [UInt8]
    /// What the medium was asked for, in order.
    var steps: [TranslationLayer.Step]

    /// The operations among the steps.
    var operations: [BlockRequest] {
        steps.compactMap { step in
            if case .blocks(let operation, _, _, _) = step { operation } else { nil }
        }
    }

    /// Sense key, code and qualifier, or nil after GOOD.
    var senseCodes: [UInt8]? {
        sense.map { [$0.senseKey.rawValue, $0.additionalSenseCode.code, $0.additionalSenseCode.qualifier] }
    }
}

struct Initiator {
    static let referenceSectors: UInt64 = 6_291_456

    var drive: Drive
    var layer: TranslationLayer
    /// Whether the sector that GET LBA STATUS asks for is mapped, and how many are like it.
    var map: (mapped: Bool, count: UInt32) = (true, 1)

    init(_ drive: Drive, controller: Controller = .piix3IDE) {
        self.drive = drive
        layer = TranslationLayer(drive: &self.drive, controller: controller)
    }

    /// The reference drive, or one like it.
    init(
        sectors: UInt64 = referenceSectors, controller: Controller = .piix3IDE,
        change: (inout DriveProperties) -> Void = { _ in }
    ) {
        var properties = DriveProperties.reference
        change(&properties)
        self.init(
            Drive(properties, sectors: sectors, bootSector: nil, controller: controller), controller: controller)
    }

    /// Sends a command; the medium does what it is asked for.
    mutating func send(
        _ cdb: CommandDescriptorBlock, data: [UInt8] = [], length: Int? = nil, origin: Origin = .user
    ) -> Response {
        send(cdb, data: data, length: length, origin: origin) { _ in .done }
    }

    /// Sends a command.
    /// - Parameters:
    ///   - data: the data-out, or what is in the buffer before.
    ///   - length: the size of the data buffer if it is not that of `data`; the rest is zeroes.
    ///   - perform: what becomes of each operation.
    mutating func send(
        _ cdb: CommandDescriptorBlock, data: [UInt8] = [], length: Int? = nil, origin: Origin = .user,
        perform: (BlockRequest) -> BlockOutcome
    ) -> Response {
        var buffer = data + [UInt8](repeating: 0, count: max(0, (length ?? 0) - data.count))
        var command = SCSICommandInProgress(cdb: cdb, transferLength: UInt32(buffer.count), origin: origin)
        var steps: [TranslationLayer.Step] = []
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        var step = layer.begin(&command, drive: &drive, data: &bytes)
        while true {
            switch step {
            case .blocks(let operation, _, _, _):
                steps.append(step)
                step = layer.resume(&command, drive: &drive, outcome: perform(operation), data: &bytes)
            case .lbaStatus:
                steps.append(step)
                step = layer.resumeLBAStatus(&command, mapped: map.mapped, count: map.count, data: &bytes)
            case .finished(let status, let dataLength):
                return Response(
                    status: status, sense: command.sense, data: Array(buffer.prefix(Int(dataLength))), steps: steps)
            }
        }
    }
}

extension DriveProperties {
    /// The properties of the reference drive: slave of the first channel, with a serial number.
    static var reference: DriveProperties {
        var properties = DriveProperties()
        properties.serialNumber = "918a6997-1928-38a1-9"
        properties.unit = 1
        return properties
    }
}

extension CommandDescriptorBlock: ExpressibleByArrayLiteral {
    /// A command byte by byte.
    public init(arrayLiteral bytes: UInt8...) {
        self.init(bytes)
    }

    init(_ bytes: [UInt8]) {
        self.init(parsing: bytes.span.bytes)
    }
}
