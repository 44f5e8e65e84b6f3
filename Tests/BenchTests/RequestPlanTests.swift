// Which requests a load consists of.

import NBD
import Testing

@testable import Bench

@Suite struct RequestPlanTests {
    private func requests(
        _ count: Int, of connection: Int = 0, sizeBytes: UInt64 = 100 * 4096 + 17, _ change: (inout Load) -> Void
    ) -> [PlannedRequest] {
        var load = Load()
        change(&load)
        var plan = RequestPlan(load, sizeBytes: sizeBytes, connection: connection, seed: 42)
        return (0..<count).map { _ in plan.next() }
    }

    @Test func randomReadsReachEveryBlockAndNothingElse() {
        let requests = requests(5000) { $0.pattern = .random }
        #expect(requests.allSatisfy { $0.command == .read && $0.lengthBytes == 4096 })
        #expect(Set(requests.map(\.offsetBytes)) == Set((0..<100).map { $0 * 4096 }))
    }

    @Test func sequentialReadsBeginAgainAtTheEnd() {
        let offsets = requests(250) { $0.pattern = .sequential }.map { $0.offsetBytes / 4096 }
        #expect(offsets == (0..<250).map { UInt64($0 % 100) })
    }

    @Test func connectionsBeginAtEqualDistances() {
        let first = (0..<4).map { connection in
            requests(1, of: connection) {
                $0.pattern = .sequential
                $0.connections = 4
            }[0].offsetBytes / 4096
        }
        #expect(first == [0, 25, 50, 75])
    }

    @Test func connectionsDoNotReadTheSameRandomBlocks() {
        let first = requests(50, of: 0, sizeBytes: 1 << 40) { $0.connections = 2 }
        let second = requests(50, of: 1, sizeBytes: 1 << 40) { $0.connections = 2 }
        #expect(Set(first.map(\.offsetBytes)).isDisjoint(with: second.map(\.offsetBytes)))
    }

    @Test(arguments: [0, 30, 70, 100])
    func mixHasSoManyReads(percent: Int) {
        let requests = requests(20_000) {
            $0.operation = .readWrite
            $0.readPercent = percent
        }
        let reads = requests.count { $0.command == .read }
        #expect(requests.allSatisfy { $0.command == .read || $0.command == .write })
        // Four standard deviations, 65 each, are far below one percent more or less.
        #expect(abs(reads - percent * 200) <= 260)
    }

    @Test func flushFollowsSoManyWrites() {
        let commands = requests(13) {
            $0.operation = .write
            $0.flushEvery = 3
        }.map(\.command)
        #expect(commands.enumerated().allSatisfy { $0.element == ($0.offset % 4 == 3 ? .flush : .write) })
        let mixed = requests(10_000) {
            $0.operation = .readWrite
            $0.flushEvery = 5
        }.map(\.command)
        for part in mixed.split(separator: .flush, omittingEmptySubsequences: false).dropLast() {
            #expect(part.count { $0 == .write } == 5)
        }
    }

    @Test func aFlushHasNoRange() {
        #expect(requests(2) { $0.operation = .flush } == [.flush, .flush])
    }

    @Test func requestsAreDividedAmongConnections() {
        var load = Load()
        load.connections = 3
        load.limit = .requests(11)
        #expect((0..<3).map { load.requests(ofConnection: $0) } == [4, 4, 3])
        load.limit = .seconds(1)
        #expect(load.requests(ofConnection: 0) == .max)
    }
}

@Suite struct LoadCheckTests {
    private func reason(_ export: ChosenExport, _ change: (inout Load) -> Void) -> String? {
        var load = Load()
        change(&load)
        do throws(BenchError) {
            try load.check(export)
            return nil
        } catch {
            return "\(error)"
        }
    }

    private let readOnly = ChosenExport(sizeBytes: 1 << 20, flags: [.hasFlags, .readOnly])

    @Test func aReadOnlyExportIsOnlyRead() {
        #expect(reason(readOnly) { $0.operation = .read } == nil)
        #expect(reason(readOnly) { $0.operation = .connect } == nil)
        for operation in Load.Operation.allCases where operation.destroysData {
            #expect(reason(readOnly) { $0.operation = operation } == "the export is read-only")
        }
    }

    @Test func commandsHaveToBeOffered() {
        let export = ChosenExport(sizeBytes: 1 << 20, flags: [.hasFlags])
        #expect(reason(export) { $0.operation = .write } == nil)
        #expect(reason(export) { $0.operation = .flush } == "the export does not know FLUSH")
        #expect(reason(export) { $0.operation = .trim } == "the export does not know TRIM")
        #expect(reason(export) { $0.operation = .writeZeroes } == "the export does not know WRITE_ZEROES")
        let flushed = reason(export) {
            $0.operation = .write
            $0.flushEvery = 1
        }
        #expect(flushed == "the export does not know FLUSH")
    }

    @Test func lengthsHaveToFit() {
        var export = ChosenExport(sizeBytes: 1 << 20, flags: [.hasFlags, .sendTrim])
        export.minimumBlockBytes = 4096
        export.maximumPayloadBytes = 65536
        #expect(reason(export) { $0.blockBytes = 512 } == "the server wants multiples of 4096 bytes, a request has 512")
        #expect(reason(export) { $0.blockBytes = 1 << 21 } == "the export has 1048576 bytes, a request 2097152")
        #expect(
            reason(export) { $0.blockBytes = 1 << 17 } == "the server moves at most 65536 bytes, a request has 131072")
        let trimmed = reason(export) {
            $0.operation = .trim
            $0.blockBytes = 1 << 17
        }
        #expect(trimmed == nil)
    }
}
