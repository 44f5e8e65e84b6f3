// The content of a directory, and the files in it that can be exports.

import Glibc
import Logs

/// The entries of a directory that are not hidden.
struct DirectoryListing: Equatable {
    /// Regular files, sorted by their bytes.
    var files: [String] = []
    /// Files that are no exports, and the reasons.
    var leftOut: [LeftOutEntry] = []

    /// An entry that is no export.
    struct LeftOutEntry: Equatable {
        /// The name as it can be shown.
        let name: String
        let reason: String
    }

    /// Lists a directory. Links are not followed, so that whoever may write to the directory cannot have any other file
    /// served.
    init(of path: String) throws(DirectoryError) {
        guard let folder = unsafe opendir(path) else { throw DirectoryError(path: path, code: errno) }
        defer { unsafe closedir(folder) }
        while let entry = unsafe readdir(folder) {
            add(unsafe withUnsafeBytes(of: entry.pointee.d_name) { unsafe Array($0.prefix { $0 != 0 }) }, path)
        }
        files.sort { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
    }

    private mutating func add(_ bytes: [UInt8], _ path: String) {
        guard bytes.first != UInt8(ascii: ".") else { return }
        guard let name = String(validating: bytes, as: UTF8.self) else {
            leftOut.append(Self.unnameable(bytes))
            return
        }
        if FileIdentity(path + "/" + name) != nil {
            files.append(name)
        } else if let reason = Self.reason(path + "/" + name) {
            leftOut.append(LeftOutEntry(name: name, reason: reason))
        }
    }

    /// A name that no export can have: NBD's strings are UTF-8 (proto.md, "String values").
    static func unnameable(_ bytes: [UInt8]) -> LeftOutEntry {
        LeftOutEntry(
            name: String(showing: bytes), reason: "the name is no UTF-8, which an export's has to be; rename the file")
    }

    /// Why what a path leads to is no image; nil if it is a regular file, or nothing.
    static func reason(_ path: String) -> String? {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        let what: String
        switch status.st_mode & S_IFMT {
        case S_IFREG: return nil
        case S_IFDIR: what = "a folder"
        case S_IFLNK: what = "a link, which is not followed"
        case S_IFIFO: what = "a FIFO"
        case S_IFSOCK: what = "a socket"
        default: what = "a device"
        }
        return "it is \(what); a drive of a directory is a regular file"
    }
}
