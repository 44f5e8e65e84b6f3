// Random requests against an array of bytes that does what the NBD protocol says: after each, the disk that the drive's
// steps were performed on holds the same bytes.

import ATA
import Blocks
import Export
import NBD
import Seeded
import Testing

@Suite struct ModelTests {
    /// The kinds of drives that make a difference on the way.
    struct Kind: CustomTestStringConvertible {
        var controller: Controller
        var hasWriteCache: Bool
        var trims: Bool

        static let all = Controller.allCases.flatMap { controller in
            [(true, true), (false, true), (true, false)].map {
                Kind(controller: controller, hasWriteCache: $0.0, trims: $0.1)
            }
        }
        var testDescription: String {
            "\(controller.rawValue), write cache \(hasWriteCache ? "on" : "off")\(trims ? "" : ", no TRIM")"
        }

        func bench(sectors: UInt64, blockSize: BlockSize = .smallest) -> Bench {
            Bench(sectors: sectors, controller: controller) {
                $0.logicalBlockSize = blockSize
                $0.writeCache = hasWriteCache ? .on : .off
                $0.supportsTrim = trims
            }
        }
    }

    /// A sound request, made up from numbers.
    struct RandomRequest {
        var command: NBD.Command
        var flags: CommandFlags = []
        var offset: UInt64 = 0
        var length: UInt32 = 0

        init(size: UInt64, longest: UInt64, trims: Bool, flushes: Bool, using generator: inout SeededGenerator) {
            var commands: [NBD.Command] = [.read, .read, .write, .write, .writeZeroes, .cache]
            if trims { commands.append(.trim) }
            if flushes { commands.append(.flush) }
            command = commands.randomElement(using: &generator)!
            if command == .flush { return }
            if command == .read && Bool.random(using: &generator) { flags = .df }
            if command == .writeZeroes {
                flags = ([[], .noHole, .fastZero, [.noHole, .fastZero]] as [CommandFlags]).randomElement(
                    using: &generator)!
            }
            // Whole sectors, whole pages or bytes; a third ends with the disk.
            let unit = ([1, 1, 512, 4096] as [UInt64]).randomElement(using: &generator)!
            let longestHere = [longest, 2000, 600].randomElement(using: &generator)!
            let bytes = max(UInt64.random(in: 1...min(longestHere, size), using: &generator) / unit, 1) * unit
            length = UInt32(min(bytes, size))
            let last = size - UInt64(length)
            offset = Int.random(in: 0..<3, using: &generator) == 0 ? last : .random(in: 0...last, using: &generator)
            if offset != last { offset = offset / unit * unit }
        }
    }

    @Test(arguments: Kind.all, [UInt64(1), 3, 700])
    func randomRequests(kind: Kind, sectors: UInt64) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var bench = kind.bench(sectors: sectors)
        try check(&bench, kind, count: 600, longest: 200 * 512, seed: seed, &generator)
    }

    /// A drive whose logical sectors are larger: everything follows from its IDENTIFY DEVICE data.
    @Test(arguments: Controller.allCases, [UInt32(1024), 4096])
    func sectorsOfAnySize(controller: Controller, bytes: UInt32) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let kind = Kind(controller: controller, hasWriteCache: true, trims: true)
        var bench = kind.bench(sectors: 90, blockSize: try #require(BlockSize(bytes: bytes)))
        #expect(bench.export.drive.identifyData.logicalSectorBytes == bytes)
        #expect(bench.export.sizeBytes == 90 * UInt64(bytes) && bench.disk.count == 90 * Int(bytes))
        #expect(try bench.information().blockSizes.minimumBytes == bytes)
        try check(&bench, kind, count: 600, longest: 40 * UInt64(bytes), seed: seed, &generator)
        bench.broken = 20
        let served = try bench.serve(.read, at: 3 * UInt64(bytes) + 7, 30 * bytes)
        #expect(served.error == .inputOutput && served.failedOffset == 20 * UInt64(bytes))
        #expect(served.goodData == Array(bench.disk[3 * Int(bytes) + 7..<20 * Int(bytes)]))
    }

    /// Requests of more sectors than a SCSI command is sent for.
    @Test(arguments: Controller.allCases)
    func longRequests(controller: Controller) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let kind = Kind(controller: controller, hasWriteCache: true, trims: true)
        var bench = kind.bench(sectors: 66_000)
        var longest = 0
        for command in [NBD.Command.read, .write, .writeZeroes, .trim] {
            let size = bench.export.sizeBytes
            var request = RandomRequest(size: size, longest: 1, trims: false, flushes: false, using: &generator)
            request.command = command
            request.flags = []
            // 32 MiB that begin and end in the middle of a sector: 65,537 of them.
            request.length = 1 << 25
            request.offset = UInt64.random(in: 1...200_000, using: &generator) | 1
            var model = bench.disk
            let served = try check(request, &bench, &model, &generator, "seed \(seed)")
            longest = max(longest, Int(served.commands))
        }
        #expect(longest >= 2)
    }

    private func check(
        _ bench: inout Bench, _ kind: Kind, count: Int, longest: UInt64, seed: UInt64,
        _ generator: inout SeededGenerator
    ) throws {
        let size = bench.export.sizeBytes
        let parameters = TransmissionParameters(
            export: try bench.information(), messages: .structured, hasAllocationContext: false,
            blockSizeAdvertised: false)
        var model = bench.disk
        for number in 0..<count {
            let request = RandomRequest(
                size: size, longest: longest, trims: kind.trims, flushes: kind.hasWriteCache, using: &generator)
            let header = RequestHeader(
                type: request.command.rawValue, flags: request.flags, offsetBytes: request.offset,
                lengthBytes: UInt64(request.length))
            guard case .perform(request.command) = header.validate(for: parameters) else {
                Issue.record("seed \(seed), number \(number): \(request) is sound, and was refused")
                return
            }
            try check(request, &bench, &model, &generator, "seed \(seed), number \(number)")
        }
        #expect(bench.export.requestsServed == UInt64(count), "seed \(seed)")
    }

    /// Serves one request and compares everything with what the protocol says.
    @discardableResult
    private func check(
        _ request: RandomRequest, _ bench: inout Bench, _ model: inout [UInt8], _ generator: inout SeededGenerator,
        _ place: String
    ) throws -> Served {
        let payload = request.command == .write ? generator.bytes(Int(request.length)) : []
        let served = try bench.serve(
            request.command, at: request.offset, request.length, flags: request.flags, payload: payload)
        let range = Int(request.offset)..<Int(request.offset) + Int(request.length)
        switch request.command {
        case .write: copy(payload, 0, to: &model, range.lowerBound, range.count)
        case .writeZeroes: fill(&model, range, with: 0)
        case .trim: fill(&model, wholeSectors(of: range, bench.blockBytes), with: Bench.discarded)
        default: break
        }
        try #require(served.error == nil, "\(place): \(request)")
        try #require(firstDifference(bench.disk, model) == nil, "\(place): \(request) left other bytes")
        if request.command == .read {
            var expected = [UInt8](repeating: 0, count: range.count)
            copy(model, range.lowerBound, to: &expected, 0, range.count)
            try #require(firstDifference(served.data, expected) == nil, "\(place): \(request) read other bytes")
        }
        for case .performZeroes(_, _, let mayDeallocate) in served.steps {
            try #require(mayDeallocate != request.flags.contains(.noHole), "\(place): \(request)")
        }
        // Nothing that has something to do gets around the drive.
        let hasNothingToDo = request.command == .trim && wholeSectors(of: range, bench.blockBytes).isEmpty
        try #require((served.taskfiles > 0) != hasNothingToDo, "\(place): \(request) took no taskfile")
        try #require(
            served.taskfiles >= served.commands && served.commands > 0 || hasNothingToDo, "\(place): \(request)")
        return served
    }

    /// The sectors that lie in a range with all their bytes, as bytes.
    private func wholeSectors(of range: Range<Int>, _ size: Int) -> Range<Int> {
        let first = (range.lowerBound + size - 1) / size * size
        return first..<max(first, range.upperBound / size * size)
    }
}
