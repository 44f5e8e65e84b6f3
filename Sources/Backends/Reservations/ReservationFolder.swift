// The folder that has the reservations of exports.

import Glibc

/// A folder with a file for each export, which is open for as long as the server runs.
public final class ReservationFolder: Sendable {
    /// Its path, for people.
    public let path: String
    private let descriptor: Int32

    /// Opens a folder, which is there.
    public init(_ path: String) throws(ReservationFolderError) {
        descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ReservationFolderError(path: path, code: errno) }
        self.path = path
    }

    deinit { close(descriptor) }

    /// Opens the file of an export.
    public func file(of export: String) throws(ReservationFileError) -> ReservationFile {
        let name = Self.fileName(of: export)
        guard name.utf8.count <= 255 else { throw .longName }
        return try ReservationFile(name, in: descriptor)
    }

    /// Where an export's file is, for people.
    public func filePath(of export: String) -> String { "\(path)/\(Self.fileName(of: export))" }

    /// The name of an export's file: of the export's, all but letters, digits, dashes and low lines as %XX.
    public static func fileName(of export: String) -> String {
        var name = ""
        for byte in export.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                name.append(Character(Unicode.Scalar(byte)))
            default:
                name += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return name + ".reservations"
    }
}

/// The folder cannot be opened.
public struct ReservationFolderError: Error, Equatable, CustomStringConvertible {
    let path: String
    let code: Int32

    /// Which one, and what would be right.
    public var description: String {
        "the folder for reservations, '\(path)', cannot be opened: \(unsafe String(cString: strerror(code))); "
            + "a folder that is there is needed"
    }
}
