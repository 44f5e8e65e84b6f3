// The names that Linux and its tools give a drive, from where it hangs: controller, bus and unit.

import ATA

/// Where a drive hangs, in a machine with one IDE controller and no other SCSI host.
public struct Placement: Equatable, Sendable {
    /// The IDE controller.
    public let controller: Controller
    /// The channel of the PIIX3 or the port of the ICH9.
    public let bus: UInt8
    /// 0 for the master, 1 for the slave.
    public let unit: UInt8
    /// How many SCSI devices Linux found before this one. It numbers the sg devices by that.
    public let devicesBefore: Int

    /// Creates a placement.
    /// - Parameter devicesBefore: by default the master, if this is the slave: a slave seldom hangs alone.
    public init(controller: Controller, bus: UInt8, unit: UInt8, devicesBefore: Int? = nil) {
        self.controller = controller
        self.bus = bus
        self.unit = unit
        self.devicesBefore = devicesBefore ?? Int(unit)
    }

    /// libata's name, `ata1.01`: ports count from 1, devices from 0.
    public var ataName: String { "ata\(Int(bus) + 1).0\(unit)" }
    /// The SCSI address, `0:0:1:0`: host, channel, target, logical unit. libata makes a host of every port.
    public var scsiAddress: String { "\(bus):0:\(unit):0" }
    /// The name of the disk. It is the first: whatever hangs before it is no disk.
    public var diskName: String { "sda" }
    /// The name of the DVD-ROM, the first as well.
    public var discName: String { "sr0" }
    /// The name of the SCSI generic device.
    public var genericName: String { "sg\(devicesBefore)" }
}
