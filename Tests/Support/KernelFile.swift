import Glibc

/// The text of a file that the kernel makes up as it is read (proc(5)); nil if it cannot be read.
///
/// Each read of it may be short. Foundation takes a short one for the end: of a table of sockets it gives the first
/// page.
public func kernelFile(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = read(descriptor, &part, part.count)
        guard count != 0 else { return String(decoding: text, as: UTF8.self) }
        guard count > 0 else { return nil }
        text += part[..<count]
    }
}
