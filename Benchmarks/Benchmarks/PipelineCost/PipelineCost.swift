// What a request costs between the socket and the medium: decoding, judgement, SCSI, SAT, ATA, and the reply's header.

import Benchmark
import NBD
import RuntimeCounters
import SCSI
import Synchronization

/// A kind of request.
private struct Kind {
    let name: String
    let command: NBD.Command
    var offsetBytes: UInt64 = 0
    var lengthBytes: UInt32 = 0
    /// What the next request's offset is further on.
    var strideBytes: UInt64 = 0

    /// So many headers as they arrive.
    func headers(_ count: Int, exportBytes: UInt64) -> [UInt8] {
        var headers: [UInt8] = []
        for number in 0..<UInt64(count) {
            headers += bytes(Magic.request) + bytes(UInt16(0)) + bytes(command.rawValue) + bytes(number)
            headers += bytes(offsetBytes + number * strideBytes % (exportBytes / 2)) + bytes(lengthBytes)
        }
        return headers
    }

    private func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
    }
}

private let kinds = [
    Kind(name: "READ-4K", command: .read, lengthBytes: 4096, strideBytes: 4096 * 911),
    Kind(name: "WRITE-4K", command: .write, lengthBytes: 4096, strideBytes: 4096 * 911),
    Kind(name: "FLUSH", command: .flush),
    Kind(name: "READ-4K-unaligned", command: .read, offsetBytes: 100, lengthBytes: 4096, strideBytes: 4096 * 911),
    Kind(name: "WRITE-4K-unaligned", command: .write, offsetBytes: 100, lengthBytes: 4096, strideBytes: 4096 * 911),
    Kind(name: "TRIM-1M", command: .trim, lengthBytes: 1 << 20, strideBytes: 1 << 20),
]

/// A kind of command of an initiator.
private struct CommandKind {
    let name: String
    let code: UInt8
    var blocks: UInt8 = 8

    /// So many CDBs of 16 bytes.
    func cdbs(_ count: Int) -> [UInt8] {
        var cdbs: [UInt8] = []
        for number in 0..<UInt64(count) {
            let lba = blocks == 0 ? 0 : number * 8 * 911 % (1 << 27)
            cdbs += [code, 0] + (0..<8).map { UInt8(truncatingIfNeeded: lba >> UInt64(56 - 8 * $0)) }
            cdbs += [0, 0, 0, blocks, 0, 0]
        }
        return cdbs
    }
}

private let commandKinds = [
    CommandKind(name: "SCSI-READ-4K", code: OperationCode.read16),
    CommandKind(name: "SCSI-WRITE-4K", code: OperationCode.write16),
    CommandKind(name: "SCSI-SYNCHRONIZE-CACHE", code: OperationCode.synchronizeCache16, blocks: 0),
]

/// Where requests go.
private protocol Pipeline: ~Copyable {
    /// Serves all requests whose headers or CDBs these are.
    ///
    /// - Returns: how many of them went well.
    mutating func serveAll(_ requests: [UInt8]) -> Int
    /// The size of a header or a CDB.
    static var requestBytes: Int { get }
}

extension NullServer: Pipeline {
    static var requestBytes: Int { 28 }

    @inline(never)
    mutating func serveAll(_ requests: [UInt8]) -> Int {
        let bytes = requests.span.bytes
        var headerBytes = 0
        for start in stride(from: 0, to: requests.count, by: 28) {
            headerBytes &+= serve(bytes.extracting(start..<start + 28))
        }
        // Each simple reply has a header of 16 bytes.
        return headerBytes / 16
    }
}

extension NullUnit: Pipeline {
    static var requestBytes: Int { 16 }

    @inline(never)
    mutating func serveAll(_ requests: [UInt8]) -> Int {
        let bytes = requests.span.bytes
        var count = 0
        for start in stride(from: 0, to: requests.count, by: 16) {
            count &+= serve(bytes.extracting(start..<start + 16)) ? 1 : 0
        }
        return count
    }
}

private let allocations = BenchmarkMetric.custom("Allocations")
private let retains = BenchmarkMetric.custom("Retains")
private let releases = BenchmarkMetric.custom("Releases")
/// What a threshold can say of time on any machine: see ``Shortest``.
private let relativeTime = BenchmarkMetric.custom("RelativeTime", useScalingFactor: false)

/// As many as ``BenchmarkScalingFactor/kilo`` says.
private let requestsPerMeasurement = 1000

let benchmarks: @Sendable () -> Void = {
    checkCounters()
    for kind in kinds {
        let headers = kind.headers(requestsPerMeasurement, exportBytes: 1 << 37)
        measure(kind.name, headers) { try NullServer(sectors: 1 << 28) }
    }
    for kind in commandKinds {
        let cdbs = kind.cdbs(requestsPerMeasurement)
        measure(kind.name, cdbs) { NullUnit(sectors: 1 << 28) }
    }
}

private func measure<Subject: Pipeline & ~Copyable>(
    _ name: String, _ requests: [UInt8], _ make: @escaping @Sendable () throws -> Subject
) {
    let shortest = Shortest()
    // A figure is that of one request.
    Benchmark(
        name,
        configuration: .init(
            metrics: [.wallClock, relativeTime, allocations, retains, releases], timeUnits: .nanoseconds,
            warmupIterations: 100, scalingFactor: .kilo, maxDuration: .seconds(2), maxIterations: 5000,
            // Another processor has another relation; nothing makes requests allocate.
            thresholds: [relativeTime: .init(relative: [.p90: 100])])
    ) { benchmark in
        var subject = try make()
        // Timed and counted apart, so that counting costs nothing.
        benchmark.startMeasurement()
        let count = subject.serveAll(requests)
        benchmark.stopMeasurement()
        benchmark.measurement(relativeTime, shortest.compare(requests, on: &subject))
        countersBegin()
        let counted = subject.serveAll(requests)
        let counts = countersEnd()
        precondition(count == requestsPerMeasurement && counted == count, "every request is served")
        benchmark.measurement(allocations, Int(counts.allocations))
        benchmark.measurement(retains, Int(counts.retains))
        benchmark.measurement(releases, Int(counts.releases))
    }
}

/// The shortest times of a benchmark: what else the machine does lengthens some, and shortens none.
private final class Shortest: Sendable {
    private let times = Mutex((requests: Duration.seconds(60), arithmetic: Duration.seconds(60)))

    /// The time that requests take, in thousandths of the time that arithmetic takes beside them.
    func compare<Subject: Pipeline & ~Copyable>(_ all: [UInt8], on subject: inout Subject) -> Int {
        let clock = ContinuousClock()
        let part = Array(all.prefix(Subject.requestBytes * requestsPerMeasurement / 10))
        var requests = Duration.seconds(60)
        var arithmetic = requests
        for _ in 0..<10 {
            requests = min(requests, clock.measure { precondition(subject.serveAll(part) > 0) })
            arithmetic = min(arithmetic, clock.measure { precondition(calculate() != 0) })
        }
        return times.withLock { times in
            times = (min(times.requests, requests), min(times.arithmetic, arithmetic))
            return Int(1000 * (times.requests / times.arithmetic))
        }
    }
}

/// Ten thousand steps, each of which waits for the one before it.
@inline(never)
private func calculate() -> UInt64 {
    var random: UInt64 = 1
    for _ in 0..<10_000 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
    }
    return random
}

/// A count of nothing is worth something only from counters that see what there is.
private func checkCounters() {
    countersBegin()
    var objects = [Marker()]
    for _ in 0..<10 { objects.append(identity(objects[0])) }
    let counts = countersEnd()
    precondition(objects.count == 11)
    precondition(counts.allocations >= 2, "an object and its array were allocated, \(counts.allocations) were counted")
    precondition(counts.retains >= 10, "an object was retained ten times, \(counts.retains) were counted")
    let before = objects.count
    countersBegin()
    objects.removeAll()
    let ended = countersEnd()
    precondition(ended.releases >= UInt64(before), "an object was released 11 times, \(ended.releases) were counted")
}

private final class Marker {}

@inline(never)
private func identity(_ marker: Marker) -> Marker { marker }
