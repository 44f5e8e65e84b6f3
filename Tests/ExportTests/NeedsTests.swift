// A request's needs before it begins: whether it writes, whether it has to be alone, how much memory it needs.

import ATA
import Export
import NBD
import Testing

@Suite struct NeedsTests {
    private func request(_ command: NBD.Command, _ offset: UInt64, _ length: UInt32) -> ServedRequest {
        let header = RequestHeader(
            type: command.rawValue, cookie: 7, offsetBytes: offset, lengthBytes: UInt64(length))
        return ServedRequest(Request(header, as: command, unit: 3), blockSize: .smallest)
    }

    @Test(arguments: [
        (NBD.Command.read, false), (.write, true), (.flush, false), (.trim, true), (.cache, false),
        (.writeZeroes, true),
    ])
    func whatWrites(command: NBD.Command, writes: Bool) {
        #expect(request(command, 512, command == .flush ? 0 : 512).writes == writes)
    }

    /// Every offset and length around the boundaries: alone exactly if an end lies within a sector, or within what the
    /// medium can write by itself.
    @Test(arguments: [UInt64(512), 1024, 4096])
    func aloneIsWhoHasPartialSectors(granularity: UInt64) {
        let places = [0, 1, 511, 512, 513, 1024, 1536, 4095, 4096, 8192, (1 << 57) - 4096] as [UInt64]
        let lengths = [1, 2, 510, 511, 512, 513, 1024, 3584, 4096, 4097, 1 << 25] as [UInt32]
        for offset in places {
            for length in lengths {
                let isWhole = offset % granularity == 0 && UInt64(length) % granularity == 0
                for command in [NBD.Command.write, .writeZeroes] {
                    let needs = request(command, offset, length).needsToBeAlone(granularityBytes: granularity)
                    #expect(needs == !isWhole, "\(command) of \(length) at \(offset)")
                }
                for command in [NBD.Command.read, .cache] {
                    #expect(!request(command, offset, length).needsToBeAlone(granularityBytes: granularity))
                }
                if isWhole { #expect(!request(.trim, offset, length).needsToBeAlone(granularityBytes: granularity)) }
            }
        }
        #expect(!request(.flush, 0, 0).needsToBeAlone(granularityBytes: granularity))
    }

    /// In sectors: what the request touches, and for a WRITE with a partial sector one more to complete it in.
    @Test(
        arguments: [
            (NBD.Command.read, 0, 512, 1, 0), (.read, 1, 1, 1, 1), (.read, 511, 2, 2, 511), (.read, 512, 513, 2, 0),
            (.read, 100, 1 << 25, 65_537, 100),
            (.write, 0, 512, 1, 0), (.write, 1, 1, 2, 1), (.write, 511, 2, 3, 511), (.write, 512, 513, 3, 0),
            (.write, 100, 1 << 25, 65_538, 100), (.write, 0, 1 << 25, 65_536, 0),
            (.trim, 100, .max, 1, 0), (.writeZeroes, 100, .max, 1, 0), (.writeZeroes, 0, 512, 1, 0),
            (.blockStatus, 100, .max, 4, 0), (.cache, 100, .max, 0, 0), (.flush, 0, 0, 0, 0),
        ] as [(NBD.Command, UInt64, UInt32, Int, Int)])
    func memory(command: NBD.Command, offset: UInt64, length: UInt32, sectors: Int, dataOffset: Int) {
        let needs = request(command, offset, length).bufferNeeds
        #expect(needs.byteCount == sectors * 512)
        #expect(needs.dataOffset == dataOffset)
    }

    /// A request says the same of its memory from its beginning to its end: its data are found where they were put.
    @Test func memoryStaysWhereItIs() throws {
        var bench = Bench(sectors: 16)
        var request = request(.read, 700, 100)
        let needs = request.bufferNeeds
        var buffer = [UInt8](repeating: 0, count: needs.byteCount)
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        _ = request.begin(on: &bench.export, buffer: &bytes)
        #expect(request.bufferNeeds == needs)
        #expect(request.resume(.done, on: &bench.export, buffer: &bytes) == .finished)
        #expect(request.error == nil)
        #expect(request.bufferNeeds == needs)
        #expect(request.offsetBytes == 700 && request.lengthBytes == 100)
        #expect(request.request.cookie == 7 && request.request.unit == 3)
    }
}

/// Between two commands a request may be made to wait.
extension NeedsTests {
    /// The ends of WRITE_ZEROES are alone, each with what it reads; what is between is not, if its blocks are whole.
    @Test(arguments: [UInt64(512), 4096]) func onlyTheEndsAreAlone(granularity: UInt64) throws {
        var bench = Bench(sectors: 1 << 20, hasDisk: false)
        var request = request(.writeZeroes, 700, 3 * 65_536 * 512)
        var buffer = [UInt8](repeating: 0, count: request.bufferNeeds.byteCount)
        var alone: [Bool] = []
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        alone.append(request.needsToBeAlone(granularityBytes: granularity))
        var step = request.begin(on: &bench.export, buffer: &bytes)
        while true {
            if step == .finished {
                #expect(request.error == nil)
                break
            }
            if step == .commandEnded {
                alone.append(request.needsToBeAlone(granularityBytes: granularity))
                step = request.goOn(on: &bench.export, buffer: &bytes)
            } else {
                step = request.resume(.done, on: &bench.export, buffer: &bytes)
            }
        }
        // Head, tail; sectors 2 to 196,608 in commands of 65,526, twice 65,528 and the rest.
        let isWhole = granularity == 512
        #expect(alone == [true, true, !isWhole, false, false, !isWhole])
    }

    /// A WRITE is done as a whole.
    @Test func aWriteNeverWaits() throws {
        var bench = Bench(sectors: 1 << 20, hasDisk: false)
        let header = RequestHeader(type: 1, cookie: 7, offsetBytes: 700, lengthBytes: 1 << 25)
        #expect(try bench.serve(header, as: .write).pauses == 0)
        let zeroes = RequestHeader(type: 6, cookie: 7, offsetBytes: 700, lengthBytes: 1 << 25)
        #expect(try bench.serve(zeroes, as: .writeZeroes).pauses == 3)
    }
}
