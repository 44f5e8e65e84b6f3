// Texts in the subject of a certificate, of every type that X.520 has for them.

import Testing

@testable import TLS

@Suite struct AttributeValueTests {
    @Test(
        arguments: [
            ([0x6C, 0x61], 12, "la"), ([0xC3, 0xA4], 12, "ä"), ([0x6C], 19, "l"), ([0x6C], 20, "l"), ([0x6C], 22, "l"),
            ([0, 0x6C, 0, 0xE4], 30, "lä"), ([0xD8, 0x3D, 0xDE, 0x00], 30, "😀"), ([0, 0, 0, 0x6C], 28, "l"),
        ] as [([UInt8], UInt, String)])
    func texts(bytes: [UInt8], tag: UInt, text: String) {
        #expect(attributeText(bytes, tag: tag) == text)
    }

    /// A NUL would end the name for others, and what cannot be decoded is no name at all.
    @Test(
        arguments: [
            ([], 12), ([0x6C, 0, 0x6D], 12), ([0x6C, 0], 19), ([0, 0x6C, 0, 0], 30), ([0, 0, 0, 0], 28), ([0xFF], 12),
            ([0xE4], 19), ([0xE4], 20), ([0xE4], 22), ([0x6C], 30), ([0xD8, 0x3D], 30), ([0, 0x11, 0, 0], 28),
            ([0, 0, 0], 28),
            ([0x6C], 4), ([0x6C], 0),
        ] as [([UInt8], UInt)])
    func noTexts(bytes: [UInt8], tag: UInt) {
        #expect(attributeText(bytes, tag: tag) == nil)
    }
}
