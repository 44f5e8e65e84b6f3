// A drive as an export serves it, above a disk that is an array of bytes: the test does what each step asks for.

import ATA
import Blocks
import Export
import Glibc
import NBD
import Testing
import Units

/// What became of a request.
struct Served {
    /// The error in the reply; nil: success.
    var error: NBDError?
    /// What was asked of the medium, in order.
    var steps: [UnitStep] = []
    /// How many times it could have been made to wait, or be ended.
    var pauses = 0
    /// The data of a READ.
    var data: [UInt8] = []
    /// The descriptors of a BLOCK_STATUS.
    var descriptors: [BlockStatusDescriptor] = []
    /// Where a READ has failed, and the data before.
    var failedOffset: UInt64?
    var goodData: [UInt8] = []
    /// SCSI commands and taskfiles that the request took.
    var commands: UInt64 = 0
    var taskfiles: UInt64 = 0
}

/// What a disk does with a step before it is performed: nil lets it happen.
typealias Fault = (_ number: Int, _ step: UnitStep) -> BlockFailure?

struct Bench {
    /// What a discarded sector holds afterwards: TRIM promises nothing, so that it should not look like data or zeroes.
    static let discarded: UInt8 = 0xDE

    var export: ExportedDrive
    /// The disk; empty for one that is too large to have one, whose steps are only looked at.
    var disk: [UInt8]
    /// A sector that cannot be read.
    var broken: UInt64?
    /// Sectors of which the medium has nothing stored, in their order.
    var holes: [Range<UInt64>] = []

    /// A drive on a controller, with sectors that tests can tell apart.
    init(
        sectors: UInt64, kind: DriveKind = .disk, controller: Controller = .piix3IDE, hasDisk: Bool = true,
        change: (inout DriveProperties) -> Void = { _ in }
    ) {
        var properties = DriveProperties(kind)
        change(&properties)
        let drive = Drive(properties, sectors: sectors, bootSector: nil, controller: controller)
        export = ExportedDrive(drive, controller: controller)
        let size = Int(export.blockSize.bytes)
        disk = hasDisk ? [UInt8](repeating: 0, count: Int(sectors) * size) : []
        // Each sector begins with its number, and goes on with bytes that neither zeroing nor discarding leaves.
        let pattern = (0..<size).map { UInt8(1 + $0 * 7 % 221) }
        for sector in 0..<disk.count / size {
            copy(pattern, 0, to: &disk, sector * size, size)
            var number = UInt64(sector)
            disk.withUnsafeMutableBytes { _ = memcpy($0.baseAddress! + sector * size, &number, 8) }
        }
    }

    /// The bytes of a logical sector.
    var blockBytes: Int { Int(export.blockSize.bytes) }

    /// What a client of this drive was told.
    func information(isReadOnly: Bool = false, zeroesFast: Bool = true) throws -> ExportInformation {
        try ExportInformation(
            name: "disk", drive: export.drive,
            blocks: BlockTraits(isReadOnly: isReadOnly, zeroesFast: zeroesFast))
    }

    /// Serves a request to its end. The buffer has just the size that the request says it needs.
    mutating func serve(
        _ command: NBD.Command, at offset: UInt64 = 0, _ length: UInt32 = 0, flags: CommandFlags = [],
        payload: [UInt8] = [], fault: Fault = { _, _ in nil }
    ) throws -> Served {
        let header = RequestHeader(
            type: command.rawValue, flags: flags, cookie: 42, offsetBytes: offset, lengthBytes: UInt64(length))
        return try serve(header, as: command, payload: payload, fault: fault)
    }

    /// Serves a request that has a header of either kind.
    mutating func serve(
        _ header: RequestHeader, as command: NBD.Command, payload: [UInt8] = [], fault: Fault = { _, _ in nil }
    ) throws -> Served {
        var request = ServedRequest(Request(header, as: command, unit: 0), blockSize: export.blockSize)
        let needs = request.bufferNeeds
        // What is not written by anybody has to be recognisable.
        var buffer = [UInt8](repeating: 0xA5, count: needs.byteCount)
        if command == .write {
            buffer.replaceSubrange(needs.dataOffset..<needs.dataOffset + payload.count, with: payload)
        }
        let before = (export.commandsSent, export.drive.taskfilesExecuted)
        var served = Served()
        var step = withBytes(of: &buffer) { request.begin(on: &export, buffer: &$0) }
        while true {
            if step == .finished {
                served.error = request.error
                break
            }
            if step == .commandEnded {
                served.pauses += 1
                step = withBytes(of: &buffer) { request.goOn(on: &export, buffer: &$0) }
                continue
            }
            if case .lbaStatus(let lba, let limit) = step {
                try #require(limit > 0 && lba + UInt64(limit) <= export.sectorCount, "\(step) is not on the disk")
                let (isMapped, count) = lookUp(lba, limit: UInt64(limit))
                served.steps.append(step)
                step = withBytes(of: &buffer) {
                    request.resumeLBAStatus(isMapped: isMapped, count: UInt32(count), on: &export, buffer: &$0)
                }
                continue
            }
            let outcome: BlockOutcome
            if let error = fault(served.steps.count, step) {
                outcome = .failed(error)
            } else if let good = goodSectors(of: step) {
                try performGoodPart(of: step, good, needs: needs, buffer: &buffer)
                outcome = .failed(.unrecovered, afterBytes: export.blockSize.bytes(ofBlocks: UInt64(good)))
            } else {
                try perform(step, needs: needs, buffer: &buffer)
                outcome = .done
            }
            served.steps.append(step)
            step = withBytes(of: &buffer) { request.resume(outcome, on: &export, buffer: &$0) }
        }
        if command == .read && served.error == nil {
            served.data = Array(buffer[needs.dataOffset..<needs.dataOffset + Int(header.lengthBytes)])
        }
        served.failedOffset = request.failedOffsetBytes
        if let end = served.failedOffset {
            served.goodData = Array(buffer[needs.dataOffset..<needs.dataOffset + Int(end - header.offsetBytes)])
        }
        try #require(request.descriptorBytes <= buffer.count)
        let descriptorBytes = BlockStatusDescriptor.byteCount(isExtended: header.isExtended)
        for start in stride(from: 0, to: request.descriptorBytes, by: descriptorBytes) {
            served.descriptors.append(
                BlockStatusDescriptor(isExtended: header.isExtended, from: buffer.span.bytes, at: start))
        }
        served.commands = export.commandsSent - before.0
        served.taskfiles = export.drive.taskfilesExecuted - before.1
        return served
    }

    /// Whether the sector at `lba` is stored, and how many from it on are like it.
    private func lookUp(_ lba: UInt64, limit: UInt64) -> (isMapped: Bool, count: UInt64) {
        guard let next = holes.first(where: { $0.upperBound > lba }) else { return (true, limit) }
        let isMapped = next.lowerBound > lba
        return (isMapped, min((isMapped ? next.lowerBound : next.upperBound) - lba, limit))
    }

    /// How many sectors of a read come before the broken one; nil if that is not in it.
    private func goodSectors(of step: UnitStep) -> UInt32? {
        guard let broken, case .perform(.read(let lba, let count), _) = step, lba <= broken,
            broken < lba + UInt64(count)
        else { return nil }
        return UInt32(broken - lba)
    }

    private mutating func performGoodPart(
        of step: UnitStep, _ count: UInt32, needs: BufferNeeds, buffer: inout [UInt8]
    ) throws {
        guard count > 0, case .perform(.read(let lba, _), let offset) = step else { return }
        try perform(.perform(.read(lba: lba, count: count), bufferOffset: offset), needs: needs, buffer: &buffer)
    }

    /// Does what the medium would do, after a look at whether it is asked for anything outside of disk and buffer.
    private mutating func perform(_ step: UnitStep, needs: BufferNeeds, buffer: inout [UInt8]) throws {
        if let range = step.sectors {
            try #require(!range.isEmpty && range.upperBound <= export.drive.sectors, "\(step) is not on the disk")
        }
        if let range = step.bufferBytes(blockBytes: blockBytes) {
            try #require(range.upperBound <= needs.byteCount, "\(step) needs more than \(needs)")
        }
        guard !disk.isEmpty, let range = step.sectors else { return }
        let bytes = Int(range.lowerBound) * blockBytes..<Int(range.upperBound) * blockBytes
        switch step {
        case .perform(.read, let offset): copy(disk, bytes.lowerBound, to: &buffer, Int(offset), bytes.count)
        case .perform(.write, let offset): copy(buffer, Int(offset), to: &disk, bytes.lowerBound, bytes.count)
        case .perform(.discard, _): fill(&disk, bytes, with: Self.discarded)
        case .performZeroes, .perform(.zeroes, _): fill(&disk, bytes, with: 0)
        case .perform(.prefetch, _), .perform(.flush, _), .lbaStatus, .commandEnded, .finished: break
        }
    }
}

extension UnitStep {
    /// The sectors that it touches; nil for a flush.
    var sectors: Range<UInt64>? {
        switch self {
        case .perform(.read(let lba, let count), _), .perform(.write(let lba, let count), _),
            .perform(.discard(let lba, let count), _), .perform(.prefetch(let lba, let count), _),
            .perform(.zeroes(let lba, let count, _), _), .performZeroes(let lba, let count, _):
            lba..<lba + UInt64(count)
        case .perform(.flush, _), .lbaStatus, .commandEnded, .finished: nil
        }
    }

    /// The bytes of the buffer that it moves.
    func bufferBytes(blockBytes: Int) -> Range<Int>? {
        switch self {
        case .perform(.read(_, let count), let offset), .perform(.write(_, let count), let offset):
            Int(offset)..<Int(offset) + Int(count) * blockBytes
        case .perform, .performZeroes, .lbaStatus, .commandEnded, .finished: nil
        }
    }

    /// One word for what it is.
    var kind: String {
        switch self {
        case .perform(.read, _): "read"
        case .perform(.write, _): "write"
        case .perform(.flush, _): "flush"
        case .perform(.discard, _): "discard"
        case .perform(.prefetch, _): "prefetch"
        case .performZeroes, .perform(.zeroes, _): "zeroes"
        case .lbaStatus: "status"
        case .commandEnded: "pause"
        case .finished: "reply"
        }
    }
}

private func withBytes<Result>(of bytes: inout [UInt8], _ body: (inout MutableRawSpan) -> Result) -> Result {
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    return body(&raw)
}

/// Copies with memcpy: element by element, a debug build takes seconds for a large request.
func copy(_ source: [UInt8], _ from: Int, to target: inout [UInt8], _ start: Int, _ count: Int) {
    precondition(from + count <= source.count && start + count <= target.count)
    source.withUnsafeBytes { source in
        target.withUnsafeMutableBytes { _ = memcpy($0.baseAddress! + start, source.baseAddress! + from, count) }
    }
}

func fill(_ target: inout [UInt8], _ range: Range<Int>, with value: UInt8) {
    precondition(range.upperBound <= target.count)
    guard !range.isEmpty else { return }
    target.withUnsafeMutableBytes { _ = memset($0.baseAddress! + range.lowerBound, Int32(value), range.count) }
}

/// The first byte in which two arrays differ, for a failure that says where; nil when they are equal.
func firstDifference(_ one: [UInt8], _ other: [UInt8]) -> Int? {
    guard one.count == other.count else { return min(one.count, other.count) }
    let same = one.withUnsafeBytes { one in
        other.withUnsafeBytes { one.isEmpty || memcmp(one.baseAddress!, $0.baseAddress!, one.count) == 0 }
    }
    return same ? nil : one.indices.first { one[$0] != other[$0] }
}
