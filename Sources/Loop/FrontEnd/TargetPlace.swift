// Where initiators find an export: what settings say of it, and what becomes of that.

import ISCSI

/// The options of an export's target.
public struct TargetOptions: Equatable, Sendable {
    /// Its name; nil: one is made of the export's.
    public var name: TargetName?
    /// The export's number in a target that may have several, which then has a name; nil: it has a target of its own.
    public var logicalUnit: UInt8?
    /// Initiators that any of these rules lets in may find the target; without a rule everybody may.
    public var access: [AccessRule]

    /// By default an export has a target of its own, for everybody.
    public init(name: TargetName? = nil, logicalUnit: UInt8? = nil, access: [AccessRule] = []) {
        self.name = name
        self.logicalUnit = logicalUnit
        self.access = access
    }
}

/// Where initiators find an export.
public struct TargetPlace: Equatable, Sendable {
    /// The target.
    public let name: TargetName
    /// The number of its logical unit.
    public let logicalUnit: UInt8
    /// The target may have others.
    public let isShared: Bool

    /// The most logical units of a target: REPORT LUNS lists them in a page.
    public static let logicalUnitLimit = 64

    /// The place that an export asks for; nil if no name can be made of its own.
    public init?(export: String, _ options: TargetOptions, prefix: TargetName) {
        guard let name = options.name ?? TargetName(export: export, prefix: prefix) else { return nil }
        self.name = name
        logicalUnit = options.logicalUnit ?? 0
        isShared = options.logicalUnit != nil
    }

    /// Both cannot be served.
    public func collides(with other: TargetPlace) -> Bool {
        name == other.name && !(isShared && other.isShared && logicalUnit != other.logicalUnit)
    }
}
