// QEMU 7.2's drives, as files: IDENTIFY DEVICE data of several drives (read through a Debian guest with Linux 6.1, and
// before any driver had spoken to the drive), and registers after commands.

import Foundation

enum GoldenFiles {
    static func bytes(_ path: String) throws -> [UInt8] {
        let file = Bundle.module.bundleURL.appendingPathComponent("Golden").appendingPathComponent(path)
        return [UInt8](try Data(contentsOf: file))
    }

    /// The lines of a text file without comments and empty ones.
    static func lines(_ path: String) throws -> [String] {
        String(decoding: try bytes(path), as: UTF8.self).split(separator: "\n").map(String.init)
            .filter { !$0.hasPrefix("#") }
    }
}
