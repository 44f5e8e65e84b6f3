// Every request that moves data or state becomes SCSI commands, and these taskfiles: how many, and for which sectors.

import ATA
import Export
import NBD
import Testing

@Suite struct RoadTests {
    /// A request, and what it has to become.
    struct Row: CustomTestStringConvertible {
        var command: NBD.Command
        var offset: UInt64
        var length: UInt32
        var flags: CommandFlags = []
        /// SCSI commands; each of these is one taskfile.
        var commands: UInt64
        /// The kinds of steps for the medium.
        var kinds: [String]

        var testDescription: String { "\(command) of \(length) bytes at \(offset)" }

        static let all = [
            Row(command: .read, offset: 0, length: 4096, commands: 1, kinds: ["read"]),
            Row(command: .read, offset: 513, length: 1, commands: 1, kinds: ["read"]),
            Row(command: .read, offset: 1, length: 4096, commands: 1, kinds: ["read"]),
            // A command carries 65,528 sectors: what a taskfile can, in whole 4 KiB.
            Row(command: .read, offset: 0, length: 65_528 * 512, commands: 1, kinds: ["read"]),
            Row(command: .read, offset: 0, length: 1 << 25, commands: 2, kinds: ["read", "read"]),
            Row(command: .write, offset: 0, length: 4096, commands: 1, kinds: ["write"]),
            Row(command: .write, offset: 512, length: 1 << 25, commands: 2, kinds: ["write", "write"]),
            // Partial sectors are read first.
            Row(command: .write, offset: 100, length: 10, commands: 2, kinds: ["read", "write"]),
            Row(command: .write, offset: 0, length: 10, commands: 2, kinds: ["read", "write"]),
            Row(command: .write, offset: 502, length: 10, commands: 2, kinds: ["read", "write"]),
            Row(command: .write, offset: 511, length: 2, commands: 3, kinds: ["read", "read", "write"]),
            Row(command: .write, offset: 100, length: 5020, commands: 2, kinds: ["read", "write"]),
            Row(command: .write, offset: 512, length: 5020, commands: 2, kinds: ["read", "write"]),
            Row(command: .flush, offset: 0, length: 0, commands: 1, kinds: ["flush"]),
            Row(command: .trim, offset: 512, length: 512, commands: 1, kinds: ["discard"]),
            // No whole sector: nothing that could be given back.
            Row(command: .trim, offset: 1, length: 511, commands: 0, kinds: []),
            Row(command: .trim, offset: 511, length: 513, commands: 1, kinds: ["discard"]),
            // 64 ranges of 65,535 sectors are one list, and one run of sectors.
            Row(command: .trim, offset: 0, length: 64 * 65_535 * 512, commands: 1, kinds: ["discard"]),
            Row(command: .trim, offset: 0, length: .max, commands: 3, kinds: ["discard", "discard", "discard"]),
            Row(command: .writeZeroes, offset: 0, length: 65_528 * 512, commands: 1, kinds: ["zeroes"]),
            Row(command: .writeZeroes, offset: 0, length: 65_529 * 512, commands: 2, kinds: ["zeroes", "zeroes"]),
            Row(
                command: .writeZeroes, offset: 512, length: 4_294_966_784, flags: .noHole, commands: 129,
                kinds: Array(repeating: "zeroes", count: 129)),
            Row(command: .writeZeroes, offset: 600, length: 8, commands: 2, kinds: ["read", "write"]),
            Row(
                command: .writeZeroes, offset: 500, length: 2000, flags: .noHole, commands: 5,
                kinds: ["read", "write", "read", "write", "zeroes"]),
            Row(
                command: .writeZeroes, offset: 500, length: 24, commands: 4, kinds: ["read", "write", "read", "write"]),
            Row(command: .cache, offset: 700, length: 4096, commands: 1, kinds: ["prefetch"]),
            Row(command: .cache, offset: 0, length: 65_529 * 512, commands: 2, kinds: ["prefetch", "prefetch"]),
        ]
    }

    @Test(arguments: Row.all, Controller.allCases)
    func taskfilesOfARequest(row: Row, controller: Controller) throws {
        var bench = Bench(sectors: 1 << 24, controller: controller, hasDisk: false)
        let payload = row.command == .write ? [UInt8](repeating: 1, count: Int(row.length)) : []
        let served = try bench.serve(row.command, at: row.offset, row.length, flags: row.flags, payload: payload)
        #expect(served.error == nil)
        #expect(served.commands == row.commands)
        #expect(served.taskfiles == row.commands)
        #expect(served.steps.map(\.kind) == row.kinds)
        #expect(bench.export.requestsServed == 1)
        try expectCovered(row, served)
    }

    /// The steps cover the sectors of the request, each once, in order, and nothing else.
    private func expectCovered(_ row: Row, _ served: Served) throws {
        let end = row.offset + UInt64(row.length)
        switch row.command {
        case .read, .cache, .write:
            let kind = row.command == .write ? "write" : nil
            let ranges = served.steps.filter { kind == nil || $0.kind == kind }.compactMap(\.sectors)
            #expect(ranges.first?.lowerBound == row.offset / 512)
            #expect(ranges.last?.upperBound == (end + 511) / 512)
            for (one, next) in zip(ranges, ranges.dropFirst()) { #expect(one.upperBound == next.lowerBound) }
        case .trim, .writeZeroes:
            let ranges = served.steps.filter { ["discard", "zeroes"].contains($0.kind) }.compactMap(\.sectors)
            guard !ranges.isEmpty else { return }
            #expect(ranges.first?.lowerBound == (row.offset + 511) / 512)
            #expect(ranges.last?.upperBound == end / 512)
            for (one, next) in zip(ranges, ranges.dropFirst()) { #expect(one.upperBound == next.lowerBound) }
        default:
            break
        }
    }

    /// With the write cache off, a write is stable when it is answered: each taskfile that writes ends with a flush.
    @Test(arguments: Controller.allCases)
    func withoutWriteCacheEveryWriteIsFlushed(controller: Controller) throws {
        var bench = Bench(sectors: 100_000, controller: controller) { $0.writeCache = .off }
        let bytes = [UInt8](repeating: 7, count: 1000)
        #expect(
            try bench.serve(.write, at: 0, 512, payload: Array(bytes.prefix(512))).steps.map(\.kind) == [
                "write", "flush",
            ])
        #expect(
            try bench.serve(.write, at: 24, 1000, payload: bytes).steps.map(\.kind) == ["read", "write", "flush"])
        #expect(try bench.serve(.writeZeroes, at: 512, 1024).steps.map(\.kind) == ["zeroes", "flush"])
        let pieces = try bench.serve(.writeZeroes, at: 0, 65_529 * 512).steps.map(\.kind)
        #expect(pieces == ["zeroes", "flush", "zeroes", "flush"])
        let edges = try bench.serve(.writeZeroes, at: 500, 24).steps.map(\.kind)
        #expect(edges == ["read", "write", "flush", "read", "write", "flush"])
        #expect(try bench.serve(.read, at: 0, 512).steps.map(\.kind) == ["read"])
    }

    /// The sizes around which the commands change: 28-bit addresses, and the last that 48 bits can name.
    @Test(
        arguments: Controller.allCases,
        [1, 2, (1 << 28) - 1, 1 << 28, (1 << 28) + 1, (1 << 32) + 3, (1 << 48) - 1, 1 << 48] as [UInt64])
    func theEndOfADriveOfAnySize(controller: Controller, sectors: UInt64) throws {
        var bench = Bench(sectors: sectors, controller: controller, hasDisk: false)
        let size = sectors * 512
        #expect(try bench.information().sizeBytes == size)
        let last = sectors - 1
        #expect(
            try bench.serve(.read, at: size - 512, 512).steps == [
                .perform(.read(lba: last, count: 1), bufferOffset: 0)
            ])
        #expect(
            try bench.serve(.read, at: size - 1, 1).steps == [.perform(.read(lba: last, count: 1), bufferOffset: 0)])
        let written = try bench.serve(.write, at: size - 512, 512, payload: [UInt8](repeating: 1, count: 512))
        #expect(written.steps == [.perform(.write(lba: last, count: 1), bufferOffset: 0)])
        let completed = try bench.serve(.write, at: size - 1, 1, payload: [1])
        #expect(completed.steps.compactMap(\.sectors) == [last..<sectors, last..<sectors])
        #expect(try bench.serve(.writeZeroes, at: size - 512, 512).steps.compactMap(\.sectors) == [last..<sectors])
        #expect(try bench.serve(.trim, at: size - 512, 512).steps.compactMap(\.sectors) == [last..<sectors])
        #expect(try bench.serve(.cache, at: size - 512, 512).steps.compactMap(\.sectors) == [last..<sectors])
        #expect(try bench.serve(.flush).steps == [.perform(.flush, bufferOffset: 0)])
        // As much as one request can have, up to the end.
        let length = UInt32(min(size, 0xFFFF_FE00))
        for command in [NBD.Command.trim, .writeZeroes, .cache] {
            let served = try bench.serve(command, at: size - UInt64(length), length)
            #expect(served.error == nil)
            #expect(served.steps.compactMap(\.sectors).map { $0.count }.reduce(0, +) == Int(length / 512))
            #expect(served.steps.last?.sectors?.upperBound == sectors)
        }
    }

    /// A request that was refused has an answer to carry, and nothing to do.
    @Test func aRefusedRequestOnlyHasACookie() {
        let header = RequestHeader(
            type: 0xFFFF, flags: CommandFlags(rawValue: 0xFFFF), cookie: .max, offsetBytes: .max, lengthBytes: .max)
        let request = ServedRequest(Request(refusing: header, unit: 0), blockSize: .smallest)
        #expect(request.request.cookie == .max)
        #expect(!request.writes)
        #expect(request.bufferNeeds == BufferNeedsOfNothing.value)
        #expect(!request.needsToBeAlone(granularityBytes: 512))
    }

    private enum BufferNeedsOfNothing {
        static let value = ServedRequest(
            Request(RequestHeader(type: NBD.Command.flush.rawValue), as: .flush, unit: 0), blockSize: .smallest
        ).bufferNeeds
    }

    /// FUA goes with the command: a drive without NCQ has none, and nothing is written as if it had.
    @Test func forceUnitAccessReachesTheDrive() throws {
        let payload = [UInt8](repeating: 1, count: 512)
        var parallel = Bench(sectors: 64)
        #expect(try parallel.serve(.write, at: 0, 512, flags: .fua, payload: payload).error == .invalidArgument)
        #expect(try parallel.serve(.write, at: 0, 512, payload: payload).error == nil)
        var serial = Bench(sectors: 64, controller: .ich9AHCI)
        #expect(try serial.serve(.write, at: 0, 512, flags: .fua, payload: payload).error == nil)
    }
}
