// The command block registers as a host reads them when a command has ended (ACS-4 clause 6, "normal and
// error outputs").

import Blocks

/// A command's end: the registers as the device returns them, and what travels beside them.
public struct TaskfileResult: Equatable, Sendable {
    /// The status register; see ``Status``.
    public var status: UInt8
    /// The error register; see ``ErrorRegister``. Means something if the status has ERR.
    public var error: UInt8
    /// The count register, previous content in bits 15:8.
    public var count: UInt16
    /// The LBA registers as in ``Taskfile/lba``: current content in bits 23:0, previous content in bits 47:24.
    public var lba: UInt64
    /// The device register.
    public var device: UInt8
    /// Why the medium failed, if that ended the command. The registers show no more than ABRT.
    public var blockFailure: BlockFailure?
    /// Sectors that moved between the host and the medium before the command ended.
    public var sectorsTransferred: UInt32

    /// Creates a result whose registers are those the command was delivered with.
    @inlinable
    public init(_ taskfile: Taskfile, status: UInt8, error: UInt8 = 0, blockFailure: BlockFailure? = nil) {
        self.status = status
        self.error = error
        self.count = taskfile.count
        self.lba = taskfile.lba
        self.device = taskfile.device
        self.blockFailure = blockFailure
        self.sectorsTransferred = 0
    }
}
