// How the sectors of a disk are kept in a file.

import Backends

/// The format of an image. A file is never looked at to find it out: a client that writes to a raw disk could
/// make it look like anything.
public enum DiskFormat: String, CaseIterable, Sendable {
    /// One sector after the other.
    case raw
    /// QEMU's: tables say where sectors are.
    case qcow2

    /// Reads a name.
    public init(parsing text: String) throws(BadValue) {
        guard let format = DiskFormat(rawValue: text) else {
            throw BadValue(text, "image format", allowed: Self.allCases.map(\.rawValue))
        }
        self = format
    }

    /// The format of an image: if nobody names one, the ending of its name decides, in small or large letters.
    public init(of image: ImageReference, said: DiskFormat?) {
        guard let path = image.path else {
            self = .raw
            return
        }
        self = said ?? (path.lowercased().hasSuffix(".qcow2") ? .qcow2 : .raw)
    }
}

extension ExportSettings {
    /// The format of its image.
    var format: DiskFormat { DiskFormat(of: reference, said: drive.format) }

    /// Refuses what a format does not go together with.
    func checkFormat() throws(SettingsError) {
        if drive.format == .qcow2, format != .qcow2 {
            throw SettingsError("'\(image)' has no format: leave image-format out; only a file can be a qcow2 image")
        }
        if case .overlay(let path) = reference, drive.readOnly {
            throw SettingsError(
                "'\(image)' is there to be written, and this drive only reads: serve '\(path)' itself, or leave read-only out"
            )
        }
        try checkSnapshot()
        guard format == .qcow2 else { return }
        guard !drive.device.kind.isDisc else {
            throw SettingsError(
                "'\(image)' is a qcow2 image, and the disc of a DVD-ROM is a raw one: 'qemu-img convert -O raw' makes it that"
            )
        }
    }

    /// Refuses what does not go together with an internal snapshot.
    private func checkSnapshot() throws(SettingsError) {
        guard let snapshot = drive.imageSnapshot else { return }
        guard format == .qcow2 else {
            throw SettingsError(
                "'\(image)' is no qcow2 image, and has no internal snapshot '\(snapshot)': leave image-snapshot out")
        }
        guard drive.readOnly || reference.isOverlay else {
            throw SettingsError(
                "internal snapshot '\(snapshot)' of '\(image)' stays as it is: say read-only, or name it overlay:\(image)"
            )
        }
        guard changes == nil, record == nil else {
            throw SettingsError(
                "a file above '\(image)' cannot say that it begins with internal snapshot '\(snapshot)': leave changes and record "
                    + "out; 'qemu-img convert -l snapshot.name=NAME -O qcow2' makes an image of it")
        }
    }
}
