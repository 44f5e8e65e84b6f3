// Settings for one export, from the command line, a file, or the control socket.

import Backends
import Loop
import Server

/// One export as its user describes it. Nothing is opened yet.
public struct ExportSettings: Equatable, Sendable {
    /// Clients ask for this name.
    public var name: String
    /// The image as it was named, for messages.
    public let image: String
    /// Its image, understood.
    public let reference: ImageReference
    /// The options of its target.
    public var target = TargetOptions()
    /// The file that keeps an overlay's changes; nil: they stay in memory, or it is none.
    public var changes: String?
    /// The file that it begins with, above its image: a snapshot of another overlay. Nil: it begins as its image is.
    var level: String?
    /// The file that keeps a recording of it; nil: there is none.
    public var record: String?
    /// The file that keeps the state of its whole disk; nil: it is forgotten at the end.
    public var state: String?
    /// It stands for exports that come when clients ask for them.
    public var template: TemplateSettings?
    /// Each client that opens it gets a disk of its own, gone with the connection.
    public var isPerClient = false
    /// How long it is there.
    var lifetime = Lifetime.unlimited
    /// The drive that the image becomes.
    public var drive = DriveSettings()

    /// The protocol's limit for names and descriptions (NBD proto, string sizes).
    static let maximumStringBytes = 4096

    /// An export with nothing said about it but its image; without a name it has that of the file without its
    /// extension, or `memory` or `null`.
    public init(name: String? = nil, image: String) throws {
        reference = try ImageReference(parsing: image)
        self.image = image
        self.name = name ?? Self.standardName(image)
        // Of files only their opening shows it; `null:0` is a DVD-ROM without a disc.
        if reference == .memory(sizeBytes: 0) {
            throw ImageError.empty(image: image)
        }
    }

    /// Nothing is no disk; it is a DVD-ROM without a disc.
    public func checkDisc() throws(ImageError) {
        if reference == .null(sizeBytes: 0), !drive.device.kind.isDisc { throw .empty(image: image) }
    }

    /// Only an overlay has changes beside its image.
    public func checkChanges() throws(SettingsError) {
        guard changes == nil || reference.isOverlay else {
            throw SettingsError(
                "'\(image)' is no overlay, and has no changes beside it: "
                    + (reference.path == nil ? "only overlay:PATH has" : "name it overlay:\(image)")
                    + ", or leave changes out")
        }
    }

    /// The files that it opens for itself, by their names; not those that an image names.
    var files: Set<String> { Set([reference.path, changes, level, state].compactMap(\.self)) }

    /// A drive that only reads does nothing that could be recorded.
    public func checkRecord() throws(SettingsError) {
        guard record == nil || !drive.readOnly else {
            throw SettingsError("a drive that only reads has nothing to record: leave record out")
        }
    }

    /// Only a whole disk has a state.
    public func checkState() throws(SettingsError) {
        guard state == nil || drive.device.kind.isWholeDisk else {
            throw SettingsError(
                "an \(drive.device.kind.rawValue) has no state that could be kept: it is spindle-hd or spindle-ssd that has one; "
                    + "choose one of them with device, or leave state out")
        }
    }

    /// `[NAME=]IMAGE`, as on the command line.
    public init(parsing text: String) throws {
        let (name, image) = Self.parts(of: text)
        try self.init(name: name, image: image)
    }

    /// NAME, if there is one, and IMAGE.
    static func parts(of text: String) -> (name: String?, image: String) {
        // A path may contain `=`: a name has no slash before it.
        guard let sign = text.firstIndex(of: "="), !text[..<sign].contains("/") else { return (nil, text) }
        return (String(text[..<sign]), String(text[text.index(after: sign)...]))
    }

    static func standardName(_ image: String) -> String {
        if image.hasPrefix("memory:") { return "memory" }
        if image.hasPrefix("null:") { return "null" }
        let path = (try? ImageReference(parsing: image).path) ?? image
        let file = path.split(separator: "/").last.map(String.init) ?? path
        guard let dot = file.lastIndex(of: "."), dot != file.startIndex else { return file }
        return String(file[..<dot])
    }
}
