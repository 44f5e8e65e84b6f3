// Settings for the drive of an export, or of all exports of a directory.

import ATA
import Backends
import Loop
import Server

/// Everything but what the drive is called and where its sectors are.
public struct DriveSettings: Equatable, Sendable {
    /// The properties of QEMU's `-device` option.
    public var device = DriveProperties()
    /// The controller that the drive hangs on. A whole disk is a SATA drive, and always on AHCI.
    public var controller: Controller {
        get { device.kind.controller(chosenController) }
        set { chosenController = newValue }
    }
    private var chosenController = Controller.piix3IDE
    /// How the image is cached.
    public var cache = CacheMode.writeback
    /// The format of the images; nil: their names' endings say it.
    public var format: DiskFormat?
    /// The internal snapshot of a qcow2 image that the disk begins as; nil: as the image is.
    public var imageSnapshot: String?
    /// Where what is answered is until it is flushed.
    public var writeCacheModel = WriteCacheModel.image
    /// What is wrong with the drive from the beginning.
    public var faults: [FaultRule] = []
    /// The image is opened for reading only: its user says so, or the drive cannot write.
    public var readOnly: Bool {
        get { isToldToOnlyRead || device.kind.isDisc }
        set { isToldToOnlyRead = newValue }
    }
    private var isToldToOnlyRead = false
    /// The image is locked against a second writer.
    public var isLocked = true
    /// The description for clients; nil: the drive's own.
    public var description: String?
    /// Only clients with TLS may open it.
    public var requiresTLS = false
    /// Rules for clients: any one of them lets a client in; without rules everybody may open it.
    public var access: [AccessRule] = []
    /// How many connections may have it open; nil: any number.
    public var maximumConnections: Int?
    /// See ``ServedExport/isTakenOver``.
    public var isTakenOver = false

    /// How many connections an export may have.
    public static let connectionRange = 1...1_000_000

    /// A QEMU HARDDISK that everybody may write to.
    public init() {}

    /// Reads the keys that exports and directories have in common.
    init(_ reader: inout TableReader, controller: Controller) {
        let (lineOfController, said) = (reader.line(of: "controller"), reader.parsed("controller", parseController))
        self.controller = said ?? controller
        let line = reader.line(of: "device")
        if let device = reader.parsed("device", DriveProperties.init(parsing:)) { self.device = device }
        do {
            if let said { try device.kind.check(said) }
        } catch {
            reader.add("controller", line: lineOfController, "\(error)")
        }
        if let cache = reader.parsed("cache", parseCacheMode) { self.cache = cache }
        if let format = reader.parsed("image-format", DiskFormat.init(parsing:)) { self.format = format }
        imageSnapshot = reader.string("image-snapshot")
        let lineOfModel = reader.line(of: "write-cache-model")
        if let model = reader.parsed("write-cache-model", WriteCacheModel.init(parsing:)) { writeCacheModel = model }
        let lineOfReadOnly = reader.line(of: "read-only")
        if let readOnly = reader.boolean("read-only") {
            self.readOnly = readOnly
            if !readOnly, device.kind.isDisc {
                reader.add(
                    "read-only", line: lineOfReadOnly,
                    "\(device.kind.rawValue) only reads: leave read-only out, or say true")
            }
        }
        do {
            try checkWriteCache()
        } catch {
            reader.add("write-cache-model", line: lineOfModel, "\(error)")
        }
        let lineOfFaults = reader.line(of: "fault")
        faults = reader.list("fault", FaultRule.init(parsing:))
        do {
            try checkFaults()
        } catch {
            reader.add("fault", line: lineOfFaults, "\(error)")
        }
        if let isLocked = reader.parsed("locking", parseLocking) { self.isLocked = isLocked }
        description = reader.parsed("description") { try ExportSettings.checked($0, "description") }
        if let requiresTLS = reader.boolean("tls-only") { self.requiresTLS = requiresTLS }
        access = AccessRule.read(&reader)
        maximumConnections = reader.number("connections", Self.connectionRange)
        if let isTakenOver = reader.boolean("takeover") { self.isTakenOver = isTakenOver }
        do {
            try device.checkPlace(on: self.controller)
        } catch {
            reader.add("device", line: line, "\(error)")
        }
    }

    /// A drive that only reads has nothing to lose.
    public func checkWriteCache() throws(SettingsError) {
        guard writeCacheModel == .image || !readOnly else {
            throw SettingsError("a drive that only reads has no write cache: leave write-cache-model out")
        }
    }

    /// Only a whole disk can be broken, and in so many ways at a time.
    public func checkFaults() throws(SettingsError) {
        guard faults.isEmpty || device.kind.isWholeDisk else {
            throw SettingsError(
                "'\(device.kind.rawValue)' is what it is elsewhere, and has no faults: say spindle-hd or spindle-ssd as the"
                    + " device, or leave fault out")
        }
        guard faults.count <= FaultRule.limit else {
            throw SettingsError("a drive has at most \(FaultRule.limit) faults, and these are \(faults.count)")
        }
    }

    /// Breaks a drive before its power comes.
    func plantFaults(in drive: inout Drive) throws(SettingsError) {
        for rule in faults {
            do throws(FaultRuleError) {
                try drive.plant(rule, isRunning: false)
            } catch {
                throw SettingsError("fault '\(rule)': \(error)")
            }
        }
    }

    /// Settings that no client could ever get past.
    func dilemmas(_ settings: ServeSettings) -> [(key: String, message: String)] {
        let tls = settings.tls
        var dilemmas: [(key: String, message: String)] = []
        if requiresTLS, !tls.isUsed {
            dilemmas.append(("tls-only", "the server has no TLS: nobody could open it; [tls] says where keys are"))
        }
        return dilemmas + access.flatMap { $0.dilemmas(settings) }.map { ("access", $0) }
    }
}

extension AccessRule {
    /// Why no client could ever meet it.
    func dilemmas(_ settings: ServeSettings) -> [String] {
        let tls = settings.tls
        var dilemmas: [String] = []
        if certificateName != nil, !tls.isUsed || tls.verifyPeer != true {
            dilemmas.append("clients show no certificates: [tls] needs certificates, and verify-peer = true")
        }
        if preSharedKeyUser != nil, !tls.isUsed || tls.preSharedKeys == nil {
            dilemmas.append("clients have no pre-shared keys: [tls] needs psk")
        }
        if chapUser != nil, settings.chap == nil {
            dilemmas.append("initiators do not prove who they are: the server needs chap")
        }
        if isForInitiators, certificateName != nil || preSharedKeyUser != nil || user != nil {
            dilemmas.append("an iSCSI initiator has no certificate, pre-shared key or user: nobody could meet the rule")
        }
        return dilemmas
    }
}

extension DriveKind {
    /// Refuses a controller that somebody has chosen for a drive which is never there: a whole disk is a SATA drive.
    public func check(_ chosen: Controller) throws(SettingsError) {
        let own = controller(chosen)
        guard own == chosen else {
            throw SettingsError(
                "\(rawValue) is a SATA drive, and \(chosen.rawValue) has no place for one: leave controller out, or say "
                    + own.rawValue)
        }
    }
}

extension DriveSettings {
    /// How many descriptors a drive with a file takes: the image, once for each loop if it can be written, once more if
    /// it is read past the page cache, and what says that it is closed.
    public func descriptors(loops: Int) -> Int {
        (readOnly ? 1 : loops) + (cache.bypassesPageCache ? 1 : 0) + 1
    }
}

extension ExportSettings {
    /// How many descriptors the export takes.
    public func descriptors(loops: Int) -> Int {
        // Of a state: its file, the next one, and their folder.
        (record == nil ? 0 : 1) + (state == nil ? 0 : 3) + descriptorsOfImage(loops: loops)
    }

    private func descriptorsOfImage(loops: Int) -> Int {
        guard reference.path != nil else { return 1 }
        guard changes == nil else {
            var base = self
            base.changes = nil
            return drive.descriptors(loops: loops) + base.descriptorsOfImage(loops: loops)
        }
        var drive = drive
        if reference.isOverlay { drive.readOnly = true }
        guard format == .qcow2 else { return drive.descriptors(loops: loops) }
        return drive.descriptors(loops: loops)
            + ImageChain.maximumBackings * (drive.cache.bypassesPageCache ? 2 : 1)
    }
}
