// Reading qcow2 images: every cluster as it was stored, whatever is asked at the same time, and an end of each request
// whatever the tables say.

import Seeded
import Testing

@testable import Blocks

/// An image below a stack, with many requests under way at once, whose steps end in any order.
private struct ReadMedium {
    let chain: HandMadeChain
    var stack = BlockStack()
    private(set) var requests: [Running] = []
    /// Those that have something under way below.
    private(set) var pending: [Int] = []
    private var waiting: [Int] = []
    private(set) var stepCount = 0

    struct Running {
        var request: BackendRequest
        var task = BlockTask()
        var data: [UInt8]
        var pending: BackendRequest?
        var end: BlockStep?
    }

    init(_ image: HandMadeQcow2, blockSize: BlockSize = .smallest) throws {
        try self.init(HandMadeChain(image), blockSize: blockSize)
    }

    init(_ chain: HandMadeChain, blockSize: BlockSize = .smallest) throws {
        self.chain = chain
        let headers = try chain.images.map { try $0.header }
        stack.qcow2 = Qcow2(
            headers, rawBytes: chain.raw.map { UInt64($0.count) }, memory: allocated(Qcow2.memoryBytes(headers)),
            blockSize: blockSize)
    }

    mutating func begin(_ operation: BackendOperation, _ range: Range<Int>) {
        let request = BackendRequest(operation, offset: UInt64(range.lowerBound), length: UInt64(range.count))
        let data = [UInt8](repeating: 0xEE, count: operation == .read ? range.count : 0)
        requests.append(Running(request: request, data: data))
        let number = requests.count - 1
        take(advance(number) { $0.begin(request, &$1, &$2) }, number)
    }

    /// What was under way for a request has ended.
    mutating func end(_ number: Int, _ outcome: BlockOutcome = .done) throws {
        let below = try #require(requests[number].pending)
        requests[number].pending = nil
        pending.removeAll { $0 == number }
        if below.operation == .lookUp, outcome == .done {
            let extent = extent(below)
            return take(advance(number) { $0.resume(extent, &$1, &$2) }, number)
        }
        if outcome == .done { perform(below, number) }
        take(advance(number) { $0.resume(outcome, &$1, &$2) }, number)
    }

    /// Performs one alone, to its end.
    mutating func perform(_ operation: BackendOperation, _ range: Range<Int>) throws -> BlockStep {
        begin(operation, range)
        let number = requests.count - 1
        while requests[number].pending != nil { try end(number) }
        return try #require(requests[number].end, "nobody else is there to wait for")
    }

    private mutating func perform(_ below: BackendRequest, _ number: Int) {
        guard below.operation == .read else { return }
        let (start, count) = (Int(below.offset), Int(below.length))
        var bytes = Array(chain.file(below.file).dropFirst(start).prefix(count))
        bytes += [UInt8](repeating: 0, count: count - bytes.count)
        let place = Int(below.dataOffset)
        switch below.dataPlace {
        case .request: requests[number].data.replaceSubrange(place..<place + count, with: bytes)
        case .writeCache, .tables, .recording:
            stack.memory(of: below.dataPlace)?[place..<place + count].copyBytes(from: bytes)
        }
    }

    private func extent(_ below: BackendRequest) -> BackendExtent {
        let first = Int(below.offset) / 512
        let isMapped = HandMadeChain.isStored(first)
        let alike = (first..<first + Int(below.length) / 512).prefix { HandMadeChain.isStored($0) == isMapped }
        return BackendExtent(isMapped: isMapped, lengthBytes: UInt64(alike.count) * 512)
    }

    private mutating func advance(
        _ number: Int, _ body: (inout BlockStack, inout BlockTask, inout MutableRawSpan) -> BlockStep
    ) -> BlockStep {
        stepCount += 1
        var request = requests[number]
        let step = request.data.withMutableBytes { body(&stack, &request.task, &$0) }
        requests[number] = request
        return step
    }

    private mutating func take(_ step: BlockStep, _ number: Int) {
        note(step, number)
        while stack.takeWake() {
            let woken = waiting
            waiting = []
            for number in woken { note(advance(number) { $0.resume(.done, &$1, &$2) }, number) }
        }
    }

    private mutating func note(_ step: BlockStep, _ number: Int) {
        switch step {
        case .io(let below):
            // What lies behind the end of a raw file is no part of it.
            if let raw = chain.raw, Int(below.file) == chain.images.count {
                #expect(below.offset + below.length <= UInt64(raw.count))
            }
            requests[number].pending = below
            pending.append(number)
        case .waitForOthers: waiting.append(number)
        case .wait: Issue.record("nobody waits for time")
        case .finished, .failed, .found: requests[number].end = step
        }
    }
}

@Suite struct Qcow2Tests {
    private static let shapes = [
        HandMadeQcow2.Shape(version: 2, clusterBits: 9, sizeBytes: 90_112),
        HandMadeQcow2.Shape(clusterBits: 9, sizeBytes: 33_792),
        HandMadeQcow2.Shape(clusterBits: 12, sizeBytes: 301_056),
        HandMadeQcow2.Shape(version: 2, clusterBits: 16, sizeBytes: 1_000_448),
        HandMadeQcow2.Shape(clusterBits: 14, hasSubclusters: true, sizeBytes: 400_384),
        HandMadeQcow2.Shape(clusterBits: 16, hasSubclusters: true, sizeBytes: 1_000_448),
    ]

    private static func sectors(_ shape: HandMadeQcow2.Shape, _ generator: inout SeededGenerator) -> Range<Int> {
        let count = shape.sizeBytes / 512
        let first = Int.random(in: 0..<count, using: &generator)
        let most = min(count - first, Bool.random(using: &generator) ? 8 : count)
        return first * 512..<(first + .random(in: 1...most, using: &generator)) * 512
    }

    /// What a look-up may say: all of its extent is in the file, or none of it.
    private static func check(
        _ extent: BackendExtent, _ range: Range<Int>, _ chain: HandMadeChain, _ note: Comment
    ) {
        #expect(extent.lengthBytes > 0 && extent.lengthBytes <= range.count && extent.lengthBytes % 512 == 0, note)
        let first = range.lowerBound / 512
        for sector in first..<first + Int(extent.lengthBytes) / 512 {
            #expect(chain.isMapped(sector) == extent.isMapped, note)
        }
    }

    @Test(arguments: shapes)
    func manyRequestsAtOnceReadWhatIsStored(_ shape: HandMadeQcow2.Shape) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<4 {
            let note: Comment = "seed \(seed), round \(round)"
            var generator = SeededGenerator(seed: seed &+ UInt64(round))
            try Self.read(HandMadeChain(HandMadeQcow2(shape, &generator)), &generator, note)
        }
    }

    /// Backing files of other kinds, shorter and longer ones, with a raw file at the end or without.
    @Test func aChainReadsWhatTheFirstOfItsFilesHas() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<8 {
            let note: Comment = "seed \(seed), round \(round)"
            var generator = SeededGenerator(seed: seed &+ UInt64(round))
            var chain = HandMadeChain()
            for _ in 0...Int.random(in: 1...3, using: &generator) {
                let shape = try #require(Self.shapes.randomElement(using: &generator))
                chain.images.append(HandMadeQcow2(shape, &generator))
            }
            if Bool.random(using: &generator) {
                chain.raw = generator.bytes(.random(in: 1...400_000, using: &generator))
            }
            try Self.read(chain, &generator, note)
        }
    }

    private static func read(
        _ chain: HandMadeChain, _ generator: inout SeededGenerator, _ note: Comment
    ) throws {
        var medium = try ReadMedium(chain)
        for _ in 0..<200 {
            let isRead = Int.random(in: 0...3, using: &generator) > 0
            medium.begin(isRead ? .read : .lookUp, sectors(chain.images[0].shape, &generator))
            while medium.pending.count > Int.random(in: 0...8, using: &generator) {
                try medium.end(#require(medium.pending.randomElement(using: &generator)))
            }
        }
        while let next = medium.pending.randomElement(using: &generator) { try medium.end(next) }
        for request in medium.requests {
            let start = Int(request.request.offset)
            let range = start..<start + Int(request.request.length)
            switch request.end {
            case .finished: #expect(request.data == chain.disk(range), note)
            case .found(let extent): check(extent, range, chain, note)
            default: Issue.record("\(request.request) has come to \(String(describing: request.end)), \(note)")
            }
        }
        #expect(medium.stack.takeDamage() == nil)
    }

    /// Damage in a backing file says in which.
    @Test func damageInABackingFileIsNamed() throws {
        var backing = HandMadeQcow2(.init())
        backing.put(UInt64(1) << 40, at: 512)
        var medium = try ReadMedium(HandMadeChain(HandMadeQcow2(.init()), backing))
        #expect(try medium.perform(.read, 0..<512) == .failed(.unrecovered, afterBytes: 0))
        let taken = medium.stack.takeDamage()
        let damage = try #require(taken)
        #expect(damage.kind == .outside && damage.description.hasSuffix(", in backing file 1 of the chain"))
    }

    /// Tables at random: a request ends, and not after more steps than it has sectors and tables.
    @Test(arguments: shapes)
    func damagedTablesEndARequest(_ shape: HandMadeQcow2.Shape) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var failures = 0
        for round in 0..<12 {
            var generator = SeededGenerator(seed: seed &+ UInt64(round))
            var image = HandMadeQcow2(shape, &generator)
            let places = image.entryPlaces()
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                image.damage(try #require(places.randomElement(using: &generator)), &generator)
            }
            var medium = try ReadMedium(image)
            for _ in 0..<60 {
                let range = Self.sectors(shape, &generator)
                let before = medium.stepCount
                let step = try medium.perform(Bool.random(using: &generator) ? .read : .lookUp, range)
                if case .failed(let failure, let bytes) = step {
                    failures += 1
                    #expect(failure == .unrecovered && bytes < range.count, "seed \(seed), round \(round)")
                }
                #expect(medium.stepCount - before < 3 * range.count / 512 + 8, "seed \(seed), round \(round)")
            }
            if let damage = medium.stack.takeDamage() {
                #expect(!damage.description.isEmpty)
                #expect(medium.stack.takeDamage() == nil, "it is told once")
            }
        }
        #expect(failures > 0, "seed \(seed)")
    }

    /// What each thing is called that tables must not say.
    @Test func eachDamageIsNamed() throws {
        let plain = HandMadeQcow2.Shape(clusterBits: 14)
        let extended = HandMadeQcow2.Shape(clusterBits: 14, hasSubclusters: true)
        let damages: [(Qcow2Damage.Kind, HandMadeQcow2.Shape, UInt64, bitmap: UInt64, fileOffset: UInt64)] = [
            (.misaligned, plain, 0xC200, 0, 0xC200),
            (.outside, plain, 0xC000, 0, 0xC000),
            (.outside, plain, 1 << 55, 0, 1 << 55),
            (.zeroInVersion2, .init(version: 2, clusterBits: 14), 0x8001, 0, 0x8000),
            (.subclusters, extended, 0x8000, 1 << 32 | 1, 0x8000),
            (.subclusters, extended, 0, 1, 0),
            (.outside, plain, 1 << 62 | 0xC000, 0, 0xC000),
            (.inHeader, plain, 1 << 62 | 0x3FFF, 0, 0x3FFF),
            // The L1 table is no deflate data.
            (.compressedData, plain, 1 << 62 | 0x4000, 0, 0x4000),
        ]
        for (kind, shape, descriptor, bitmap, fileOffset) in damages {
            var image = HandMadeQcow2(shape)
            let place = image.entryPlace(of: 0)
            image.put(descriptor, at: place)
            if shape.hasSubclusters { image.put(bitmap, at: place + 8) }
            var medium = try ReadMedium(image)
            #expect(try medium.perform(.read, 0..<512) == .failed(.unrecovered, afterBytes: 0))
            #expect(medium.stack.takeDamage() == Qcow2Damage(kind: kind, diskOffset: 0, fileOffset: fileOffset))
            #expect(medium.stack.takeDamage() == nil, "it is told once")
        }
        for (entry, kind) in [(0x8200, .misaligned), (0x8000, .outside)] as [(UInt64, Qcow2Damage.Kind)] {
            var image = HandMadeQcow2(plain)
            image.put(entry, at: 0x4000)
            var medium = try ReadMedium(image)
            #expect(try medium.perform(.read, 0..<512) == .failed(.unrecovered, afterBytes: 0))
            #expect(medium.stack.takeDamage() == Qcow2Damage(kind: kind, diskOffset: 0, fileOffset: entry))
        }
    }

    /// More pieces of tables than there is room for.
    @Test func piecesOfTablesTakeTurns() throws {
        let shape = HandMadeQcow2.Shape(clusterBits: 9, sizeBytes: 128 << 20)
        var generator = SeededGenerator(seed: .random(in: 0...UInt64.max))
        var image = HandMadeQcow2(shape)
        let clusters = (0..<4096).map { $0 * 64 + Int.random(in: 0..<64, using: &generator) }
        for cluster in clusters { image.addData(cluster, [UInt8](repeating: UInt8(cluster & 0xFF), count: 512)) }
        var medium = try ReadMedium(image)
        for _ in 0..<6000 {
            let cluster = try #require(clusters.randomElement(using: &generator))
            medium.begin(.read, cluster * 512..<(cluster + 1) * 512)
            while medium.pending.count > 40 {
                try medium.end(#require(medium.pending.randomElement(using: &generator)))
            }
        }
        while let next = medium.pending.randomElement(using: &generator) { try medium.end(next) }
        for request in medium.requests {
            let cluster = Int(request.request.offset) / 512
            #expect(request.end == .finished && request.data.allSatisfy { $0 == UInt8(cluster & 0xFF) })
        }
    }

    /// What has no table, or no cluster, ends where the piece of the table does: what the next piece has counts.
    @Test(arguments: [(9, 4 << 20, 64 * 64), (16, 64 << 20, 512)])
    func whatIsEmptyEndsWithItsPieceOfATable(clusterBits: Int, sizeBytes: Int, cluster: Int) throws {
        var image = HandMadeQcow2(.init(clusterBits: clusterBits, sizeBytes: sizeBytes))
        let clusterBytes = 1 << clusterBits
        image.addData(cluster, [UInt8](repeating: 7, count: clusterBytes))
        var medium = try ReadMedium(image)
        let (start, end) = ((cluster - 1) * clusterBytes, (cluster + 1) * clusterBytes)
        #expect(try medium.perform(.read, start..<end) == .finished)
        #expect(medium.requests[0].data == image.disk(start..<end))
        let empty = BackendExtent(isMapped: false, lengthBytes: UInt64(clusterBytes))
        #expect(try medium.perform(.lookUp, start..<end) == .found(empty))
    }

    /// Bits of entries that are reserved are no part of a place, as for QEMU.
    @Test func reservedBitsOfEntriesMeanNothing() throws {
        var image = HandMadeQcow2(.init())
        image.addData(3, [UInt8](repeating: 5, count: 512))
        for place in [512, image.entryPlace(of: 3)] {
            let entry = image.file[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }
            image.put(entry | 0x3F << 56 | 0x1FE, at: place)
        }
        var medium = try ReadMedium(image)
        #expect(try medium.perform(.read, 0..<4096) == .finished)
        #expect(medium.requests[0].data == image.disk(0..<4096))
        #expect(medium.stack.takeDamage() == nil)
    }

    /// Bad data have written over the place of another cluster, which is decompressed again.
    @Test func aClusterThatMadeRoomForBadDataIsReadAgain() throws {
        let count = ClusterCache.slotCount(clusterBytes: 512)
        var image = HandMadeQcow2(.init())
        for cluster in 0...count { image.addCompressed(cluster, [UInt8](repeating: 3, count: 512), inSector: 0) }
        // The last one: 100 bytes, and then a block of a type that there is not.
        let bad = [0, 100, 0, ~100, 255] + [UInt8](repeating: 0xBB, count: 100) + [7]
        let place = image.file.count - HandMadeQcow2.stored([UInt8](repeating: 3, count: 512)).count
        image.file.replaceSubrange(place..<place + bad.count, with: bad)
        var medium = try ReadMedium(image)
        for cluster in 0..<count {
            #expect(try medium.perform(.read, cluster * 512..<(cluster + 1) * 512) == .finished)
        }
        let last = count * 512..<(count + 1) * 512
        #expect(try medium.perform(.read, last) == .failed(.unrecovered, afterBytes: 0))
        for cluster in 0..<count {
            let range = cluster * 512..<(cluster + 1) * 512
            #expect(try medium.perform(.read, range) == .finished)
            #expect(medium.requests.last?.data == image.disk(range), "cluster \(cluster)")
        }
    }

    /// A piece of a table, or compressed data, that could not be read is asked for again by the next request.
    @Test func aFailureBelowIsTheRequestsOwn() throws {
        var image = HandMadeQcow2(.init())
        image.addData(0, [UInt8](repeating: 1, count: 512))
        image.addCompressed(1, [UInt8](repeating: 2, count: 512), inSector: 9)
        // The pieces of both tables, the data of one cluster, and those of the other.
        for goodSteps in 0..<4 {
            var medium = try ReadMedium(image)
            medium.begin(.read, 0..<1024)
            medium.begin(.read, 0..<1024)
            for _ in 0..<goodSteps { try medium.end(0) }
            try medium.end(0, .failed(.noSpace, afterBytes: 0))
            #expect(medium.requests[0].end == .failed(.noSpace, afterBytes: goodSteps == 3 ? 512 : 0))
            while let next = medium.pending.first { try medium.end(next) }
            #expect(medium.requests[1].end == .finished && medium.requests[1].data == image.disk(0..<1024))
            #expect(medium.stack.takeDamage() == nil)
        }
    }

    @Test func onlyReadsAndFlushesDoSomething() throws {
        var medium = try ReadMedium(HandMadeQcow2(.init()))
        let refusals: [BackendOperation] = [.write, .writeZeroes(mayDeallocate: true), .discard]
        for operation in refusals {
            #expect(try medium.perform(operation, 0..<512) == .failed(.writeProtected, afterBytes: 0))
        }
        #expect(try medium.perform(.prefetch, 0..<512) == .finished)
        #expect(try medium.perform(.flush, 0..<0) == .finished)
    }

    /// Clusters may be smaller than a sector of the unit: a sector of which some is stored is stored.
    @Test func extentsAreWholeBlocksOfTheUnit() throws {
        var image = HandMadeQcow2(.init(sizeBytes: 1 << 16))
        for cluster in [3, 16, 17, 18, 19, 20, 21, 22, 23, 24] {
            image.addData(cluster, .init(repeating: 1, count: 512))
        }
        var medium = try ReadMedium(image, blockSize: #require(BlockSize(bytes: 4096)))
        let expected = [(0, true, 4096), (4096, false, 4096), (8192, true, 4096), (12288, true, 4096)]
        for (start, isMapped, count) in expected {
            let extent = BackendExtent(isMapped: isMapped, lengthBytes: UInt64(count))
            #expect(try medium.perform(.lookUp, start..<1 << 16) == .found(extent), "from \(start)")
        }
    }

    /// The rest of the last sector is no part of the image.
    @Test func theDiskEndsInsideOfASector() throws {
        var image = HandMadeQcow2(.init(sizeBytes: 700))
        image.addData(1, [UInt8](repeating: 7, count: 512))
        var medium = try ReadMedium(image)
        #expect(try medium.perform(.read, 0..<1024) == .finished)
        #expect(
            medium.requests[0].data == [UInt8](repeating: 0, count: 512) + .init(repeating: 7, count: 188)
                + .init(repeating: 0, count: 324))
        #expect(
            try medium.perform(.lookUp, 512..<1024) == .found(BackendExtent(isMapped: true, lengthBytes: 512)))
    }
}
