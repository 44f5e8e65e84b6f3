// The medium fails at each step of each request: what the client is told, and what happens no more.

import ATA
import Blocks
import NBD
import SCSI
import Testing

@testable import Export

@Suite struct ErrorTests {
    /// The one table: from why the medium failed to what NBD has for it.
    static let table: [(BlockFailure, NBDError)] = [
        (.unrecovered, .inputOutput), (.noSpace, .noSpace), (.writeProtected, .notPermitted),
    ]

    /// A request of each kind, those with several steps too.
    struct Row: CustomTestStringConvertible {
        var command: NBD.Command
        var offset: UInt64
        var length: UInt32
        var hasWriteCache = true
        var steps: Int

        var testDescription: String { "\(command) of \(length) at \(offset), \(steps) steps" }

        static let all = [
            Row(command: .read, offset: 0, length: 4096, steps: 1),
            Row(command: .read, offset: 0, length: 1 << 25, steps: 2),
            Row(command: .write, offset: 0, length: 4096, steps: 1),
            Row(command: .write, offset: 511, length: 1026, steps: 3),
            Row(command: .write, offset: 511, length: 1026, hasWriteCache: false, steps: 4),
            Row(command: .flush, offset: 0, length: 0, steps: 1),
            Row(command: .trim, offset: 0, length: .max, steps: 3),
            Row(command: .writeZeroes, offset: 500, length: 2000, steps: 5),
            Row(command: .writeZeroes, offset: 0, length: 65_529 * 512, hasWriteCache: false, steps: 4),
        ]
    }

    @Test(arguments: Row.all, Controller.allCases)
    func theMediumFails(row: Row, controller: Controller) throws {
        let payload = row.command == .write ? [UInt8](repeating: 1, count: Int(row.length)) : []
        for (reason, error) in Self.table {
            for failing in 0..<row.steps {
                var bench = Bench(sectors: 1 << 24, controller: controller, hasDisk: false) {
                    $0.writeCache = row.hasWriteCache ? .on : .off
                }
                let whole = try bench.serve(row.command, at: row.offset, row.length, payload: payload)
                try #require(whole.steps.count == row.steps)
                let served = try bench.serve(row.command, at: row.offset, row.length, payload: payload) { step, _ in
                    step == failing ? reason : nil
                }
                #expect(served.error == error, "\(reason) at step \(failing)")
                // Nothing follows a failure: what could not be read is not written back.
                #expect(served.steps == Array(whole.steps.prefix(failing + 1)))
                // The drive has forgotten it.
                #expect(try bench.serve(row.command, at: row.offset, row.length, payload: payload).error == nil)
            }
        }
    }

    /// What surrounds a write and cannot be read is not replaced by anything.
    @Test(arguments: [(UInt64(100), UInt32(10)), (512, 100), (700, 900)])
    func anUnreadableEdgeIsLeftAlone(offset: UInt64, length: UInt32) throws {
        var bench = Bench(sectors: 8)
        let before = bench.disk
        for command in [NBD.Command.write, .writeZeroes] {
            let payload = command == .write ? [UInt8](repeating: 1, count: Int(length)) : []
            let served = try bench.serve(command, at: offset, length, payload: payload) { _, step in
                step.kind == "read" ? .unrecovered : nil
            }
            #expect(served.error == .inputOutput)
            #expect(bench.disk == before)
        }
    }

    /// A sector in a READ that cannot be read: the client learns which, and what is before it is good. 28-bit, 48-bit
    /// and queued commands, the first, a middle and the last sector, requests of one command and of several, aligned or
    /// not.
    @Test(arguments: Controller.allCases)
    func aBrokenSectorIsNamed(controller: Controller) throws {
        let sectors: UInt64 = 70_000
        var bench = Bench(sectors: sectors, controller: controller)
        for (offset, length) in [
            (UInt64(0), UInt32(512)), (0, 4096), (1024, 300 * 512), (3, 4096), (511, 2), (0, 70_000 * 512),
        ] {
            let first = offset / 512
            let last = (offset + UInt64(length) - 1) / 512
            let whole = try bench.serve(.read, at: offset, length)
            #expect(whole.failedOffset == nil)
            for broken in Set([first, first + 1, (first + last) / 2, last, 65_527, 65_528]) {
                guard (first...last).contains(broken) else { continue }
                bench.broken = broken
                let served = try bench.serve(.read, at: offset, length)
                bench.broken = nil
                let failed = max(broken * 512, offset)
                #expect(served.error == .inputOutput)
                #expect(served.failedOffset == failed, "sector \(broken) of \(length) bytes at \(offset)")
                let good = Array(whole.data.prefix(Int(failed - offset)))
                #expect(firstDifference(served.goodData, good) == nil)
            }
        }
    }

    /// Beyond 28 bits, where fixed sense data have no room for the whole address.
    @Test(arguments: Controller.allCases)
    func aBrokenSectorIsNamedFarOut(controller: Controller) throws {
        var bench = Bench(sectors: 1 << 40, controller: controller, hasDisk: false)
        for broken: UInt64 in [1 << 28, 1 << 32 + 5, 1 << 40 - 1] {
            bench.broken = broken
            #expect(try bench.serve(.read, at: (broken - 7) * 512, 4096).failedOffset == broken * 512)
        }
    }

    /// Only a READ says where: of a write, nobody knows what is on the sectors.
    @Test func onlyAReadNamesASector() throws {
        var bench = Bench(sectors: 64)
        bench.broken = 9
        // Its edge has to be read.
        let served = try bench.serve(.write, at: 4000, 1000, payload: [UInt8](repeating: 1, count: 1000))
        #expect(served.error == .inputOutput)
        #expect(served.failedOffset == nil)
    }

    /// CACHE is advice: READ VERIFY of a QEMU drive looks at nothing.
    @Test func prefetchingCannotFail() throws {
        var bench = Bench(sectors: 1 << 20, hasDisk: false)
        let served = try bench.serve(.cache, at: 0, 65_529 * 512) { _, _ in .unrecovered }
        #expect(served.error == nil)
        #expect(served.steps.count == 2)
    }

    /// Sense data that this drive has no way to give belong into the table as well.
    @Test(arguments: [
        (SenseKey.mediumError, AdditionalSenseCode.unrecoveredReadErrorAutoReallocateFailed, NBDError.inputOutput),
        (.hardwareError, .internalTargetFailure, .inputOutput), (.abortedCommand, .none, .inputOutput),
        (.notReady, .logicalUnitNotReady, .inputOutput), (.unitAttention, .mediumMayHaveChanged, .inputOutput),
        (.dataProtect, .writeProtected, .notPermitted),
        (.dataProtect, .spaceAllocationFailedWriteProtect, .noSpace),
        (.illegalRequest, .invalidFieldInCDB, .invalidArgument),
        (.illegalRequest, .logicalBlockAddressOutOfRange, .invalidArgument),
    ])
    func senseData(key: SenseKey, code: AdditionalSenseCode, error: NBDError) {
        #expect(NBDError(SenseData(key, code, format: .fixed)) == error)
        #expect(NBDError(SenseData(key, code, format: .descriptor)) == error)
    }

    /// NBD proto, "Error values": ENOSPC for a write past the end, EINVAL for a read. A host protected area may have
    /// moved the end that a connected client knows.
    @Test(arguments: [
        (NBD.Command.read, NBDError.invalidArgument), (.trim, .invalidArgument), (.write, .noSpace),
        (.writeZeroes, .noSpace),
    ])
    func beyondTheEnd(command: NBD.Command, error: NBDError) {
        let sense = SenseData(.illegalRequest, .logicalBlockAddressOutOfRange, format: .descriptor)
        let invalid = SenseData(.illegalRequest, .invalidFieldInCDB, format: .fixed)
        for kind in [DriveKind.disk, .hardDisk] {
            #expect(NBDError(sense, from: kind, for: command, isBeyondEnd: true) == error)
            #expect(NBDError(invalid, from: kind, for: command, isBeyondEnd: true) == .invalidArgument)
        }
        #expect(NBDError(sense, from: .dvdROM, for: command, isBeyondEnd: true) == .inputOutput)
        // Inside of it, a whole disk has not found a sector.
        #expect(NBDError(sense, from: .hardDisk, for: command) == .inputOutput)
    }

    @Test func noSenseDataIsAnInputOutputError() {
        #expect(NBDError(nil) == .inputOutput)
    }
}
