// Every kind of payload over every link, in every size, and with everything that can go wrong: what a client reads is
// what the image has, and what fails fails as a read into memory does.

import Blocks
import Counters
import Foundation
import IOUring
import Seeded
import Support
import TLS
import Testing

@testable import Backends
@testable import Loop
@testable import LoopSupport

extension Backend {
    /// A backend whose page cache is sent from on any file system, also where a server would not, because it may wait.
    func mapped() throws -> Backend {
        guard case .file(var file) = kind else { throw POSIXError(.EINVAL) }
        file.mapping = FileMapping(file.bufferedDescriptor, sizeBytes: sizeBytes)
        try #require(file.mapping != nil)
        return Backend(
            kind: .file(file), sizeBytes: sizeBytes, isReadOnly: isReadOnly, granularityBytes: granularityBytes,
            zeroesFastByDeallocating: zeroesFastByDeallocating, zeroesFastAllocated: zeroesFastAllocated)
    }
}

@Suite struct PayloadTests {
    private static let inputOutput: UInt32 = 5
    private static let kinds: [Payload.Kind?] = [nil, .pages, .mapped, .spliced, .piped]

    /// A kind that is forced, and whether requests pass a layer, which says where in a file their data are.
    struct Way: Sendable {
        var kind: Payload.Kind?
        var hasLayer = false
    }

    private static let ways =
        kinds.map { Way(kind: $0) } + [nil, .mapped, .spliced].map { Way(kind: $0, hasLayer: true) }
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    private func limits(_ kind: Payload.Kind?) -> Limits {
        var limits = Limits()
        limits.forcedPayload = kind
        return limits
    }

    /// Loops whose clients may begin TLS with a key.
    private func serve(_ backend: Backend, _ way: Way, _ key: TestKey) throws -> RunningLoops {
        let credentials = try TLSCredentials(certificates: nil, preSharedKeyFile: key.path, verifyPeer: false)
        return try RunningLoops(
            backend, limits: limits(way.kind), tls: TLSSettings(credentials: credentials, isRequired: false), in: folder
        ) { if way.hasLayer { $0.blocks.faults = Faults([], sizeBytes: backend.sizeBytes, blockSize: .smallest) } }
    }

    private func pattern(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var numbers = SeededGenerator(seed: seed)
        let piece = numbers.bytes(16_381)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + piece.count)
        while bytes.count < count { bytes += piece }
        return Array(bytes[..<count])
    }

    /// Sizes of which each request has one: inside a sector, small, around what is spliced and piped, middle, large.
    private static let sizes = [
        1...511, 512...8192, 32_000...33_500, 130_000...132_000, 262_144...262_144, 1 << 20...1 << 20,
        (1 << 20) + 1...3 << 20,
    ]

    /// A byte-array model of the image: WRITEs and READs by turns, several READs at a time.
    @Test(arguments: ways, TestedLink.allCases) func allAgreeWithAModel(way: Way, link: TestedLink) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        let size = 40 << 20
        var model = pattern(size, seed)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: model)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let key = try TestKey()
        let loops = try serve(backend, way, key)
        let clients = try [false, true].map { try PayloadClient(loops, link, chunks: $0, key: key) }
        for step in 0..<42 {
            let client = clients[step / 2 % 2]
            let count = Int.random(in: Self.sizes[step % Self.sizes.count], using: &numbers)
            if step % 2 == 0 {
                let isWhole = Bool.random(using: &numbers)
                let length = isWhole ? max(512, count / 512 * 512) : count
                let offset = Int.random(in: 0...(size - length) / 512 - 1, using: &numbers) * 512 + (isWhole ? 0 : 77)
                let bytes = numbers.bytes(length)
                try client.send(Client.header(.write, at: UInt64(offset), UInt32(length)) + bytes)
                try #require(client.answer([:]).error == 0, "seed \(seed), step \(step)")
                model.replaceSubrange(offset..<offset + length, with: bytes)
            }
            var ranges: [UInt64: Range<Int>] = [:]
            for cookie in 1...UInt64(step % 3 + 1) {
                let offset = Int.random(in: 0...size - count, using: &numbers)
                ranges[cookie] = offset..<offset + count
                try client.send(Client.header(.read, at: UInt64(offset), UInt32(count), cookie: cookie))
            }
            let lengths = ranges.mapValues(\.count)
            for _ in ranges {
                let answer = try client.answer(lengths)
                let range = try #require(ranges[answer.cookie], "seed \(seed), step \(step)")
                try #require(answer.data == Array(model[range]), "seed \(seed), step \(step)")
            }
        }
        // The longest request.
        let bytes = pattern(32 << 20, seed &+ 1)
        try clients[0].send(Client.header(.write, at: 4096, 32 << 20) + bytes)
        #expect(try clients[0].answer([:]).error == 0)
        for client in clients { #expect(try client.read(at: 4096, 32 << 20).data == bytes) }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
    }

    /// The file has shrunk under what is sent from the page cache: it reads as zeroes, as it does into memory.
    @Test(arguments: ways, TestedLink.allCases)
    func aFileThatHasShrunk(way: Way, link: TestedLink) throws {
        let size = 4 << 20
        let content = pattern(size, 3)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let key = try TestKey()
        let loops = try serve(backend, way, key)
        let clients = try [false, true].map { try PayloadClient(loops, link, chunks: $0, key: key) }
        // Known to be in the page cache.
        for _ in 0..<8 { #expect(try clients[0].read(at: 0, 1 << 20).data == Array(content[..<(1 << 20)])) }
        let end = 300_001
        #expect(truncate(path, off_t(end)) == 0)
        let expected = Array(content[..<end]) + [UInt8](repeating: 0, count: size - end)
        for (offset, count) in [(299_000, 4096), (0, 1 << 20), (299_900, 20_000), (2 << 20, 1 << 20), (3_000_000, 1)] {
            for client in clients {
                let answer = try client.read(at: UInt64(offset), count)
                #expect(answer.error == 0)
                #expect(answer.data == Array(expected[offset..<offset + count]), "\(count) bytes at \(offset)")
            }
        }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
    }

    /// Sectors that cannot be read: however the data were to be sent, the drive says so, with the place where the
    /// protocol has one, and the connection goes on.
    @Test(
        .enabled(if: FaultyFile.canBeMade, "only root may mount"), arguments: ways, TestedLink.allCases)
    func aMediumThatFails(way: Way, link: TestedLink) throws {
        let size = 2 << 20
        let content = pattern(size, 4)
        let broken = 1500
        let page = broken * 512 / 4096 * 4096
        let file = try FaultyFile(content: content, brokenSectors: [broken])
        defer { withExtendedLifetime(file) {} }
        let backend = try Backend(path: file.path, cache: .writeback, readOnly: true).mapped()
        defer { backend.close() }
        let key = try TestKey()
        let reference = try serve(backend, Way(kind: .pages), key)
        let loops = try serve(backend, way, key)
        for chunks in [false, true] {
            let expecting = try PayloadClient(reference, link, chunks: chunks, key: key)
            let client = try PayloadClient(loops, link, chunks: chunks, key: key)
            // Spliced, nothing leaves before all is there, as much as a pipe has room for. Mapped, sockets take pieces.
            let ranges =
                [(page, 4096), (page - 4096, 8192), (page - 100, 200), (page - 8192, 16_384)]
                + (way.kind != .mapped ? [(page - 200_000, 262_144), (page - 500_001, 600_000)] : [])
            for (offset, count) in ranges {
                let answer = try client.read(at: UInt64(offset), count)
                #expect(answer.error == Self.inputOutput)
                #expect(answer == (try expecting.read(at: UInt64(offset), count)), "\(count) bytes at \(offset)")
                #expect(answer.failedOffset == (chunks ? UInt64(page) : nil))
                #expect(!chunks || answer.data == Array(content[offset..<page]))
            }
            // Among others that succeed, each has its answer.
            for cookie in 1...12 as ClosedRange<UInt64> {
                let offset = cookie % 3 == 0 ? page : Int(cookie) * 8192
                try client.send(Client.header(.read, at: UInt64(offset), 4096, cookie: cookie))
            }
            var failed: Set<UInt64> = []
            let lengths = Dictionary(uniqueKeysWithValues: (1...12).map { (UInt64($0), 4096) })
            for _ in lengths {
                let answer = try client.answer(lengths)
                if answer.error != 0 { failed.insert(answer.cookie) }
                let start = Int(answer.cookie) * 8192
                #expect(answer.error != 0 || answer.data == Array(content[start..<start + 4096]))
            }
            #expect(failed == [3, 6, 9, 12])
            client.connection.close()
            expecting.connection.close()
        }
        #expect(try loops.stop() && reference.stop())
    }

    /// Sectors that cannot be written: however the data come, the drive says so, what lies beside the write is as it
    /// was, and the connection goes on.
    @Test(
        .enabled(if: FaultyFile.canBeMade, "only root may mount"), arguments: kinds, TestedLink.allCases)
    func aWriteThatFails(kind: Payload.Kind?, link: TestedLink) throws {
        let way = Way(kind: kind)
        let size = 4 << 20
        var model = pattern(size, 8)
        let worn = 3000
        let place = worn * 512
        let file = try FaultyFile(content: model, wornSectors: [worn])
        defer { withExtendedLifetime(file) {} }
        let backend = try Backend(path: file.path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let key = try TestKey()
        let loops = try serve(backend, way, key)
        let client = try PayloadClient(loops, link, chunks: true, key: key)
        let ranges = [
            (place, 512), (place - 4096, 8192), (place - 77, 4096), (place - 60_000, 1 << 17),
            (place - (1 << 17), 1 << 18), (place - 4096, 1 << 19), (place - 500_000 / 512 * 512, 1 << 20),
        ]
        for (number, (offset, count)) in ranges.enumerated() {
            let bytes = pattern(count, UInt64(100 + number))
            try client.send(Client.header(.write, at: UInt64(offset), UInt32(count)) + bytes)
            #expect(try client.answer([:]).error == Self.inputOutput, "\(count) bytes at \(offset)")
            let stored = try client.read(at: 0, size).data
            // Of the failed write any sector may be there.
            let sectors = offset / 512..<(offset + count + 511) / 512
            for sector in sectors {
                let range = max(sector * 512, offset)..<min(sector * 512 + 512, offset + count)
                let isNew = stored[range].elementsEqual(bytes[range.lowerBound - offset..<range.upperBound - offset])
                #expect(isNew || stored[range].elementsEqual(model[range]), "sector \(sector), \(count) at \(offset)")
                if isNew { model.replaceSubrange(range, with: stored[range]) }
            }
            #expect(stored == model, "\(count) bytes at \(offset)")
        }
        // Among others that succeed, each has its answer.
        let bytes = pattern(1 << 17, 9)
        for cookie in 0..<6 as Range<UInt64> {
            let offset = cookie % 3 == 1 ? place - 4096 : Int(cookie) << 18
            try client.send(Client.header(.write, at: UInt64(offset), 1 << 17, cookie: cookie) + bytes)
        }
        var failed: Set<UInt64> = []
        for _ in 0..<6 {
            let answer = try client.answer([:])
            if answer.error != 0 { failed.insert(answer.cookie) }
        }
        #expect(failed == [1, 4])
        for number in [0, 2, 3, 5] { #expect(try client.read(at: UInt64(number << 18), 1 << 17).data == bytes) }
        client.connection.close()
        #expect(try loops.stop())
    }

    /// The data are under way when the medium fails: the connection ends, and others go on.
    @Test(
        .enabled(if: FaultyFile.canBeMade, "only root may mount"), arguments: [Payload.Kind.mapped, .spliced],
        [false, true])
    func aMediumThatFailsInTheMiddleOfAReply(kind: Payload.Kind, chunks: Bool) throws {
        let size = 2 << 20
        let content = pattern(size, 5)
        // Behind what the pipe has room for, or a socket takes at a time.
        let file = try FaultyFile(content: content, brokenSectors: [(1 << 20) / 512 - 1])
        defer { withExtendedLifetime(file) {} }
        let backend = try Backend(path: file.path, cache: .writeback, readOnly: true).mapped()
        defer { backend.close() }
        let loops = try RunningLoops(backend, limits: limits(kind), in: folder)
        let client = try PayloadClient(loops, .unix, chunks: chunks)
        let other = try PayloadClient(loops, .unix, chunks: chunks)
        try client.send(Client.header(.read, at: 0, 1 << 20))
        let header = try client.receive(chunks ? 28 : 16)
        #expect(header[0] == (chunks ? 0x66 : 0x67))
        var received = 0
        #expect(throws: RawConnection.Failure.self) {
            while received < 1 << 20 {
                let piece = try client.receive(4096)
                #expect(piece == Array(content[received..<received + 4096]))
                received += 4096
            }
        }
        #expect(received < 1 << 20)
        #expect(try other.read(at: 1 << 20, 65_536).data == Array(content[(1 << 20)...][..<((1 << 20) + 65_536)]))
        other.connection.close()
        #expect(try loops.stop())
    }

    /// Clients that go away in the middle of replies and payloads, or read them late; memory and pipes come back.
    @Test(arguments: ways, TestedLink.allCases) func clientsThatVanish(way: Way, link: TestedLink) throws {
        let size = 4 << 20
        let content = pattern(size, 6)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let key = try TestKey()
        let loops = try serve(backend, way, key)
        for round in 0..<6 {
            let client = try PayloadClient(loops, link, chunks: round % 2 == 0, key: key)
            let isReading = round < 3
            for cookie in 0..<UInt64(isReading ? 40 : 4) {
                if isReading {
                    try client.send(Client.header(.read, at: 4096, 1 << 18, cookie: cookie))
                } else {
                    try client.send(
                        Client.header(.write, at: 0, 1 << 18, cookie: cookie) + content[..<(1 << 18)])
                }
            }
            _ = try client.receive(16)
            if !isReading {
                try client.send(Client.header(.write, at: 0, 1 << 18) + [UInt8](repeating: 9, count: 100_000))
            }
            client.connection.close()
        }
        let last = try PayloadClient(loops, link, chunks: false, key: key)
        #expect(try last.read(at: 0, 1 << 20).data == Array(content[..<(1 << 20)]))
        last.connection.close()
        #expect(try loops.stop(), "a connection has been forgotten")
    }

    /// Replies wait for a client that does not read, and meanwhile the pages go: what had begun goes on with what the
    /// drive reads, and the connection's memory is no hindrance.
    @Test(arguments: ways.filter { ![.pages, .piped].contains($0.kind) }, TestedLink.allCases)
    func pagesThatGoAway(way: Way, link: TestedLink) throws {
        let size = 4 << 20
        let content = pattern(size, 7)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let key = try TestKey()
        let loops = try serve(backend, way, key)
        let client = try PayloadClient(loops, link, chunks: false, key: key)
        let count = 1 << 20
        for _ in 0..<8 { #expect(try client.read(at: 0, count).data == Array(content[..<count])) }
        for cookie in 0..<60 as Range<UInt64> {
            try client.send(Client.header(.read, at: cookie % 4 * 4096, UInt32(count), cookie: cookie))
        }
        var header = try client.receive(16)
        let file = open(path, O_RDWR)
        defer { close(file) }
        #expect(fsync(file) == 0)
        backend.pageCache?.dropMappedPages()
        #expect(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0)
        for number in 0..<60 {
            if number > 0 { header = try client.receive(16) }
            try #require(Array(header[..<8]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0])
            let offset = Int(header[15] % 4) * 4096
            try #require(try client.receive(count) == Array(content[offset..<offset + count]), "reply \(number)")
        }
        client.connection.close()
        #expect(try loops.stop())
    }

    /// A client asks for more than its connection's memory has room for, and takes nothing: what is answered
    /// nevertheless waits in the page cache.
    @Test(arguments: [false, true]) func whatIsMappedTakesNoMemory(hasLayer: Bool) throws {
        let count = 1 << 19
        let content = pattern(4 << 20, 10)
        let path = try folder.file("disk.img", sizeBytes: 4 << 20, beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false).mapped()
        defer { backend.close() }
        let key = try TestKey()
        let loops = try serve(backend, Way(kind: .mapped, hasLayer: hasLayer), key)
        let client = try PayloadClient(loops, .unix, chunks: false)
        for _ in 0..<8 { #expect(try client.read(at: 0, count).data == Array(content[..<count])) }
        let entry = loops.entry
        func answered() -> UInt64 { entry.counters.figures().commands[CommandKind.read.rawValue].requests }
        let before = answered()
        for cookie in 0..<16 as Range<UInt64> {
            try client.send(Client.header(.read, at: 0, UInt32(count), cookie: cookie))
        }
        try waitUntil("16 are answered, and not \(answered() - before)") { answered() == before + 16 }
        for _ in 0..<16 {
            #expect(try client.receive(16).prefix(8) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0])
            #expect(try client.receive(count) == Array(content[..<count]))
        }
        client.connection.close()
        #expect(try loops.stop())
    }
}
