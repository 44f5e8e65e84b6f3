// Probable mistakes in valid settings: `serve`, `check` and `ctl add` tell of them.

import Logging

/// A warning about an export.
public enum ExportWarning: Equatable, Sendable, CustomStringConvertible {
    /// The serial number is longer than the drive's 20 characters (ACS-4 7.12.7.10, words 10-19). QEMU uses the first
    /// of them, too.
    case serialNumberCut(export: String, characters: Int, kept: String)
    /// Drives with one serial number, as they show it: ACS-4 wants model and serial number to be unique together.
    case sameSerialNumber(exports: [String], String)
    /// Drives with one world wide name (ACS-4 7.12.7.49, words 108-111).
    case sameWorldWideName(exports: [String], UInt64)
    /// The image is of another format, or packed: it is served as the bytes that it is.
    case otherFormat(export: String, image: String, ImageFormat)
    /// The machine uses the block device itself.
    case deviceInUse(export: String, device: String)
    /// What clients write is kept in memory, and there is room for more of it than this machine has.
    case moreThanMemory(export: String, sizeBytes: UInt64, machineBytes: UInt64)

    /// The fact, and why it matters.
    public var description: String {
        switch self {
        case .serialNumberCut(let export, let characters, let kept):
            "export '\(export)' has a serial number of \(characters) characters: the drive has the first 20, '\(kept)'"
        case .sameSerialNumber(let exports, let serial):
            "\(Self.list(exports)) have the same serial number '\(serial)': clients that know disks by it confuse them"
        case .sameWorldWideName(let exports, let name):
            "\(Self.list(exports)) have the same world wide name 0x\(String(name, radix: 16)): clients that know disks by"
                + " it take them for two paths to one disk"
        case .otherFormat(let export, let image, let format):
            "export '\(export)': '\(image)' begins like \(format); it is served as the raw file"
        case .deviceInUse(let export, let device):
            "export '\(export)': this machine uses the block device '\(device)' itself (mounted, swap, part of a volume);"
                + " with a second writer its data are lost: unmount it, or serve it with --read-only"
        case .moreThanMemory(let export, let sizeBytes, let machineBytes):
            "export '\(export)' keeps what is written in memory, \(sizeBytes >> 20) MiB at most, and this machine has"
                + " \(machineBytes >> 20) MiB: clients can fill that"
        }
    }

    /// The key of the configuration file that it is about.
    var key: String {
        switch self {
        case .serialNumberCut, .sameSerialNumber, .sameWorldWideName: "device"
        case .otherFormat, .deviceInUse, .moreThanMemory: "image"
        }
    }

    /// The export that has it; of several the last one, which came to the others.
    var export: String {
        switch self {
        case .serialNumberCut(let export, _, _), .otherFormat(let export, _, _), .deviceInUse(let export, _),
            .moreThanMemory(let export, _, _):
            export
        case .sameSerialNumber(let exports, _), .sameWorldWideName(let exports, _): exports.last ?? ""
        }
    }

    /// `exports 'a' and 'b'`, `exports 'a', 'b' and 3 others`.
    private static func list(_ exports: [String]) -> String {
        let others = exports.count - 2
        guard others > 0 else { return "exports " + exports.map { "'\($0)'" }.joined(separator: " and ") }
        return "exports '\(exports[0])', '\(exports[1])' and \(others) other\(others == 1 ? "" : "s")"
    }
}

extension Logger {
    /// Says what is probably not meant.
    public func warn(_ warnings: [ExportWarning]) {
        for warning in warnings {
            self.warning(
                "export served, but perhaps not as it was meant",
                metadata: ["export": "\(warning.export)", "reason": "\(warning)"])
        }
    }
}
