// What is said about the drive of an export, or of all exports of a directory.

import ATA
import Media

/// Everything but what the drive is called and where its sectors are.
public struct DriveSettings: Equatable, Sendable {
    /// The properties of QEMU's `-device` option.
    public var device = DriveProperties()
    /// The controller that the drive hangs on.
    public var controller = Controller.piix3IDE
    /// How the image is cached.
    public var cache = CacheMode.writeback
    /// The image is opened for reading only.
    public var readOnly = false

    /// A QEMU HARDDISK that everybody may write to.
    public init() {}

    /// Reads the keys that exports and directories have in common.
    init(_ reader: inout TableReader, controller: Controller) {
        self.controller = reader.parsed("controller", parseController) ?? controller
        let line = reader.line(of: "device")
        if let device = reader.parsed("device", DriveProperties.init(parsing:)) { self.device = device }
        if let cache = reader.parsed("cache", parseCacheMode) { self.cache = cache }
        if let readOnly = reader.boolean("read-only") { self.readOnly = readOnly }
        do {
            try device.checkPlace(on: self.controller)
        } catch {
            reader.add("device", line: line, "\(error)")
        }
    }
}
