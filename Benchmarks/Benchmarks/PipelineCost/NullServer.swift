// A server without sockets and without a medium: what is left of a request's way is the pipeline.

import ATA
import Export
import NBD
import SAT

/// Serves requests as a loop does, from the bytes of a request's header to the bytes of its reply's. The medium is done with
/// everything at once, and has no data.
struct NullServer: ~Copyable {
    private var export: ExportedDrive
    private let parameters: TransmissionParameters
    /// Where a loop keeps a request while it is served.
    private let slot: UnsafeMutablePointer<ServedRequest>
    private let buffer: UnsafeMutableRawBufferPointer
    private let reply: UnsafeMutableRawBufferPointer

    init(sectors: UInt64, controller: Controller = .piix3IDE) throws {
        let drive = Drive(DriveProperties(), sectors: sectors, bootSector: nil, controller: controller)
        export = ExportedDrive(drive, controller: controller)
        let information = try ExportInformation(
            name: "null", identifyData: export.drive.identifyData,
            medium: MediumTraits(isReadOnly: false, zeroesFast: true))
        parameters = TransmissionParameters(
            export: information, messages: .simple, hasAllocationContext: false, blockSizeAdvertised: false)
        slot = .allocate(capacity: 1)
        buffer = .allocate(byteCount: 64 << 10, alignment: 4096)
        reply = .allocate(byteCount: 256, alignment: 64)
    }

    deinit {
        slot.deallocate()
        buffer.deallocate()
        reply.deallocate()
    }

    /// Serves one request.
    ///
    /// - Returns: the length of the reply's header.
    mutating func serve(_ bytes: RawSpan) -> Int {
        let header = RequestHeader(bytes, .simple)
        guard case .perform(let command) = header.validate(for: parameters) else { return 0 }
        slot.initialize(to: ServedRequest(header, as: command))
        precondition(
            slot.pointee.bufferNeeds.byteCount <= buffer.count, "the buffer holds every request of a benchmark")
        var data = MutableRawSpan(_unsafeBytes: buffer)
        var effect = slot.pointee.begin(on: &export, buffer: &data)
        while true {
            switch effect {
            case .perform, .performZeroes:
                effect = slot.pointee.resume(.done, on: &export, buffer: &data)
            case .lbaStatus(_, let limit):
                effect = slot.pointee.resumeLBAStatus(isMapped: true, count: limit, on: &export, buffer: &data)
            case .reply(let error):
                var area = MutableRawSpan(_unsafeBytes: reply)
                return SimpleReply.encode(error: error, cookie: slot.pointee.cookie, into: &area)
            }
        }
    }
}
