// A unit above a disk that is an array of bytes, and initiators that send it commands: the test does what each step
// asks for.

import ATA
import Blocks
import Glibc
import SCSI
import Testing
import Units

/// What became of a command.
struct Answered {
    var status: SCSIStatus
    var sense: SenseData?
    /// The bytes that the command moves, whatever was expected.
    var transferBytes: UInt64
    /// What the initiator gets.
    var data: [UInt8]
    /// What was asked of the medium, in order.
    var steps: [UnitStep]
    /// How many bytes the unit took from the initiator.
    var dataOutBytes: Int
    /// How many times it could have been made to wait, or be ended.
    var pauses: Int

    /// Something on the medium was to be changed.
    var changesBlocks: Bool { steps.contains { $0.changesBlocks } }
    /// The same, but for the first step.
    var changesBlocksLater: Bool { steps.dropFirst().contains { $0.changesBlocks } }

    /// Sense key, code and qualifier; nil without sense data.
    var codes: [UInt8]? {
        sense.map { [$0.senseKey.rawValue, $0.additionalSenseCode.code, $0.additionalSenseCode.qualifier] }
    }
}

struct Bench {
    /// What a discarded block holds afterwards: TRIM promises nothing.
    static let discarded: UInt8 = 0xDE
    static let outOfRange: [UInt8] = [0x5, 0x21, 0x00]
    static let invalidField: [UInt8] = [0x5, 0x24, 0x00]
    static let unknownCommand: [UInt8] = [0x5, 0x20, 0x00]
    static let writeProtected: [UInt8] = [0x7, 0x27, 0x00]

    static let miscompare: [UInt8] = [0xE, 0x1D, 0x00]
    static let wrongLength: [UInt8] = [0x5, 0x0E, 0x03]

    var drive: ExportedDrive
    var server = DeviceServer()
    /// Bytes 16 to 31 of commands that have them.
    var rest: CommandDescriptorBlock?
    var nexus: NexusNumber
    /// The disk; empty for one that is too large to have one, whose steps are only looked at.
    var disk: [UInt8]
    /// Writes are done, and nothing is stored.
    var losesWrites = false
    /// Commands go to a logical unit that is not there.
    var isAbsent = false
    /// What the medium does instead of a step: nil lets it happen.
    var fault: (UnitStep) -> BlockFailure? = { _ in nil }

    /// A drive with blocks that tests can tell apart.
    init(
        sectors: UInt64, kind: DriveKind = .disk, controller: Controller = .piix3IDE, hasDisk: Bool = true,
        change: (inout DriveProperties) -> Void = { _ in }
    ) {
        var properties = DriveProperties(kind)
        change(&properties)
        drive = ExportedDrive(
            Drive(properties, sectors: sectors, bootSector: nil, controller: controller), controller: controller)
        nexus = server.connect(initiatorPort: Bench.port("a"))!
        disk = []
        // Its first command is told of the beginning.
        _ = try? send(.testUnitReady())
        guard hasDisk else { return }
        disk = (0..<Int(sectors) * blockBytes).map { UInt8(truncatingIfNeeded: $0 &* 7 / 3 + $0 / blockBytes) | 1 }
    }

    /// The name of an initiator port.
    static func port(_ name: String) -> [UInt8] { Array("iqn.2026-11.net.example:\(name),i,0x00023d000001".utf8) }

    /// Another initiator, which knows of its beginning.
    mutating func connect(_ name: String) throws -> NexusNumber {
        let first = nexus
        defer { nexus = first }
        let connected = server.connect(initiatorPort: Self.port(name), mediaEvents: drive.drive.mediaEvents)
        nexus = try #require(connected)
        let answer = try send(.testUnitReady())
        #expect(answer.codes == [0x6, 0x29, 0x00])
        return nexus
    }

    /// Sends a command of another initiator.
    mutating func send(_ cdb: CommandDescriptorBlock, expecting expected: Int = 0, as other: NexusNumber) throws
        -> Answered
    {
        let first = nexus
        defer { nexus = first }
        nexus = other
        return try send(cdb, expecting: expected)
    }

    /// Sends a command of another initiator, with data.
    mutating func send(_ cdb: CommandDescriptorBlock, dataOut: [UInt8], as other: NexusNumber) throws -> Answered {
        let first = nexus
        defer { nexus = first }
        nexus = other
        return try send(cdb, dataOut: dataOut)
    }

    /// The bytes of a block.
    var blockBytes: Int { Int(drive.blockSize.bytes) }

    /// The bytes of these blocks.
    func content(_ first: Int, _ count: Int) -> [UInt8] {
        Array(disk[first * blockBytes..<(first + count) * blockBytes])
    }

    /// Sends a command that brings data to the initiator, which expects as many as the command can have, or has none.
    mutating func send(_ cdb: CommandDescriptorBlock, expecting expected: Int = 0) throws -> Answered {
        try send(cdb, expected: expected, reads: expected > 0, dataOut: nil)
    }

    /// Sends a command with data.
    mutating func send(_ cdb: CommandDescriptorBlock, dataOut: [UInt8]) throws -> Answered {
        try send(cdb, expected: dataOut.count, reads: false, dataOut: dataOut)
    }

    private mutating func send(
        _ cdb: CommandDescriptorBlock, expected: Int, reads: Bool, dataOut: [UInt8]?
    ) throws -> Answered {
        var command = ServedCommand(
            cdb, rest: rest, expectedBytes: UInt32(expected), reads: reads, writes: dataOut != nil, nexus: nexus,
            unit: isAbsent ? .absent : drive.facts)
        let needs = command.bufferNeeds
        // Bytes that nothing writes have to be recognisable.
        var buffer = [UInt8](repeating: 0xA5, count: needs.byteCount)
        try #require(needs.dataOffset + command.dataOutBytes <= needs.byteCount)
        if let dataOut {
            try #require(command.dataOutBytes <= dataOut.count, "more than the initiator has")
            buffer.replaceSubrange(
                needs.dataOffset..<needs.dataOffset + command.dataOutBytes, with: dataOut.prefix(command.dataOutBytes))
        } else {
            try #require(command.dataOutBytes == 0, "the initiator has none")
        }
        var answer = Answered(
            status: .good, transferBytes: 0, data: [], steps: [], dataOutBytes: command.dataOutBytes, pauses: 0)
        var step = withBytes(of: &buffer) { command.begin(on: &drive, by: &server, buffer: &$0) }
        while step != .finished {
            if step == .commandEnded {
                answer.pauses += 1
                step = withBytes(of: &buffer) { command.goOn(on: &drive, by: &server, buffer: &$0) }
                continue
            }
            answer.steps.append(step)
            if case .lbaStatus(let lba, let limit) = step {
                try #require(limit > 0 && lba + UInt64(limit) <= drive.sectorCount, "\(step) is not on the disk")
                step = withBytes(of: &buffer) {
                    command.resumeLBAStatus(isMapped: true, count: limit, on: &drive, by: &server, buffer: &$0)
                }
                continue
            }
            if let range = step.blocks, step.changesBlocks {
                try #require(command.writes, "\(step) of a command that writes nothing: \(range)")
            }
            let outcome = fault(step).map { BlockOutcome.failed($0) } ?? .done
            if outcome == .done { try perform(step, buffer: &buffer) }
            step = withBytes(of: &buffer) { command.resume(outcome, on: &drive, by: &server, buffer: &$0) }
        }
        answer.status = command.status
        answer.sense = command.sense
        answer.transferBytes = command.transferBytes
        if reads {
            let count = Int(min(UInt64(expected), command.transferBytes))
            try #require(needs.dataOffset + count <= needs.byteCount, "data that are nowhere")
            answer.data = Array(buffer[needs.dataOffset..<needs.dataOffset + count])
        }
        return answer
    }

    /// Does what the medium would do, after a look at whether it is asked for anything outside of disk and buffer.
    private mutating func perform(_ step: UnitStep, buffer: inout [UInt8]) throws {
        guard let range = step.blocks else { return }
        try #require(!range.isEmpty && range.upperBound <= drive.sectorCount, "\(step) is not on the disk")
        let count = range.count * blockBytes
        if case .perform(.read, let offset) = step { try #require(Int(offset) + count <= buffer.count, "\(step)") }
        if case .perform(.write, let offset) = step { try #require(Int(offset) + count <= buffer.count, "\(step)") }
        guard !disk.isEmpty else { return }
        let start = Int(range.lowerBound) * blockBytes
        switch step {
        case .perform(.read, let offset): copy(disk, start, to: &buffer, Int(offset), count)
        case .perform(.write, _) where losesWrites: break
        case .perform(.write, let offset): copy(buffer, Int(offset), to: &disk, start, count)
        case .perform(.discard, _): fill(&disk, start..<start + count, with: Self.discarded)
        case .performZeroes: fill(&disk, start..<start + count, with: 0)
        default: break
        }
    }
}

extension UnitStep {
    /// The blocks that it touches; nil for a flush.
    var blocks: Range<UInt64>? {
        switch self {
        case .perform(.read(let lba, let count), _), .perform(.write(let lba, let count), _),
            .perform(.discard(let lba, let count), _), .perform(.prefetch(let lba, let count), _),
            .perform(.zeroes(let lba, let count, _), _), .performZeroes(let lba, let count, _):
            lba..<lba + UInt64(count)
        case .perform(.flush, _), .lbaStatus, .commandEnded, .finished: nil
        }
    }

    var changesBlocks: Bool {
        switch self {
        case .perform(.write, _), .perform(.discard, _), .performZeroes: true
        default: false
        }
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

func withBytes<Result>(of bytes: inout [UInt8], _ body: (inout MutableRawSpan) -> Result) -> Result {
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    return body(&raw)
}

/// Copies with memcpy: element by element, a debug build takes seconds for a large command.
private func copy(_ source: [UInt8], _ from: Int, to target: inout [UInt8], _ start: Int, _ count: Int) {
    source.withUnsafeBytes { source in
        target.withUnsafeMutableBytes { _ = memcpy($0.baseAddress! + start, source.baseAddress! + from, count) }
    }
}

private func fill(_ target: inout [UInt8], _ range: Range<Int>, with value: UInt8) {
    target.withUnsafeMutableBytes { _ = memset($0.baseAddress! + range.lowerBound, Int32(value), range.count) }
}
