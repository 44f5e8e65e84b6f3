// Replies byte for byte (NBD protocol, "Simple reply message", "Structured reply chunk message", "Structured reply
// types"). Numbers in the comments are those of the project's conformance checklist.

import NBD
import Testing

private let cookie: UInt64 = 0xfedc_ba98_7654_3210
private let structured = ChunkedReply(cookie: cookie, requestOffsetBytes: 512, isExtended: false)
private let extended = ChunkedReply(cookie: cookie, requestOffsetBytes: 0x1122_3344_5566_7788, isExtended: true)

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
        encoded { structured.encodeNone(into: &$0, at: $1) }
            == hex("668e33ef 0001 0000 fedcba9876543210 00000000"))
    #expect(structured.headerByteCount == 20)
}

/// 133
@Test func offsetDataChunk() {
    let header = encoded {
        structured.encodeOffsetDataHeader(
            offsetBytes: 0x0102_0304_0506_0708, dataBytes: 1 << 25, isLast: false, into: &$0, at: $1)
    }
    #expect(header == hex("668e33ef 0000 0001 fedcba9876543210 02000008 0102030405060708"))
    let last = encoded {
        structured.encodeOffsetDataHeader(
            offsetBytes: 512, dataBytes: 1, isLast: true, into: &$0, at: $1)
    }
    #expect(last == hex("668e33ef 0001 0001 fedcba9876543210 00000009 0000000000000200"))
}

/// 134
@Test func offsetHoleChunk() {
    let hole = encoded {
        structured.encodeOffsetHole(
            offsetBytes: 0x1_0000_0000, holeBytes: 0xffff_fe00, isLast: true, into: &$0, at: $1)
    }
    #expect(hole == hex("668e33ef 0001 0002 fedcba9876543210 0000000c 0000000100000000 fffffe00"))
    #expect(structured.offsetHoleByteCount == hole.count)
}

/// 136
@Test func errorChunk() {
    let error = encoded {
        structured.encodeError(.inputOutput, message: "medium error", into: &$0, at: $1)
    }
    #expect(
        error == hex("668e33ef 0001 8001 fedcba9876543210 00000012 00000005 000c") + Array("medium error".utf8))
    let silent = encoded {
        structured.encodeError(.noSpace, message: "", isLast: false, into: &$0, at: $1)
    }
    #expect(silent == hex("668e33ef 0000 8001 fedcba9876543210 00000006 0000001c 0000"))
}

/// 137: the offset comes after the message.
@Test func errorOffsetChunk() {
    let error = encoded {
        structured.encodeErrorOffset(
            .inputOutput, message: "bad", offsetBytes: 0x0102_0304_0506_0708, into: &$0, at: $1)
    }
    #expect(
        error
            == hex("668e33ef 0001 8002 fedcba9876543210 00000011 00000005 0003 626164 0102030405060708"))
    let silent = encoded {
        structured.encodeErrorOffset(
            .invalidArgument, message: "", offsetBytes: 1, isLast: false, into: &$0, at: $1)
    }
    #expect(silent == hex("668e33ef 0000 8002 fedcba9876543210 0000000e 00000016 0000 0000000000000001"))
}

/// 172: every extended chunk repeats the offset of the request, and has a length of 64 bits.
@Test func extendedChunks() {
    let start = "6e8a278c 0001"
    let request = "fedcba9876543210 1122334455667788"
    #expect(
        encoded { extended.encodeNone(into: &$0, at: $1) } == hex("\(start) 0000 \(request) 0000000000000000"))
    #expect(extended.headerByteCount == 32)
    let data = encoded {
        extended.encodeOffsetDataHeader(
            offsetBytes: 0x1122_3344_5566_8888, dataBytes: 1 << 25, isLast: false, into: &$0, at: $1)
    }
    #expect(data == hex("6e8a278c 0000 0001 \(request) 0000000002000008 1122334455668888"))
    let hole = encoded {
        extended.encodeOffsetHole(offsetBytes: 1, holeBytes: 0xffff_fe00, isLast: true, into: &$0, at: $1)
    }
    #expect(hole == hex("\(start) 0002 \(request) 000000000000000c 0000000000000001 fffffe00"))
    #expect(extended.offsetHoleByteCount == hole.count)
    let error = encoded { extended.encodeError(.noSpace, message: "full", into: &$0, at: $1) }
    #expect(error == hex("\(start) 8001 \(request) 000000000000000a 0000001c 0004") + Array("full".utf8))
    let offset = encoded {
        extended.encodeErrorOffset(.inputOutput, message: "", offsetBytes: 2, isLast: true, into: &$0, at: $1)
    }
    #expect(offset == hex("\(start) 8002 \(request) 000000000000000e 00000005 0000 0000000000000002"))
}

/// 148, 176: descriptors of 8 bytes in a chunk of type 5, of 16 bytes and counted in one of type 6.
@Test func statusChunks() {
    let compact = encoded { bytes, start in
        var end = start + structured.encodeBlockStatusHeader(.allocation, descriptorCount: 2, into: &bytes, at: start)
        for (length, state) in [(0xffff_fe00, [.hole, .zero]), (512, [])] as [(UInt64, AllocationState)] {
            BlockStatusDescriptor(lengthBytes: length, state: state).encode(isExtended: false, into: &bytes, at: end)
            end += BlockStatusDescriptor.byteCount(isExtended: false)
        }
        return end - start
    }
    #expect(
        compact
            == hex("668e33ef 0001 0005 fedcba9876543210 00000014 00000001 fffffe00 00000003 00000200 00000000"))
    let long = encoded { bytes, start in
        let end = start + extended.encodeBlockStatusHeader(.allocation, descriptorCount: 1, into: &bytes, at: start)
        BlockStatusDescriptor(lengthBytes: 1 << 57, state: .zero).encode(isExtended: true, into: &bytes, at: end)
        return end + BlockStatusDescriptor.byteCount(isExtended: true) - start
    }
    #expect(
        long
            == hex(
                """
                6e8a278c 0001 0006 fedcba9876543210 1122334455667788 0000000000000018
                00000001 00000001 0200000000000000 0000000000000002
                """))
}

@Test(arguments: [false, true])
func descriptorsCanBeReadBack(isExtended: Bool) {
    var memory = [UInt8](repeating: 0xee, count: 40)
    for (length, state) in [(1, .hole), (0xffff_ffff, [.hole, .zero]), (0x1234_5678, [])]
        as [(UInt64, AllocationState)]
    {
        let descriptor = BlockStatusDescriptor(lengthBytes: length, state: state)
        var elements = memory.mutableSpan
        var span = elements.mutableBytes
        descriptor.encode(isExtended: isExtended, into: &span, at: 5)
        #expect(BlockStatusDescriptor(isExtended: isExtended, from: span.bytes, at: 5) == descriptor)
    }
}
