// Recordings: what is answered is in the file, in an order that leads to the same disk, and a torn end is cut off.

import Seeded
import Testing

@testable import Blocks

/// A recorded disk of bytes, with many requests at once, whose steps end in any order.
private struct RecordedMedium {
    static let sectors = 4096
    var disk = [UInt8](repeating: 0, count: sectors * 512)
    var file: [UInt8]
    var stack = BlockStack()
    private(set) var requests: [Running] = []
    private var waiting: [Int] = []
    private(set) var writing: Set<Int> = []
    private var nextValue: UInt8 = 0
    /// The recording's file takes no more than that.
    var fileLimit = Int.max

    struct Running {
        var request: BackendRequest
        var task = BlockTask()
        var data: [UInt8]
        var pending: BackendRequest?
        var end: BlockStep?
        /// The disk has done it.
        var isExecuted = false
        /// Which requests had been answered when it came, and which had been executed.
        let answeredBefore: Set<Int>
        let executedBefore: Set<Int>
    }

    static let header = RecordingHeader(
        blockSize: .smallest, sectorsPerPhysical: 1, sectors: UInt64(sectors), began: 7, base: .zeroes)

    init() throws {
        file = try #require(Self.header.bytes)
        stack.recorder = Recorder(blockSize: .smallest, memory: allocated(Recorder.bufferBytes), began: 1000)
    }

    var pending: [Int] { requests.indices.filter { requests[$0].pending != nil } }

    mutating func begin(_ operation: BackendOperation, _ sectors: Range<Int>) {
        nextValue = nextValue % 250 + 1
        let length = sectors.count * 512
        let request = BackendRequest(operation, offset: UInt64(sectors.lowerBound * 512), length: UInt64(length))
        let value = operation == .write ? nextValue : 0xEE
        requests.append(
            Running(
                request: request, data: [UInt8](repeating: value, count: operation == .discard ? 0 : length),
                answeredBefore: Set(requests.indices.filter { requests[$0].end == .finished }),
                executedBefore: Set(requests.indices.filter { requests[$0].isExecuted })))
        if operation != .read { writing.formUnion(sectors) }
        let number = requests.count - 1
        requests[number].task.writer = BlockWriter(client: UInt64(number) + 1, nanoseconds: 1000 + UInt64(number))
        take(advance(number) { $0.begin(request, &$1, &$2) }, number)
    }

    mutating func end(_ number: Int) throws {
        let below = try #require(requests[number].pending)
        requests[number].pending = nil
        let isDone = perform(below, number)
        let outcome = isDone ? BlockOutcome.done : .failed(.noSpace, afterBytes: 0)
        take(advance(number) { $0.resume(outcome, &$1, &$2) }, number)
    }

    private mutating func perform(_ below: BackendRequest, _ number: Int) -> Bool {
        let place = Int(below.offset)..<Int(below.offset + below.length)
        let data = Int(below.dataOffset)..<Int(below.dataOffset + below.length)
        if below.file == BackendRequest.recordingFile {
            guard place.upperBound <= fileLimit else { return false }
            #expect(below.operation == .write && below.dataPlace == .recording && place.lowerBound == file.count)
            file += stack.recorder!.memory[data]
            return true
        }
        requests[number].isExecuted = true
        switch below.operation {
        case .read: requests[number].data.replaceSubrange(data, with: disk[place])
        case .write: disk.replaceSubrange(place, with: requests[number].data[data])
        case .writeZeroes, .discard: disk.replaceSubrange(place, with: repeatElement(0, count: place.count))
        case .flush, .prefetch, .lookUp: break
        }
        return true
    }

    private mutating func advance(
        _ number: Int, _ body: (inout BlockStack, inout BlockTask, inout MutableRawSpan) -> BlockStep
    ) -> BlockStep {
        var (task, data) = (requests[number].task, requests[number].data)
        let step = data.withMutableBytes { body(&stack, &task, &$0) }
        (requests[number].task, requests[number].data) = (task, data)
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
        case .io(let below): requests[number].pending = below
        case .waitForOthers: waiting.append(number)
        case .finished, .failed:
            requests[number].end = step
            let request = requests[number].request
            if request.operation != .read {
                writing.subtract(Int(request.offset / 512)..<Int((request.offset + request.length) / 512))
            }
        case .wait, .found: Issue.record("nobody asks for that")
        }
    }

    var isIdle: Bool { pending.isEmpty && waiting.isEmpty }

    /// The entries of the file, and what their data are.
    func entries(_ note: Comment) throws -> [(entry: RecordingEntry, data: ArraySlice<UInt8>)] {
        #expect(try RecordingHeader(file) == Self.header)
        var found: [(RecordingEntry, ArraySlice<UInt8>)] = []
        var place = RecordingHeader.byteCount
        while place < file.count {
            let head = Array(file[place..<place + 64])
            let entry = try #require(RecordingEntry(head, number: UInt64(found.count) + 1, in: Self.header), note)
            place += 64
            let data = file[place..<place + Int(entry.dataBytes(.smallest))]
            var checksum = CRC32()
            checksum.add(head[8...])
            checksum.add(data)
            #expect(checksum.value == RecordingEntry.checksum(in: head), note)
            found.append((entry, data))
            place += data.count
        }
        return found
    }
}

@Suite struct RecorderTests {
    private static let operations: [BackendOperation] = [
        .read, .write, .write, .write, .write, .writeZeroes(mayDeallocate: true), .discard, .flush,
    ]

    private static func run(_ medium: inout RecordedMedium, _ count: Int, _ numbers: inout SeededGenerator) throws {
        let end = medium.requests.count + count
        while medium.requests.count < end || !medium.isIdle {
            if medium.requests.count < end, Bool.random(using: &numbers) {
                let operation = operations.randomElement(using: &numbers)!
                let most = Int.random(in: 0..<40, using: &numbers) == 0 ? RecordedMedium.sectors : 16
                let first = Int.random(in: 0..<RecordedMedium.sectors, using: &numbers)
                let sectors = first..<min(first + Int.random(in: 1...most, using: &numbers), RecordedMedium.sectors)
                if operation == .flush {
                    medium.begin(.flush, 0..<0)
                } else if medium.writing.isDisjoint(with: sectors) {
                    medium.begin(operation, sectors)
                }
            } else if let number = medium.pending.randomElement(using: &numbers) {
                try medium.end(number)
            }
        }
    }

    /// The check value of the CRC catalogue is of nine bytes; that of sixteen was made with zlib.
    @Test func checksumsAreZlibs() {
        var checksum = CRC32()
        checksum.add(Array("123456789abcdef0".utf8)[...])
        #expect(checksum.value == 0x57C5_6BA8)
    }

    /// Everything that was answered is there, once, in an order that leads to the disk; a flush covers all that was
    /// answered when it came, and nothing that was executed later.
    @Test func theFileHasWhatWasAnswered() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        for round in 0..<6 {
            let note: Comment = "seed \(seed), round \(round)"
            var medium = try RecordedMedium()
            try Self.run(&medium, 300, &numbers)
            #expect(medium.requests.allSatisfy { $0.end == .finished }, note)
            let entries = try medium.entries(note)
            var disk = [UInt8](repeating: 0, count: medium.disk.count)
            var sectors = [Int](repeating: 0, count: medium.requests.count)
            var places = [Int](repeating: 0, count: medium.requests.count)
            for (number, (entry, data)) in entries.enumerated() {
                let request = Int(entry.client) - 1
                #expect(entry.nanoseconds == UInt64(request), note)
                sectors[request] += entry.sectors.count
                places[request] = number
                let bytes = Int(entry.sectors.lowerBound) * 512..<Int(entry.sectors.upperBound) * 512
                switch entry.kind {
                case .write: disk.replaceSubrange(bytes, with: data)
                case .zeroes, .trim: disk.replaceSubrange(bytes, with: repeatElement(0, count: bytes.count))
                case .flush:
                    let before = medium.requests[request].answeredBefore
                    let isWhole = before.allSatisfy {
                        medium.requests[$0].request.operation == .read || places[$0] < Int(entry.covered)
                    }
                    #expect(isWhole && entry.covered < entry.number, note)
                    let executed = medium.requests[request].executedBefore
                    let covered = entries.prefix(Int(entry.covered)).map { Int($0.entry.client) - 1 }
                    #expect(executed.isSuperset(of: covered), note)
                }
            }
            #expect(disk == medium.disk, note)
            for (number, request) in medium.requests.enumerated() where request.request.operation != .read {
                #expect(sectors[number] * 512 == Int(request.request.length), note)
            }
        }
    }

    /// A file that takes no more keeps all from being answered well; when it does again, nothing is missing.
    @Test func whatCannotBeRecordedFails() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var medium = try RecordedMedium()
        medium.fileLimit = 100_000
        try Self.run(&medium, 300, &numbers)
        let failed = medium.requests.filter { $0.end != .finished }
        #expect(!failed.isEmpty && failed.allSatisfy { $0.end == .failed(.noSpace, afterBytes: 0) }, "seed \(seed)")
        #expect(failed.allSatisfy { $0.request.operation != .read })
        medium.fileLimit = .max
        medium.begin(.flush, 0..<0)
        while let number = medium.pending.first { try medium.end(number) }
        #expect(medium.requests.last?.end == .finished)
        let entries = try medium.entries("seed \(seed)")
        // Executed requests are there whatever they were answered, but for those that found the buffer full.
        #expect(Set(entries.map(\.entry.client)).count > medium.requests.count - failed.count - 100)
        #expect(entries.last?.entry.covered == UInt64(entries.count) - 1)
    }

    /// A header and its opposite; each thing that a damaged one can say.
    @Test func headersAreCheckedBeforeTheyAreBelieved() throws {
        for base in [
            RecordingHeader.Base.zeroes, .image(path: "/a/b.img", isQcow2: false), .image(path: "c", isQcow2: true),
            .changed(path: "d.img"),
        ] {
            let header = RecordingHeader(
                blockSize: .smallest, sectorsPerPhysical: 8, sectors: 1 << 40, began: 1 << 60, base: base)
            let bytes = try #require(header.bytes)
            #expect(bytes.count == 4096)
            #expect(try RecordingHeader(bytes) == header)
            #expect(throws: RecordingError.noRecording) { try RecordingHeader(Array(bytes.dropLast())) }
            for place in 0..<4096 where place < 100 || place > 4080 {
                var damaged = bytes
                damaged[place] ^= 0x40
                // Behind the checksum nothing is said.
                if place < 4092 { #expect(throws: RecordingError.self) { try RecordingHeader(damaged) } }
            }
        }
        let long = RecordingHeader(
            blockSize: .smallest, sectorsPerPhysical: 1, sectors: 1, began: 0,
            base: .changed(path: String(repeating: "x", count: 3073)))
        #expect(long.bytes == nil)
    }

    @Test func entriesThatCannotBeAreNone() throws {
        let header = RecordedMedium.header
        var data: [UInt8] = []
        let entry = RecordingEntry(number: 3, kind: .trim, sectors: 5..<4096, client: 9, nanoseconds: 8)
        let words = data.withUnsafeMutableBytes { entry.words(data: UnsafeRawBufferPointer($0)) }
        var bytes = withUnsafeBytes(of: words) { Array($0) }
        #expect(RecordingEntry(bytes, number: 3, in: header) == entry)
        #expect(RecordingEntry(bytes, number: 4, in: header) == nil)
        #expect(RecordingEntry(Array(bytes.dropLast()), number: 3, in: header) == nil)
        // Kind, reserved bytes, sectors beyond the end, none at all, a flush that covers itself.
        for (place, value): (Int, UInt8) in [(56, 0), (56, 5), (57, 1), (32, 6), (47, 1), (48, 3)] {
            let before = bytes[place]
            bytes[place] = value
            #expect(RecordingEntry(bytes, number: 3, in: header) == nil, "\(place)")
            bytes[place] = before
        }
        for place in 40..<48 { bytes[place] = 0 }
        #expect(RecordingEntry(bytes, number: 3, in: header) == nil)
        bytes[56] = 4
        #expect(RecordingEntry(bytes, number: 3, in: header)?.kind == .flush)
    }
}
