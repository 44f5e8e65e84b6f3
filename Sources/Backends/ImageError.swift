// Why an image cannot be served, in words that say what would be right.

import Glibc
import IOUring

/// An image could not be opened.
public enum ImageError: Error, Equatable, CustomStringConvertible {
    /// The holder of an image.
    public enum Holder: Equatable, Sendable {
        case otherProgram
        /// An export of this server.
        case export(String)
    }

    /// open(2) and its relatives failed.
    case cannotOpen(path: String, errno: Int32, readOnly: Bool)
    /// A file that is open cannot be opened once more.
    case cannotOpenAgain(errno: Int32)
    /// The path is neither a regular file nor a block device.
    case unsuitable(path: String, what: String)
    /// The file system does not know O_DIRECT.
    case noDirectAccess(path: String, mode: CacheMode)
    /// Somebody else has the image open for writing (or, for a writer, at all).
    case locked(path: String, by: Holder = .otherProgram, file: FileNumber?)
    /// The file system does not lock the image.
    case cannotLock(path: String, errno: Int32)
    /// No address space for an image in memory.
    case tooLarge(sizeBytes: UInt64)
    /// No address space for what an overlay changes, or for tables.
    case noAddressSpace(sizeBytes: UInt64, purpose: String)
    /// No block size up to a page lets O_DIRECT read the image.
    case noAlignment(path: String)
    /// The block device refuses to be written.
    case readOnlyDevice(path: String)
    /// The image cannot be made larger, and why.
    case cannotGrow(String)
    /// The image has no sectors.
    case empty(image: String)
    /// It is no qcow2 image that can be read.
    case qcow2(path: String, String)
    /// It cannot have the changes of an overlay.
    case changes(path: String, String)
    /// The file for the changes of an overlay cannot be made.
    case cannotMakeChanges(path: String, errno: Int32)
    /// Another file cannot be where an overlay's was.
    case cannotExchange(path: String, errno: Int32)
    /// There is no way to keep what an overlay has now.
    case cannotFreeze(String)
    /// An overlay's changes cannot be brought to its image.
    case cannotCommit(String)
    /// A snapshot is not to be forgotten.
    case cannotDiscard(String)
    /// An overlay cannot be made like its base again.
    case cannotRevert(String)
    /// The path led to another file when it was looked at, or leads to a symbolic link.
    case replaced(path: String)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .cannotOpen(let path, let code, let readOnly):
            return "cannot open image '\(path)': \(errorText(code))" + Self.hint(code, readOnly: readOnly)
        case .cannotOpenAgain(let code):
            return "an image cannot be opened once for each thread, by /proc/self/fd: \(errorText(code))"
        case .unsuitable(let path, "a directory"):
            return
                "image '\(path)' is a directory; a regular file or a block device is needed; dir:\(path) is a drive for "
                + "each file in it"
        case .unsuitable(let path, let what):
            return "image '\(path)' is \(what); a regular file or a block device is needed"
        case .noDirectAccess(let path, let mode):
            return "the file system of '\(path)' has no direct access (O_DIRECT), which cache mode '\(mode.rawValue)' "
                + "needs; use --cache writeback"
        case .locked(let path, .otherProgram, _):
            return
                "image '\(path)' is in use by another program (a second Spindle, or QEMU); two writers would destroy it: "
                + "stop the other one, or serve a copy"
        case .locked(let path, .export(let name), _):
            return
                "image '\(path)' is in use by export '\(name)' of this server; two writers would destroy it: serve a "
                + "copy, or both read-only"
        case .cannotLock(let path, let code):
            return "image '\(path)' cannot be locked: \(errorText(code)); a second writer would destroy it, and "
                + "nothing would keep one away; --locking off, or locking = \"off\", serves it without a lock"
        case .tooLarge(let sizeBytes):
            return "an image of \(sizeBytes) bytes does not fit in memory; 'null:SIZE' has no such limit"
        case .noAddressSpace(let sizeBytes, let purpose):
            return
                "this process has no \(sizeBytes) bytes of address space left for \(purpose): serve fewer at a time, or "
                + "remove some; 'ulimit -v' may be the limit"
        case .noAlignment(let path):
            return "'\(path)' cannot be read with direct access (O_DIRECT); use --cache writeback"
        case .readOnlyDevice(let path):
            return "block device '\(path)' is read-only; serve it with --read-only"
        case .cannotGrow(let reason):
            return "the image cannot be made larger: \(reason)"
        case .qcow2(let path, let reason):
            return "image '\(path)' cannot be read as qcow2: \(reason)"
        case .changes(let path, let reason):
            return "'\(path)' cannot keep the changes of this overlay: \(reason)"
        case .cannotMakeChanges(let path, let code):
            return "cannot make '\(path)', which is to keep an overlay's changes: \(errorText(code))"
        case .cannotExchange(let path, let code):
            return "another file cannot take the place of '\(path)': \(errorText(code))" + Self.sandboxHint(code)
        case .cannotFreeze(let reason):
            return "what the overlay has now cannot be kept: \(reason)"
        case .cannotCommit(let reason):
            return "its changes stay where they are: \(reason)"
        case .cannotDiscard(let reason):
            return "the snapshot stays: \(reason)"
        case .cannotRevert(let reason):
            return "the overlay cannot be made like its image again: \(reason)"
        case .replaced(let path):
            return "image '\(path)' was replaced while it was opened"
        case .empty(let image):
            return "image '\(image)' is empty; a drive has at least one sector of 512 bytes"
        }
    }

    /// The same error, which names the export that has the image, if it is one of the same server.
    public func naming(_ holder: (FileNumber) -> String?) -> ImageError {
        guard case .locked(let path, _, let file?) = self, let name = holder(file) else { return self }
        return .locked(path: path, by: .export(name), file: file)
    }

    private static func sandboxHint(_ code: Int32) -> String {
        guard code == EACCES else { return "" }
        return
            "; in its sandbox the server exchanges files in the folders of the overlays' files that it began with, if it has a "
            + "--control, and below a --sandbox-path PATH"
    }

    private static func hint(_ code: Int32, readOnly: Bool) -> String {
        switch code {
        case ENOENT: return "; create it first, 'truncate -s 3G FILE' for instance"
        case EACCES where !readOnly:
            return "; this user needs the right to read and write it, or only to read it with --read-only"
        case EACCES:
            return "; this user needs the right to read it"
        case EMFILE: return "; RLIMIT_NOFILE is the limit: LimitNOFILE= (systemd) or 'ulimit -n' raises it"
        case EROFS where !readOnly, EPERM where !readOnly:
            return "; with --read-only it need not be writable"
        default: return ""
        }
    }
}
