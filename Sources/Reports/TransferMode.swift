// Transfer modes in IDENTIFY DEVICE data (words 53, 63 and 88) under the names that libata prints.

import ATA

extension IdentifyData {
    /// libata's names of the Ultra DMA modes 0 to 6 tell megabytes a second.
    private static let ultraRates = ["16", "25", "33", "44", "66", "100", "133"]

    /// The fastest mode that the drive supports.
    var fastestTransferMode: String {
        mode(ultra: ultraModes & 0xFF, multiword: self[word: 63] & 0xFF, singleWord: self[word: 62] & 0xFF)
    }

    /// The mode that the host selected; without a DMA mode, PIO.
    var selectedTransferMode: String {
        mode(ultra: ultraModes >> 8, multiword: self[word: 63] >> 8, singleWord: self[word: 62] >> 8)
    }

    /// Word 88, if bit 2 of word 53 says that it counts.
    private var ultraModes: UInt16 { self[word: 53] & 0x0004 != 0 ? self[word: 88] : 0 }

    private func mode(ultra: UInt16, multiword: UInt16, singleWord: UInt16) -> String {
        if let mode = highestBit(ultra & 0x7F) { return "UDMA/" + Self.ultraRates[mode] }
        if let mode = highestBit(multiword) { return "MWDMA\(mode)" }
        if let mode = highestBit(singleWord) { return "SWDMA\(mode)" }
        return "PIO"
    }

    private func highestBit(_ bits: UInt16) -> Int? { bits == 0 ? nil : 15 - bits.leadingZeroBitCount }
}
