// IDENTIFY DEVICE data as words and as bytes.

import ATA

extension IdentifyData {
    /// 32 lines of eight words in hexadecimal: what `hdparm --Istdin` reads and `--Istdout` writes.
    var wordsText: String {
        stride(from: 0, to: 256, by: 8).map { start in
            (start..<start + 8).map { self[word: $0].hex(4) }.joined(separator: " ") + "\n"
        }.joined()
    }

    /// The 512 bytes as they are transferred.
    var bytes: [UInt8] {
        (0..<256).flatMap { number in
            [UInt8(truncatingIfNeeded: self[word: number]), UInt8(truncatingIfNeeded: self[word: number] >> 8)]
        }
    }
}
