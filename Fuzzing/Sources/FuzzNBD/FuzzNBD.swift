// A client's bytes: the handshake, then requests on their way through the drive (NBD protocol).

import ATA
import Blocks
import Export
import NBD
import Units

/// The first byte says where the rest is cut into two pieces; where packets end must not matter. The second says
/// whether TLS is to be had. What follows is a connection.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count >= 2 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: data + 2, count: count - 2))
    let tls: TLSPolicy = [.unavailable, .optional, .required][Int(data[1]) % 3]
    var client = Client(tls: tls)
    client.receive(bytes)
    let cut = bytes.count * Int(data[0]) / 256
    var other = Client(tls: tls)
    other.receive(Array(bytes[..<cut]))
    other.receive(Array(bytes[cut...]))
    precondition(client.outcome == other.outcome, "the outcome depends on where a packet ends")
    return 0
}

/// What a connection has come to.
struct Outcome: Equatable {
    var words: [UInt8] = []
    var begun: [Request] = []
    /// Cookies of requests that were refused.
    var refused: [UInt64] = []
    var end: Session.End?
}

/// The server's side of one connection.
struct Client: ~Copyable {
    var session: Session
    var outcome = Outcome()
    var drive: ExportedDrive

    init(tls: TLSPolicy) {
        session = Session(tls: tls)
        let drive = Drive(DriveProperties(), sectors: 1 << 21, bootSector: nil, controller: .ich9AHCI)
        self.drive = ExportedDrive(drive, controller: .ich9AHCI)
        session.directory = ["disk", "other"].map { name in
            guard
                let information = try? ExportInformation(
                    name: name, identifyData: drive.identifyData,
                    blocks: BlockTraits(isReadOnly: name == "other", zeroesFast: true))
            else { preconditionFailure("the export is sound") }
            return information
        }
    }

    /// Takes a packet, all of it.
    mutating func receive(_ bytes: [UInt8]) {
        var rest = bytes
        while outcome.end == nil {
            let (consumed, event) = session.advance(rest.span.bytes)
            precondition(consumed <= rest.count, "more was consumed than was given")
            rest.removeFirst(consumed)
            switch event {
            case .needMoreBytes(let count):
                precondition(count > 0 && rest.isEmpty, "nothing is left while more is needed")
                return
            case .say, .startTLS: outcome.words += session.takeWords()
            case .open(let unit): session.opened(as: Int32(unit))
            case .begin(let request):
                outcome.begun.append(request)
                if request.payloadBytes == 0 { serve(request) }
            case .payload(let left):
                guard !rest.isEmpty else { return }
                let count = min(left, rest.count)
                session.payloadMoved(count)
                rest.removeFirst(count)
                if count == left, let request = outcome.begun.last { serve(request) }
            case .refuse(let refusal): outcome.refused.append(refusal.request.cookie)
            case .end(let end): outcome.end = end
            }
        }
    }

    /// Serves a request; the medium does what it is asked for, if that is on the drive.
    private mutating func serve(_ wanted: Request) {
        var request = ServedRequest(wanted, blockSize: drive.blockSize)
        let needs = request.bufferNeeds
        guard needs.byteCount <= 1 << 20 else { return }
        var buffer = [UInt8](repeating: 0, count: needs.byteCount)
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        var step = request.begin(on: &drive, buffer: &bytes)
        // Extended headers may ask for more steps than a fuzzer should wait for.
        for _ in 0..<4096 {
            switch step {
            case .finished: return
            case .commandEnded: step = request.goOn(on: &drive, buffer: &bytes)
            case .lbaStatus(let lba, let limit):
                check(lba, UInt64(limit))
                step = request.resumeLBAStatus(isMapped: lba % 2 == 0, count: 1, on: &drive, buffer: &bytes)
            case .performZeroes(let lba, let count, _):
                check(lba, UInt64(count))
                step = request.resume(.done, on: &drive, buffer: &bytes)
            case .perform(let operation, let offset):
                check(operation, needs.byteCount - Int(offset))
                step = request.resume(.done, on: &drive, buffer: &bytes)
            }
        }
    }

    private func check(_ operation: BlockRequest, _ room: Int) {
        switch operation {
        case .flush: break
        case .read(let lba, let count), .write(let lba, let count):
            check(lba, UInt64(count))
            precondition(Int(count) * 512 <= room, "the data are outside of their buffer")
        case .discard(let lba, let count), .prefetch(let lba, let count), .zeroes(let lba, let count, _):
            check(lba, UInt64(count))
        }
    }

    private func check(_ lba: UInt64, _ count: UInt64) {
        precondition(count > 0 && lba < drive.sectorCount && count <= drive.sectorCount - lba, "outside of the drive")
    }
}
