// Replies byte for byte (NBD protocol, "Simple reply message", "Structured reply chunk message", "Structured reply
// types"). Numbers in the comments are those of the project's conformance checklist.

import NBD
import Testing

private let cookie: UInt64 = 0xfedc_ba98_7654_3210

/// Encodes at an offset into memory full of 0xEE and checks that only the returned count of bytes was touched.
private func encoded(_ body: (inout MutableRawSpan, Int) -> Int) -> [UInt8] {
    var memory = [UInt8](repeating: 0xee, count: 200)
    var elements = memory.mutableSpan
    var span = elements.mutableBytes
    let count = body(&span, 3)
    #expect(memory[..<3].allSatisfy { $0 == 0xee } && memory[(3 + count)...].allSatisfy { $0 == 0xee })
    return Array(memory[3..<(3 + count)])
}

/// 113, 114
@Test func simpleReply() {
    #expect(
        encoded { SimpleReply.encode(error: nil, cookie: cookie, into: &$0, at: $1) }
            == hex("67446698 00000000 fedcba9876543210"))
    #expect(
        encoded { SimpleReply.encode(error: .shutdown, cookie: .max, into: &$0, at: $1) }
            == hex("67446698 0000006c ffffffffffffffff"))
    #expect(SimpleReply.byteCount == 16)
}

/// 131, 132: NONE has no payload and always is the last chunk.
@Test func noneChunk() {
    #expect(
        encoded { ReplyChunk.encodeNone(cookie: cookie, into: &$0, at: $1) }
            == hex("668e33ef 0001 0000 fedcba9876543210 00000000"))
    #expect(ReplyChunk.noneByteCount == 20)
}

/// 133
@Test func offsetDataChunk() {
    let header = encoded {
        ReplyChunk.encodeOffsetDataHeader(
            offsetBytes: 0x0102_0304_0506_0708, dataBytes: 1 << 25, isLast: false, cookie: cookie, into: &$0, at: $1)
    }
    #expect(header == hex("668e33ef 0000 0001 fedcba9876543210 02000008 0102030405060708"))
    let last = encoded {
        ReplyChunk.encodeOffsetDataHeader(
            offsetBytes: 512, dataBytes: 1, isLast: true, cookie: 0, into: &$0, at: $1)
    }
    #expect(last == hex("668e33ef 0001 0001 0000000000000000 00000009 0000000000000200"))
    #expect(ReplyChunk.offsetDataHeaderByteCount == 28)
}

/// 134
@Test func offsetHoleChunk() {
    let hole = encoded {
        ReplyChunk.encodeOffsetHole(
            offsetBytes: 0x1_0000_0000, holeBytes: 0xffff_fe00, isLast: true, cookie: cookie, into: &$0, at: $1)
    }
    #expect(hole == hex("668e33ef 0001 0002 fedcba9876543210 0000000c 0000000100000000 fffffe00"))
    #expect(ReplyChunk.offsetHoleByteCount == hole.count)
}

/// 136
@Test func errorChunk() {
    let error = encoded {
        ReplyChunk.encodeError(.inputOutput, message: "medium error", cookie: cookie, into: &$0, at: $1)
    }
    #expect(
        error == hex("668e33ef 0001 8001 fedcba9876543210 00000012 00000005 000c") + Array("medium error".utf8))
    let silent = encoded {
        ReplyChunk.encodeError(.noSpace, message: "", isLast: false, cookie: cookie, into: &$0, at: $1)
    }
    #expect(silent == hex("668e33ef 0000 8001 fedcba9876543210 00000006 0000001c 0000"))
    #expect(ReplyChunk.errorByteCount == silent.count)
}

/// 137: the offset comes after the message.
@Test func errorOffsetChunk() {
    let error = encoded {
        ReplyChunk.encodeErrorOffset(
            .inputOutput, message: "bad", offsetBytes: 0x0102_0304_0506_0708, cookie: cookie, into: &$0, at: $1)
    }
    #expect(
        error
            == hex("668e33ef 0001 8002 fedcba9876543210 00000011 00000005 0003 626164 0102030405060708"))
    let silent = encoded {
        ReplyChunk.encodeErrorOffset(
            .invalidArgument, message: "", offsetBytes: 1, isLast: false, cookie: cookie, into: &$0, at: $1)
    }
    #expect(silent == hex("668e33ef 0000 8002 fedcba9876543210 0000000e 00000016 0000 0000000000000001"))
    #expect(ReplyChunk.errorOffsetByteCount == silent.count)
}
