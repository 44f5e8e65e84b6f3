// Paths of files: what they lead to, and their folders.

import Glibc

/// The folder that a path's last part is in.
public func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// A path that says the same in any folder; nil and errno if it leads nowhere.
public func realPath(_ path: String) -> String? {
    guard let real = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(real) }
    return unsafe String(validatingCString: real)
}
