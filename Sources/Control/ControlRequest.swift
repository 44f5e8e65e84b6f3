// Requests of `spindle ctl`.

/// Contents of requests.
public enum ControlRequest {
    /// An export to add; the server decides about nil values.
    public struct NewExport: Encodable {
        /// Clients ask for this name.
        public var name: String
        /// The image, as the server finds it.
        public var image: String
        /// As in the configuration file.
        public var device, controller, cache, imageFormat, imageSnapshot, writeCacheModel, changes, record,
            state, locking: String?
        /// As in the configuration file.
        public var fault: [String]?
        /// As in the configuration file.
        public var target: String?
        /// As in the configuration file.
        public var lun: Int?
        /// As in the configuration file.
        public var perClient, readOnly: Bool

        /// Describes an export.
        public init(
            name: String, image: String, device: String?, controller: String?, cache: String?,
            imageFormat: String?, imageSnapshot: String?, writeCacheModel: String?, fault: [String]?,
            changes: String?, record: String?, state: String?, locking: String?, target: String?, lun: Int?,
            perClient: Bool, readOnly: Bool
        ) {
            self.name = name
            self.image = image
            self.device = device
            self.controller = controller
            self.cache = cache
            self.imageFormat = imageFormat
            self.imageSnapshot = imageSnapshot
            self.writeCacheModel = writeCacheModel
            self.fault = fault
            self.changes = changes
            self.record = record
            self.state = state
            self.locking = locking
            self.target = target
            self.lun = lun
            self.perClient = perClient
            self.readOnly = readOnly
        }

        /// The content.
        public var body: [UInt8] { JSON.encode(self) }
    }

    /// The content that asks for a size.
    public static func growth(_ size: String) -> [UInt8] { JSON.encode(["size": size]) }

    /// The content that names a snapshot to go back to.
    public static func snapshot(_ name: String) -> [UInt8] { JSON.encode(["snapshot": name]) }

    /// The content that names something new; of a fork with the snapshot that it begins as, and the file that keeps its
    /// changes.
    public static func new(_ name: String, snapshot: String? = nil, changes: String? = nil) -> [UInt8] {
        var members = ["name": name]
        members["snapshot"] = snapshot
        members["changes"] = changes
        return JSON.encode(members)
    }

    /// The content that names a disc.
    public static func disc(_ image: String) -> [UInt8] { JSON.encode(["image": image]) }

    /// The content that asks for the power to be cut, or back.
    public static func power(_ texts: PowerTexts) -> [UInt8] {
        var members = ["state": texts.state]
        for option in PowerTexts.options { members[option.name] = texts[keyPath: option.text] }
        return JSON.encode(members)
    }

    /// The content that breaks a drive.
    public static func fault(_ rule: String) -> [UInt8] { JSON.encode(["rule": rule]) }

    /// The content that asks for a level.
    public static func logLevel(_ level: String) -> [UInt8] { JSON.encode(["level": level]) }
}
