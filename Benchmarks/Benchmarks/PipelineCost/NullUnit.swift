// A unit without a session and without a medium: what is left of an initiator's command is its way through the device
// server, SAT and the drive.

import ATA
import SCSI
import Units

/// Serves commands as a loop does, from a CDB to its status. The medium is done with everything at once.
struct NullUnit: ~Copyable {
    private var drive: ExportedDrive
    private var server = DeviceServer()
    private let nexus: NexusNumber
    /// Where a loop keeps a command while it is served.
    private let slot: UnsafeMutablePointer<ServedCommand>
    private let buffer: UnsafeMutableRawBufferPointer

    init(sectors: UInt64) {
        drive = ExportedDrive(
            Drive(DriveProperties(), sectors: sectors, bootSector: nil, controller: .piix3IDE), controller: .piix3IDE)
        guard let nexus = server.connect(initiatorPort: Array("iqn.2026-11.net.example:a,i,0x00023d000001".utf8)) else {
            preconditionFailure("there is room for one")
        }
        self.nexus = nexus
        slot = .allocate(capacity: 1)
        buffer = .allocate(byteCount: 64 << 10, alignment: 4096)
        // The first command is told that the nexus is new.
        _ = serve([UInt8](repeating: 0, count: 16).span.bytes)
    }

    deinit {
        slot.deallocate()
        buffer.deallocate()
    }

    /// Serves one command, whose initiator expects 4 KiB either way.
    ///
    /// - Returns: whether it ends with GOOD.
    mutating func serve(_ bytes: RawSpan) -> Bool {
        let cdb = CommandDescriptorBlock(parsing: bytes)
        let writes = cdb.operationCode == OperationCode.write16
        slot.initialize(
            to: ServedCommand(
                cdb, expectedBytes: 4096, reads: !writes, writes: writes, nexus: nexus, unit: drive.facts))
        precondition(slot.pointee.bufferNeeds.byteCount <= buffer.count, "the buffer holds every benchmark's command")
        var data = MutableRawSpan(_unsafeBytes: buffer)
        var step = slot.pointee.begin(on: &drive, by: &server, buffer: &data)
        while true {
            switch step {
            case .perform, .performZeroes:
                step = slot.pointee.resume(.done, on: &drive, by: &server, buffer: &data)
            case .lbaStatus(_, let limit):
                step = slot.pointee.resumeLBAStatus(
                    isMapped: true, count: limit, on: &drive, by: &server, buffer: &data)
            case .commandEnded:
                step = slot.pointee.goOn(on: &drive, by: &server, buffer: &data)
            case .finished:
                return slot.pointee.status == .good
            }
        }
    }
}
