// The drive as a JSON object (RFC 8259), for programs.

import ATA

/// A value of JSON, as far as a report needs it.
indirect enum JSONValue {
    case string(String)
    case number(UInt64)
    case boolean(Bool)
    case null
    case array([JSONValue])
    case object([(name: String, value: JSONValue)])

    /// The text, members of an object on lines of their own.
    func text(indentation: String = "") -> String {
        switch self {
        case .string(let string): return Self.quoted(string)
        case .number(let number): return String(number)
        case .boolean(let boolean): return boolean ? "true" : "false"
        case .null: return "null"
        case .array(let values): return "[" + values.map { $0.text() }.joined(separator: ", ") + "]"
        case .object(let members):
            let inner = indentation + "  "
            let lines = members.map { "\(inner)\(Self.quoted($0.name)): \($0.value.text(indentation: inner))" }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(indentation)}"
        }
    }

    /// A string in quotes; quotation mark, reverse solidus and control characters are escaped (RFC 8259, section 7).
    private static func quoted(_ string: String) -> String {
        let escaped = string.unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case _ where scalar.value < 0x20: "\\u" + scalar.value.hex(4)
            default: String(scalar)
            }
        }
        return "\"" + escaped.joined() + "\""
    }
}

extension DriveReport {
    /// The drive as an object. Members that a drive may lack are null then.
    var json: JSONValue {
        switch drive.kind {
        case .disk, .hardDisk, .solidState: jsonOfDisk
        case .dvdROM, .fullDVDROM: jsonOfDVD
        }
    }

    private var jsonOfDVD: JSONValue {
        let identify = identifyData
        let profile: JSONValue = drive.sectors == 0 ? .null : .string(drive.mediumIsCD ? "CD-ROM" : "DVD-ROM")
        return .object([
            ("model", .string(identify.modelNumber)), ("firmware", .string(identify.firmwareRevision)),
            ("serial", .string(identify.serialNumber)), ("profile", profile),
            ("sectors", .number(drive.sectors)), ("bytes", .number(drive.blockSize.bytes(ofBlocks: drive.sectors))),
            ("logicalSectorBytes", .number(drive.blockSize.bytes)),
            ("transferMode", .string(identify.selectedTransferMode)),
            ("fastestTransferMode", .string(identify.fastestTransferMode)),
            ("controller", .string(placement.controller.rawValue)),
            (
                "linux",
                .object([
                    ("ata", .string(placement.ataName)), ("scsi", .string(placement.scsiAddress)),
                    ("disc", .string(placement.discName)),
                ])
            ),
            ("identify", .array((0..<256).map { .number(UInt64(identify[word: $0])) })),
        ])
    }

    private var jsonOfDisk: JSONValue {
        let identify = identifyData
        let geometry = identify.defaultGeometry
        return .object([
            ("model", .string(identify.modelNumber)), ("firmware", .string(identify.firmwareRevision)),
            ("serial", .string(identify.serialNumber)),
            ("wwn", identify.worldWideName.map { .string("0x\($0.hex(16))") } ?? .null),
            ("sectors", .number(identify.sectors)),
            ("bytes", .number(identify.sectors &* UInt64(identify.logicalSectorBytes))),
            ("logicalSectorBytes", .number(UInt64(identify.logicalSectorBytes))),
            ("physicalSectorBytes", .number(UInt64(identify.physicalSectorBytes))),
            (
                "geometry",
                .object([
                    ("cylinders", .number(UInt64(geometry.cylinders))), ("heads", .number(UInt64(geometry.heads))),
                    ("sectorsPerTrack", .number(UInt64(geometry.sectorsPerTrack))),
                ])
            ),
            ("writeCache", .boolean(identify.writeCacheEnabled)),
            ("forceUnitAccess", .boolean(identify.supportsForceUnitAccess)),
            ("trim", .boolean(identify.supportsTrim)), ("rotationRate", .number(UInt64(identify.rotationRate))),
            ("transferMode", .string(identify.selectedTransferMode)),
            ("fastestTransferMode", .string(identify.fastestTransferMode)),
            ("queueDepth", .number(identify.supportsNCQ ? UInt64(identify.queueDepth) : 1)),
            ("controller", .string(placement.controller.rawValue)),
            (
                "linux",
                .object([
                    ("ata", .string(placement.ataName)), ("scsi", .string(placement.scsiAddress)),
                    ("disk", .string(placement.diskName)),
                ])
            ),
            ("identify", .array((0..<256).map { .number(UInt64(identify[word: $0])) })),
        ])
    }
}
