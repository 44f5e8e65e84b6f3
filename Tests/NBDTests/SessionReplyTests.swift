// Replies as a session lays them out: header bytes from the document, data where they are.

import NBD
import Replies
import Testing

/// A reply as it leaves: the headers, and where the data between them come from.
private struct Sent: Equatable {
    var headers: [UInt8] = []
    var parts: [ReplyPart] = []
}

/// The reply of a session with a style of messages; data of a READ are at byte 100 of their buffer.
private func reply(
    _ style: MessageStyle, _ ending: Ending, to request: Request, data: [UInt8] = [], isOpaque: Bool = false
) -> Sent {
    var session = Session()
    session.directory = [disk]
    let options = [MessageStyle.simple: [], .structured: option(8), .extended: option(11)]
    var rest = noZeroes + options[style]! + option(7, infoData(""))
    while true {
        let (consumed, event) = session.advance(rest.span.bytes)
        rest.removeFirst(consumed)
        guard case .open = event else { continue }
        session.opened(as: 0)
        break
    }
    var area = [UInt8](repeating: 0xee, count: ReplyLayout.headerAreaBytes)
    var layout = ReplyLayout()
    var elements = area.mutableSpan
    var bytes = elements.mutableBytes
    session.encode(
        ending, of: request, data: data.span.bytes, at: 100, isOpaque: isOpaque, into: &bytes, &layout)
    let parts = (0..<layout.count).map { layout.parts[$0] }
    let end = parts.reduce(0) { $0 + $1.headerBytes }
    #expect(area[end...].allSatisfy { $0 == 0xee }, "bytes behind the headers")
    #expect(layout.hasNoData == (parts.count == 1 && parts[0].dataBytes == 0))
    return Sent(headers: Array(area[..<end]), parts: parts)
}

private let message: StaticString = "no"

@Suite struct SessionReplyTests {
    @Test func simpleReplies() {
        let read = request(.read, cookie: 5, offset: 512, length: 1024)
        #expect(
            reply(.simple, .success, to: read, data: [UInt8](repeating: 0, count: 1024))
                == Sent(
                    headers: hex("67446698 00000000 0000000000000005"),
                    parts: [ReplyPart(headerBytes: 16, dataOffset: 100, dataBytes: 1024)]))
        #expect(
            reply(.simple, .success, to: request(.flush, cookie: 6)).headers
                == hex("67446698 00000000 0000000000000006"))
        for offset in [nil, 600] as [UInt64?] {
            let failed = reply(.simple, .failure(.inputOutput, message, offsetBytes: offset), to: read)
            #expect(failed.headers == hex("67446698 00000005 0000000000000005"))
            #expect(failed.parts.map(\.dataBytes) == [0])
        }
    }

    /// Data, a hole, data: blocks of 4 KiB of the image. The last chunk has DONE.
    @Test func dataAndHoles() {
        var data = [UInt8](repeating: 1, count: 512 + 4096 + 1)
        data.replaceSubrange(512..<4608, with: repeatElement(0, count: 4096))
        let structured = request(.read, cookie: 5, offset: 3584, length: 4609)
        #expect(
            reply(.structured, .success, to: structured, data: data)
                == Sent(
                    headers: hex(
                        """
                        668e33ef 0000 0001 0000000000000005 00000208 0000000000000e00
                        668e33ef 0000 0002 0000000000000005 0000000c 0000000000001000 00001000
                        668e33ef 0001 0001 0000000000000005 00000009 0000000000002000
                        """),
                    parts: [
                        ReplyPart(headerBytes: 28, dataOffset: 100, dataBytes: 512),
                        ReplyPart(headerBytes: 32, dataOffset: 612, dataBytes: 0),
                        ReplyPart(headerBytes: 28, dataOffset: 4708, dataBytes: 1),
                    ]))
        let extended = request(.read, cookie: 5, offset: 3584, length: 512, isExtended: true)
        #expect(
            reply(.extended, .success, to: extended, data: Array(data[..<512])).headers
                == hex(
                    "6e8a278c 0001 0001 0000000000000005 0000000000000e00 0000000000000208 0000000000000e00"))
    }

    /// With DF, and if only the kernel may look, nobody looks for zeroes.
    @Test func onePiece() {
        let data = [UInt8](repeating: 0, count: 8192)
        let flagged = request(.read, flags: .df, length: 8192)
        let plain = request(.read, length: 8192)
        for (request, isOpaque) in [(flagged, false), (plain, true)] {
            let sent = reply(.structured, .success, to: request, data: data, isOpaque: isOpaque)
            #expect(sent.parts == [ReplyPart(headerBytes: 28, dataOffset: 100, dataBytes: 8192)])
        }
        #expect(
            reply(.structured, .success, to: plain, data: data).parts == [ReplyPart(headerBytes: 32, dataOffset: 100)])
    }

    /// Blocks of zeroes and data by turns: no more chunks than there is room for, and all of the range in them.
    @Test(arguments: [(MessageStyle.structured, 8), (.extended, 5)])
    func manyHoles(style: MessageStyle, most: Int) {
        let data = (0..<20).flatMap { [UInt8](repeating: UInt8($0 % 2), count: 4096) }
        let read = request(.read, length: UInt64(data.count), isExtended: style == .extended)
        let sent = reply(style, .success, to: read, data: data)
        #expect(sent.parts.count == most)
        #expect(sent.parts.last?.dataBytes == data.count - (most - 1) * 4096)
        let failed = reply(style, .failure(.inputOutput, message, offsetBytes: 65536), to: read, data: data)
        #expect(failed.parts.count <= 8 && failed.parts.last?.dataBytes == 0)
        #expect(failed.headers.suffix(10) == hex("6e6f 0000000000010000"))
    }

    @Test func failures() {
        let read = request(.read, cookie: 5, offset: 512, length: 1024)
        #expect(
            reply(.structured, .failure(.inputOutput, message), to: read).headers
                == hex("668e33ef 0001 8001 0000000000000005 00000008 00000005 0002 6e6f"))
        let data = [UInt8](repeating: 1, count: 1024)
        #expect(
            reply(.structured, .failure(.inputOutput, message, offsetBytes: 1024), to: read, data: data)
                == Sent(
                    headers: hex(
                        """
                        668e33ef 0000 0001 0000000000000005 00000208 0000000000000200
                        668e33ef 0001 8002 0000000000000005 00000010 00000005 0002 6e6f 0000000000000400
                        """),
                    parts: [
                        ReplyPart(headerBytes: 28, dataOffset: 100, dataBytes: 512), ReplyPart(headerBytes: 36),
                    ]))
    }

    @Test func otherReplies() {
        #expect(
            reply(.structured, .success, to: request(.write, cookie: 7)).headers
                == hex("668e33ef 0001 0000 0000000000000007 00000000"))
        #expect(
            reply(.structured, .descriptors(3), to: request(.blockStatus, cookie: 8))
                == Sent(
                    headers: hex("668e33ef 0001 0005 0000000000000008 0000001c 00000001"),
                    parts: [ReplyPart(headerBytes: 24, dataOffset: 100, dataBytes: 24)]))
        #expect(
            reply(.extended, .descriptors(1), to: request(.blockStatus, cookie: 8, offset: 9, isExtended: true))
                == Sent(
                    headers: hex(
                        "6e8a278c 0001 0006 0000000000000008 0000000000000009 0000000000000018 00000001 00000001"),
                    parts: [ReplyPart(headerBytes: 40, dataOffset: 100, dataBytes: 16)]))
    }
}
