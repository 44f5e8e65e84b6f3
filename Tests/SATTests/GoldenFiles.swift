// QEMU 7.2's drives as a Debian guest with Linux 6.1 saw them, as files.

import Foundation

enum GoldenFiles {
    static func bytes(_ path: String) throws -> [UInt8] {
        let file = Bundle.module.bundleURL.appendingPathComponent("Golden").appendingPathComponent(path)
        return [UInt8](try Data(contentsOf: file))
    }

    static func lines(_ path: String) throws -> [String] {
        String(decoding: try bytes(path), as: UTF8.self).split(separator: "\n").map(String.init)
    }
}

extension [UInt8] {
    /// Bytes in hexadecimal with spaces between them; nil if it is anything else.
    init?(hexadecimal text: some StringProtocol) {
        self = []
        for word in text.split(separator: " ") {
            guard word.count == 2, let byte = UInt8(word, radix: 16) else { return nil }
            append(byte)
        }
    }

    var hexadecimal: String {
        map { (($0 < 16 ? "0" : "") + String($0, radix: 16)) }.joined(separator: " ")
    }
}
