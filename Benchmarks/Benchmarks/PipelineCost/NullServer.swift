// A server without sockets and without a medium: what is left of a request's way is the pipeline.

import ATA
import Export
import NBD
import Replies
import SAT
import Units

/// Serves requests as a loop does, from the bytes of a request's header to the bytes of its reply's. The medium is done
/// with everything at once, and has no data.
struct NullServer: ~Copyable {
    private var export: ExportedDrive
    private var session: Session
    /// Where a loop keeps a request while it is served.
    private let slot: UnsafeMutablePointer<ServedRequest>
    private let buffer: UnsafeMutableRawBufferPointer
    private let headers: UnsafeMutableRawBufferPointer
    private var layout = ReplyLayout()

    init(sectors: UInt64, controller: Controller = .piix3IDE) throws {
        let drive = Drive(DriveProperties(), sectors: sectors, bootSector: nil, controller: controller)
        export = ExportedDrive(drive, controller: controller)
        let information = try ExportInformation(
            name: "null", identifyData: export.drive.identifyData,
            blocks: BlockTraits(isReadOnly: false, zeroesFast: true))
        session = Session()
        session.directory = [information]
        session.open()
        slot = .allocate(capacity: 1)
        buffer = .allocate(byteCount: 64 << 10, alignment: 4096)
        headers = .allocate(byteCount: ReplyLayout.headerAreaBytes, alignment: 64)
    }

    deinit {
        slot.deallocate()
        buffer.deallocate()
        headers.deallocate()
    }

    /// Serves one request: its header, and of a WRITE the payload, which is where it belongs already.
    ///
    /// - Returns: the length of the reply's header.
    mutating func serve(_ bytes: RawSpan) -> Int {
        guard case (bytes.byteCount, .begin(let request)) = session.advance(bytes) else { return 0 }
        if session.awaitsPayload { session.payloadMoved(session.payloadBytesLeft) }
        slot.initialize(to: ServedRequest(request, blockSize: export.blockSize))
        precondition(
            slot.pointee.bufferNeeds.byteCount <= buffer.count, "the buffer holds every request of a benchmark")
        var data = MutableRawSpan(_unsafeBytes: buffer)
        var step = slot.pointee.begin(on: &export, buffer: &data)
        while true {
            switch step {
            case .perform, .performZeroes:
                step = slot.pointee.resume(.done, on: &export, buffer: &data)
            case .lbaStatus(_, let limit):
                step = slot.pointee.resumeLBAStatus(isMapped: true, count: limit, on: &export, buffer: &data)
            case .commandEnded:
                step = slot.pointee.goOn(on: &export, buffer: &data)
            case .finished:
                return reply(slot.pointee.error)
            }
        }
    }

    private mutating func reply(_ error: NBDError?) -> Int {
        let request = slot.pointee.request
        let ending: Ending = error.map { .failure($0, "it failed") } ?? .success
        var area = MutableRawSpan(_unsafeBytes: headers)
        session.encode(
            ending, of: request, data: RawSpan(_unsafeBytes: UnsafeRawBufferPointer(buffer)),
            at: slot.pointee.bufferNeeds.dataOffset, isOpaque: false, into: &area, &layout)
        return layout.parts[0].headerBytes
    }
}

extension Session {
    /// The client opens the first unit with EXPORT_NAME, and gets simple replies.
    fileprivate mutating func open() {
        let stream: [UInt8] = [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + [0, 0, 0, 1, 0, 0, 0, 0]
        guard case (stream.count, .open(unit: 0)) = advance(stream.span.bytes) else {
            preconditionFailure("the handshake is sound")
        }
        opened(as: 0)
    }
}
