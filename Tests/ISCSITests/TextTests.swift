// Keys and values (RFC 7143, 6.1).

import ISCSI
import Testing

@Test func pairs() throws {
    let bytes = Array("InitiatorName=iqn.2026-11.org.example:a\0SendTargets=\0\0X-com.example.k=a=b\0".utf8)
    let pairs = try Text.parse(bytes)
    #expect(
        pairs == [
            TextPair("InitiatorName", "iqn.2026-11.org.example:a"), TextPair("SendTargets", ""),
            TextPair("X-com.example.k", "a=b"),
        ])
    #expect(try Text.parse(Text.compose(pairs)) == pairs)
    #expect(try Text.parse([]).isEmpty)
}

@Test func unsoundTexts() {
    #expect(throws: TextError.unterminated) { try Text.parse(Array("SendTargets=All".utf8)) }
    for text in ["All\0", "=All\0", "1Targets=All\0", "Send Targets=All\0", String(repeating: "K", count: 64) + "=\0"] {
        #expect(throws: TextError.malformed(String(text.dropLast().prefix(64)))) { try Text.parse(Array(text.utf8)) }
    }
    #expect(throws: TextError.badValue(key: "Key")) { try Text.parse(Array("Key=".utf8) + [0xFF, 0]) }
    let long = String(repeating: "x", count: Text.maximumValueBytes + 1)
    #expect(throws: TextError.badValue(key: "Key")) { try Text.parse(Array("Key=\(long)\0".utf8)) }
    let many = String(repeating: "Key=\0", count: Text.maximumPairs + 1)
    #expect(throws: TextError.tooManyPairs(limit: 64)) { try Text.parse(Array(many.utf8)) }
}

@Test func numbers() {
    for (text, number) in [("0", 0), ("8192", 8192), ("0x1F", 31), ("0X1f", 31), ("0x0", 0)] as [(String, UInt64)] {
        #expect(Text.number(text) == number)
    }
    for text in ["", "-1", "+1", "08192", "1 ", "0x", "0x+1", "x", "1.5", "18446744073709551616"] {
        #expect(Text.number(text) == nil, "\(text)")
    }
}

@Test func binaries() {
    #expect(Text.binary("0x0102ff") == [1, 2, 255])
    #expect(Text.binary("0X102fF") == [1, 2, 255])
    // RFC 4648, 10.
    for (text, bytes) in [("0bZg==", "f"), ("0bZm8=", "fo"), ("0bZm9v", "foo"), ("0BZm9vYmFy", "foobar")] {
        #expect(Text.binary(text) == Array(bytes.utf8), "\(text)")
    }
    for text in ["", "12", "0x", "0xg1", "0b", "0bZg", "0bZ===", "0bZh==", "0bZm9=", "0bZ=g=", "0b!m9v"] {
        #expect(Text.binary(text) == nil, "\(text)")
    }
    // Longer than it may be.
    #expect(Text.binary("0x01020304", limit: 3) == nil)
    #expect(Text.binary("0bAQIDBA==", limit: 3) == nil)
    #expect(Text.binary("0bAQID", limit: 3) == [1, 2, 3])
    #expect(Text.hexadecimal([0, 0x1F, 0xFF]) == "0x001fff")
}
