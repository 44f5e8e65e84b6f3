// QEMU's syntax of `-device ide-hd,...`, for all kinds of drives: name=value pairs between commas, a doubled comma
// standing for one inside a value.

import Blocks

/// A mistake in a `-device` text: the property, its value, and the right way.
public enum DevicePropertyError: Error, Equatable, CustomStringConvertible {
    /// The text names an unknown device, or none: an empty string.
    case unknownDevice(String)
    /// The device has no such property; `nearest` is the one whose name looks most like it.
    case unknownProperty(String, of: DriveKind, nearest: String?)
    /// The property exists, but not with this value.
    case badValue(property: String, value: String, expected: String)
    /// `cyls`, `heads` and `secs` come together or not at all.
    case incompleteGeometry(missing: String)
    /// The controller has no such place for a drive.
    case noSuchPlace(property: String, value: String, expected: String)

    /// The message for a person.
    public var description: String {
        switch self {
        case .unknownDevice(""):
            "no device is named: there are \(Self.devices), as in ide-hd,serial=918a6997-1928-38a1-9"
        case .unknownDevice(let name):
            "unknown device '\(name)': there are \(Self.devices), as in ide-hd,serial=918a6997-1928-38a1-9"
        case .unknownProperty(let name, let kind, let nearest?):
            "\(kind.rawValue) has no property '\(name)': did you mean '\(nearest)'?"
        case .unknownProperty(let name, let kind, nil):
            "\(kind.rawValue) has no property '\(name)': it has "
                + DriveProperties.names(of: kind).joined(separator: ", ")
        case .badValue(let property, let value, let expected):
            "\(property)=\(value): \(property) must be \(expected)"
        case .incompleteGeometry(let missing):
            "\(missing) is missing: cyls, heads and secs are given together or not at all"
        case .noSuchPlace(let property, let value, let expected):
            "\(property)=\(value): \(expected)"
        }
    }

    private static var devices: String {
        let names = DriveKind.allCases.map(\.rawValue)
        return names.dropLast().joined(separator: ", ") + " and " + names[names.count - 1]
    }
}

extension DriveProperties {
    /// The properties that make a difference to the drive, in the order in which messages list them.
    public static let names = [
        "serial", "model", "ver", "wwn", "write-cache", "rotation_rate", "physical_block_size", "logical_block_size",
        "discard_granularity", "cyls", "heads", "secs", "bus", "unit",
    ]

    /// Properties of QEMU's `ide-hd` that say something to QEMU alone: accepted, so that a line can be pasted, and
    /// ignored, whatever their value.
    static let ignoredNames = [
        "drive", "id", "bootindex", "share-rw", "rerror", "werror", "account-failed", "account-invalid",
        "backend_defaults", "bios-chs-trans", "lcyls", "lheads", "lsecs", "min_io_size", "opt_io_size",
    ]

    /// Properties that a device does not have: no other than `ide-hd` has a geometry, and only what rotates a rate.
    private static func missingNames(of kind: DriveKind) -> Set<String> {
        switch kind {
        case .disk: []
        case .hardDisk: geometryNames
        case .dvdROM, .fullDVDROM, .solidState: geometryNames.union(["rotation_rate"])
        }
    }

    private static let geometryNames: Set = [
        "cyls", "heads", "secs", "bios-chs-trans", "lcyls", "lheads", "lsecs",
    ]

    /// Those of ``names`` that the device has.
    static func names(of kind: DriveKind) -> [String] {
        let missing = missingNames(of: kind)
        return names.filter { !missing.contains($0) }
    }

    fileprivate static func isKnown(_ name: String) -> Bool { names.contains(name) || ignoredNames.contains(name) }

    /// Parses QEMU's `-device` syntax, `ide-hd,serial=...,write-cache=on`.
    public init(parsing text: String) throws(DevicePropertyError) {
        var parser = OptionTextParser(text)
        var device = ""
        var options: [OptionText] = []
        while let option = parser.next() {
            if option.name == "driver" { device = option.value } else { options.append(option) }
        }
        guard let kind = DriveKind(rawValue: device) else { throw .unknownDevice(device) }
        self.init(kind)
        var given = GivenGeometry()
        for option in options { try set(option, &given) }
        geometry = try given.checked()
        try checkBlockSizes()
    }

    /// Applies one property; a later one replaces an earlier one of the same name, as in QEMU.
    private mutating func set(_ option: OptionText, _ given: inout GivenGeometry) throws(DevicePropertyError) {
        let value = option.value
        switch option.name {
        case let name where Self.missingNames(of: kind).contains(name):
            throw .unknownProperty(name, of: kind, nearest: nil)
        case "serial": serialNumber = value
        case "model": modelNumber = value
        case "ver": firmwareRevision = value
        case "wwn": worldWideName = try option.number(upTo: .max, "a number of 64 bits, as in 0x5000c50015ea71ac")
        case "write-cache": writeCache = try Self.writeCache(option)
        case "rotation_rate":
            let range = "0 (not reported), 1 (not rotating) or revolutions per minute up to 65535"
            rotationRate = UInt16(try option.number(upTo: 65535, range))
        case "physical_block_size": physicalBlockBytes = try Self.physicalBlockBytes(option)
        case "logical_block_size": try setLogicalBlockSize(option)
        case "discard_granularity":
            let bytes = try option.size("0 (no TRIM) or 512")
            guard bytes == 0 || bytes == 512 else { throw option.bad("0 (no TRIM) or 512") }
            supportsTrim = bytes != 0
        case "cyls": given.cylinders = UInt32(try option.number(upTo: 65535, "between 1 and 65535"))
        case "heads": given.heads = UInt32(try option.number(upTo: 16, "between 1 and 16"))
        case "secs": given.sectorsPerTrack = UInt32(try option.number(upTo: 255, "between 1 and 255"))
        case "bus": (busName, bus) = try Self.bus(option)
        case "unit": unit = UInt8(try option.number(upTo: 1, "0 (master) or 1 (slave)"))
        case let name where Self.ignoredNames.contains(name): break
        case let name:
            let ignored = Self.ignoredNames.filter { !Self.missingNames(of: kind).contains($0) }
            let names = Self.names(of: kind) + ignored
            throw .unknownProperty(name, of: kind, nearest: nearestName(to: name, among: names))
        }
    }

    /// Zero is QEMU's way to say "not given", here and for the physical size.
    private mutating func setLogicalBlockSize(_ option: OptionText) throws(DevicePropertyError) {
        let expected = kind.isWholeDisk ? "512 or 4096" : "512 for an IDE drive"
        let bytes = try option.size(expected)
        guard bytes == 0 || bytes == 512 || bytes == 4096 && kind.isWholeDisk else { throw option.bad(expected) }
        if bytes == 4096, let size = BlockSize(bytes: 4096) { logicalBlockSize = size }
    }

    private func checkBlockSizes() throws(DevicePropertyError) {
        guard kind.isWholeDisk, UInt64(physicalBlockBytes) < logicalBlockSize.bytes else { return }
        throw .badValue(
            property: "physical_block_size", value: "\(physicalBlockBytes)",
            expected: "no smaller than logical_block_size, \(logicalBlockSize.bytes)")
    }

    private static func writeCache(_ option: OptionText) throws(DevicePropertyError) -> WriteCache {
        switch option.value {
        case "on": .on
        case "off": .off
        case "auto": .auto
        default: throw option.bad("on, off or auto")
        }
    }

    private static func physicalBlockBytes(_ option: OptionText) throws(DevicePropertyError) -> UInt32 {
        let expected = "a power of two from 512 to 2M"
        let bytes = try option.size(expected)
        if bytes == 0 { return 512 }
        guard (512...2_097_152).contains(bytes), bytes & (bytes - 1) == 0 else { throw option.bad(expected) }
        return UInt32(bytes)
    }

    /// QEMU names a controller's buses by its id, `ahci.0` for `-device ich9-ahci,id=ahci`, and those of a machine's
    /// own `ide.0`: the text before the dot is any name, the number behind it is the channel or the port.
    private static func bus(_ option: OptionText) throws(DevicePropertyError) -> (name: String, number: UInt8) {
        let expected = "the controller's name and a number, as in ide.0 or ahci.0: up to 1 (piix3-ide) or 5 (ich9-ahci)"
        guard let dot = option.value.lastIndex(of: "."), dot > option.value.startIndex,
            let number = UInt8(option.value[option.value.index(after: dot)...]), number <= 5,
            // As QEMU writes it: no sign, no zeroes before it.
            option.value.hasSuffix(".\(number)")
        else { throw option.bad(expected) }
        return (String(option.value[..<dot]), number)
    }

    /// Checks that the controller has the place that `bus` and `unit` name: two channels of two drives each on the
    /// PIIX3, six ports of one drive each on the ICH9.
    public func checkPlace(on controller: Controller) throws(DevicePropertyError) {
        switch controller {
        case .piix3IDE where bus > 1:
            throw .noSuchPlace(
                property: "bus", value: "\(busName).\(bus)",
                expected: "piix3-ide has the channels \(busName).0 and \(busName).1")
        case .ich9AHCI where unit > 0:
            throw .noSuchPlace(
                property: "unit", value: "\(unit)",
                expected: "a port of ich9-ahci has one drive, unit=0; more drives hang on ide.1 to ide.5")
        default: break
        }
    }
}

/// `cyls`, `heads` and `secs` as far as they were given; 0 is not given, as in QEMU.
private struct GivenGeometry {
    var cylinders: UInt32 = 0
    var heads: UInt32 = 0
    var sectorsPerTrack: UInt32 = 0

    func checked() throws(DevicePropertyError) -> Geometry? {
        if cylinders == 0 && heads == 0 && sectorsPerTrack == 0 { return nil }
        if cylinders == 0 { throw .incompleteGeometry(missing: "cyls") }
        if heads == 0 { throw .incompleteGeometry(missing: "heads") }
        if sectorsPerTrack == 0 { throw .incompleteGeometry(missing: "secs") }
        return Geometry(cylinders: cylinders, heads: heads, sectorsPerTrack: sectorsPerTrack)
    }
}

/// One `name=value` pair of an option text.
private struct OptionText {
    var name: String
    var value: String

    /// The error for a value that the property cannot have.
    func bad(_ expected: String) -> DevicePropertyError {
        .badValue(property: name, value: value, expected: expected)
    }

    /// The value as a number: decimal, `0x` hexadecimal or, with another leading zero, octal, as C's strtoull reads it.
    func number(upTo limit: UInt64, _ expected: String) throws(DevicePropertyError) -> UInt64 {
        let number =
            if value.hasPrefix("0x") || value.hasPrefix("0X") {
                digits(value.dropFirst(2), radix: 16)
            } else {
                digits(value[...], radix: value.hasPrefix("0") ? 8 : 10)
            }
        guard let number, number <= limit else { throw bad(expected) }
        return number
    }

    /// The value as a size in bytes: a number, or a decimal number with one of the binary suffixes B, K, M, G, T, P, E.
    func size(_ expected: String) throws(DevicePropertyError) -> UInt64 {
        guard let last = value.utf8.last, let power = Array("bkmgtpe".utf8).firstIndex(of: last | 0x20),
            !value.hasPrefix("0x"), !value.hasPrefix("0X")
        else { return try number(upTo: .max, expected) }
        guard let count = digits(value.dropLast(), radix: 10) else { throw bad(expected) }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: 1 << (10 * UInt64(power)))
        if overflow { throw bad(expected) }
        return bytes
    }

    /// A number without a sign, which Swift's own parsing would take.
    private func digits(_ text: Substring, radix: Int) -> UInt64? {
        text.utf8.first == UInt8(ascii: "+") ? nil : UInt64(text, radix: radix)
    }
}

/// Takes an option text apart from left to right. It walks Unicode scalars, so that no combining character can hide a
/// comma.
private struct OptionTextParser {
    private var rest: Substring.UnicodeScalarView
    private var isFirst = true

    init(_ text: String) { rest = text[...].unicodeScalars }

    /// The next pair, or nil at the end of the text.
    mutating func next() -> OptionText? {
        defer { isFirst = false }
        if rest.isEmpty { return nil }
        let name = String(rest.prefix { $0 != "=" && $0 != "," })
        if rest.dropFirst(name.unicodeScalars.count).first == "=" {
            rest = rest.dropFirst(name.unicodeScalars.count + 1)
            return OptionText(name: name, value: takeValue())
        }
        // The first word may stand without its name.
        if isFirst { return OptionText(name: "driver", value: takeValue()) }
        rest = rest.dropFirst(name.unicodeScalars.count + 1)
        // A name alone switches on; with "no" before it, off.
        let negated = String(name.dropFirst(2))
        if name.hasPrefix("no"), DriveProperties.isKnown(negated) { return OptionText(name: negated, value: "off") }
        return OptionText(name: name, value: "on")
    }

    /// Takes a value up to the next single comma, which goes with it; a doubled one is part of the value.
    private mutating func takeValue() -> String {
        var value = String.UnicodeScalarView()
        while let scalar = rest.popFirst() {
            if scalar == "," {
                guard rest.first == "," else { break }
                rest.removeFirst()
            }
            value.append(scalar)
        }
        return String(value)
    }
}
