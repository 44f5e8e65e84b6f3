// Files that a server may have to open again while it serves: the sandbox leaves them to it.

import Backends
import Glibc
import Listening
import Sandbox
import Server
import Settings

extension Sandbox.Rules {
    /// Without a configuration file, nothing but the names of Unix sockets, which are removed at the end, the folder
    /// that keeps reservations, files with overlays' changes, which a revert empties, the folders of
    /// drives' states, directories whose files come and
    /// go, and images below disks that are made for clients, both with the folders that they are in. With one, what
    /// reading it again takes, too: its folder, the keys, the images with the folders that they are in, and the names
    /// of users.
    ///
    /// - Parameter isControlled: operators may have snapshots of overlays in files.
    init(of settings: ServeSettings, file: String?, endpoints: [Endpoint], isControlled: Bool) {
        self.init()
        for endpoint in endpoints {
            if case .unix(let path, _) = endpoint { removable.append(path) }
        }
        if let folder = settings.reservations { fillable.append(folder) }
        for directory in settings.directories {
            // The directory itself may be replaced, or mounted again.
            let paths = [directory.path] + (parentFolder(directory.path).map { [$0] } ?? [])
            if directory.drive.readOnly { readable += paths } else { writable += paths }
        }
        // Opened again for each client.
        for export in settings.exports where export.template != nil || export.isPerClient {
            if let path = export.reference.path { readable += withFolder(path) }
        }
        writable += settings.exports.compactMap(\.changes)
        exchangeable += settings.exports.compactMap(\.state).map(folder(of:))
        if isControlled { exchangeable += settings.exports.compactMap(\.changes).map(folder(of:)) }
        guard let file else { return }
        readable += ["/etc/nsswitch.conf", "/etc/passwd"].filter { unsafe access($0, R_OK) == 0 }
        readable += withFolder(file)
        if let folder = settings.tls.certificates { readable.append(folder) }
        for file in [settings.tls.preSharedKeys, settings.chap, settings.chapTarget].compactMap(\.self) {
            readable += withFolder(file)
        }
        for export in settings.exports {
            for new in [export.changes, export.record].compactMap(\.self) {
                if let folder = withFolder(new).last { fillable.append(folder) }
            }
            if let changes = export.changes { writable += withFolder(changes) }
            guard let path = export.reference.path else { continue }
            if export.drive.readOnly || export.reference.isOverlay {
                readable += withFolder(path)
            } else {
                writable += withFolder(path)
            }
        }
    }
}

/// The folder that a directory is in; nil for the root, which has everything.
private func parentFolder(_ path: String) -> String? {
    guard let resolved = realPath(path) else { return nil }
    let parent = resolved.split(separator: "/").dropLast()
    return parent.isEmpty ? nil : "/" + parent.joined(separator: "/")
}

/// A file and the folder that it is in. A user who changes a file may put another one in its place, and its name may be
/// a link to another folder. A device is alone: its folder has all the others. So is a file in the root.
private func withFolder(_ path: String) -> [String] {
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return [path] }
    guard let slash = path.lastIndex(of: "/") else { return [path, "."] }
    return slash == path.startIndex ? [path] : [path, String(path[..<slash])]
}
