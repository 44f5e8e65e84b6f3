// The forms of an image on the command line.

/// `[NAME=]IMAGE`, or `[PREFIX=]dir:PATH` for all files of a directory.
public enum ImageArgument: Equatable, Sendable {
    /// One drive.
    case export(ExportSettings)
    /// A drive for each file.
    case directory(DirectorySettings)

    /// Reads an argument. A file whose name begins like a directory is written with its folder, `./dir:x`.
    public init(parsing text: String) throws {
        let (name, image) = ExportSettings.parts(of: text)
        guard image.hasPrefix("dir:") else {
            self = .export(try ExportSettings(name: name, image: image))
            return
        }
        let path = String(image.dropFirst("dir:".count))
        guard !path.isEmpty else { throw SettingsError("'\(text)' names no directory: write it as dir:PATH") }
        self = .directory(DirectorySettings(path: path, prefix: name ?? ""))
    }
}
