// Taskfiles, one after the other, on one drive (ACS-4; the obsolete commands ATA/ATAPI-5).

import ATA
import Blocks

/// The first byte chooses the drive. Then come commands of 16 bytes: the registers as ``Host/taskfile(_:)`` reads them,
/// how its blocks end, whether the image is resized, how much room there is for what a packet answers, and how many
/// eighths of a sector of data follow. To a DVD-ROM, the data of PACKET begin with the packet.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count >= 1 else { return 0 }
    var rest = Array(UnsafeBufferPointer(start: data + 1, count: count - 1))[...]
    var host = Host(data[0])
    while rest.count >= 16 {
        let command = Array(rest.prefix(16))
        rest = rest.dropFirst(16)
        let given = Array(rest.prefix(Int(command[15]) * 64))
        rest = rest.dropFirst(given.count)
        host.send(command, given)
    }
    return 0
}

/// A drive, and who gives it commands.
struct Host {
    /// A few sectors, and sizes around which addresses change their form.
    static let sizes: [UInt64] = [5, 1 << 24 + 5, 1 << 28 + 5, 1 << 48 - 1]

    var drive: Drive
    /// Commands that the drive was given.
    var count: UInt64 = 0

    init(_ choice: UInt8) {
        let isWhole = choice & 48 == 48
        let other = isWhole ? (choice & 8 == 0 ? DriveKind.hardDisk : .solidState) : .dvdROM
        var properties = DriveProperties(choice & 32 == 0 ? .disk : other)
        properties.unit = choice >> 2 & 1
        if choice & 32 == 0 || isWhole { properties.writeCache = choice & 2 == 0 ? .on : .off }
        if choice & 32 == 0 {
            if choice & 8 != 0 { properties.geometry = Geometry(cylinders: 2, heads: 16, sectorsPerTrack: 63) }
            if choice & 16 != 0, let size = BlockSize(bytes: 4096) { properties.logicalBlockSize = size }
        }
        drive = Drive(
            properties, sectors: Self.sizes[Int(choice >> 6)], bootSector: nil,
            controller: choice & 1 == 0 ? .piix3IDE : .ich9AHCI)
        drive.powerOn(at: 0)
    }

    /// Feature and count with their previous content first, then six bytes of LBA, the device and the command register.
    static func taskfile(_ bytes: [UInt8]) -> Taskfile {
        Taskfile(
            command: bytes[11], feature: UInt16(bytes[0]) << 8 | UInt16(bytes[1]),
            count: UInt16(bytes[2]) << 8 | UInt16(bytes[3]),
            lba: bytes[4..<10].reduce(0) { $0 << 8 | UInt64($1) }, device: bytes[10])
    }

    mutating func send(_ bytes: [UInt8], _ data: [UInt8]) {
        if bytes[13] != 0 { drive.resize(toSectors: Self.sizes[Int(bytes[13] & 3)]) }
        let outcomes: [BlockOutcome] = [
            .done, .failed(.unrecovered, afterBytes: UInt64(bytes[12]) << 7), .failed(.noSpace, afterBytes: .max),
            .failed(.writeProtected),
        ]
        let outcome = outcomes[Int(bytes[12] & 3)]
        // Half a minute goes by.
        drive.noteTime(count * 30_000_000_000)
        var command = CommandInProgress(Self.taskfile(bytes))
        let isPacket = drive.kind == .dvdROM && command.taskfile.command == Command.packet.rawValue
        var answer = [UInt8](repeating: 0, count: Int(bytes[14]) * 16)
        var answerSpan = answer.mutableSpan
        var reply = answerSpan.mutableBytes
        var step =
            isPacket
            ? drive.begin(&command, packet: CommandPacket { $0 < data.count ? data[$0] : 0 }, reply: &reply)
            : drive.begin(&command, data: data.span.bytes)
        count += 1
        precondition(drive.taskfilesExecuted == count, "each command counts once")
        var asked: UInt64 = 0
        // The longest: a DATA SET MANAGEMENT has a step for each of its ranges, an erase for each 2^31 sectors.
        for _ in 0...1 << 17 {
            switch step {
            case .blocks(let request):
                asked += check(request)
                step =
                    isPacket
                    ? drive.resume(&command, outcome, reply: &reply)
                    : drive.resume(&command, outcome, data: data.span.bytes)
            case .finished(let result): return check(result, command.taskfile, asked)
            case .dataIn(let page, let result):
                precondition(result.status == Status.done && asked == 0, "a page comes with a good status")
                var bytes = [UInt8](repeating: 0, count: page.byteCount)
                var span = bytes.mutableSpan
                var raw = span.mutableBytes
                drive.copy(page, into: &raw)
                return check(result, command.taskfile, asked)
            case .packetEnded(_, let result):
                precondition(isPacket, "no disk has packets")
                return checkPacket(result)
            }
        }
        // READ CD has a step for each block of a disc; a host may leave it.
        precondition(isPacket, "a command does not end")
    }

    /// Sectors that are transferred.
    private func check(_ request: BlockRequest) -> UInt64 {
        switch request {
        case .flush: return 0
        case .read(let lba, let count), .write(let lba, let count):
            precondition(isInside(lba, count), "\(request)")
            return UInt64(count)
        case .discard(let lba, let count), .prefetch(let lba, let count):
            precondition(isInside(lba, count), "\(request)")
            return 0
        case .zeroes(let lba, let count, _):
            let sectors = drive.mediumSectors
            precondition(count > 0 && lba < sectors && UInt64(count) <= sectors - lba, "\(request)")
            return UInt64(count)
        }
    }

    private func check(_ result: TaskfileResult, _ taskfile: Taskfile, _ asked: UInt64) {
        let isDiagnostic = taskfile.command == Command.executeDeviceDiagnostic.rawValue
        let hasFailed = result.status & Status.error != 0
        precondition(result.status & Status.busy == 0, "a command that has ended is busy")
        let bits =
            [ErrorRegister.abort]
            + (drive.kind.isWholeDisk ? [ErrorRegister.idNotFound, ErrorRegister.uncorrectable] : [])
        precondition(isDiagnostic || hasFailed == bits.contains(result.error), "an error without its bit")
        precondition(result.blockFailure == nil || hasFailed, "blocks have failed, the command has not")
        precondition(UInt64(result.sectorsTransferred) <= asked, "more was transferred than was asked for")
        precondition(result.lba < 1 << 48, "an address has 48 bits")
    }

    private func checkPacket(_ result: TaskfileResult) {
        let hasFailed = result.status & Status.error != 0
        precondition(result.status & Status.busy == 0, "a packet that has ended is busy")
        precondition(hasFailed == (result.error != 0), "an error without its bit")
        precondition(result.blockFailure == nil || hasFailed, "blocks have failed, the packet has not")
    }

    private func isInside(_ lba: UInt64, _ count: UInt32) -> Bool {
        count > 0 && lba < drive.sectors && UInt64(count) <= drive.sectors - lba
    }
}
