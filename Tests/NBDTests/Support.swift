// What the tests of this folder share: bytes typed as in the document, a client's side of the handshake, and a reader
// of option replies that knows nothing of the encoder under test.

import NBD
import Testing

/// Bytes from hexadecimal digits; spaces and line breaks are for the reader.
func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue!) }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// A number of a number of bytes, big-endian.
func bigEndian(_ value: UInt64, bytes count: Int) -> [UInt8] {
    (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// A big-endian number at an offset.
func number(_ bytes: some Collection<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}

/// An option as a client sends it: "IHAVEOPT", option, length, data.
func option(_ number: UInt32, _ data: [UInt8] = [], claimedBytes: UInt32? = nil) -> [UInt8] {
    hex("4948 4156 454f 5054") + bigEndian(UInt64(number), bytes: 4)
        + bigEndian(UInt64(claimedBytes ?? UInt32(data.count)), bytes: 4) + data
}

/// The data of INFO and GO.
func infoData(_ name: [UInt8], _ types: [UInt16] = []) -> [UInt8] {
    bigEndian(UInt64(name.count), bytes: 4) + name + bigEndian(UInt64(types.count), bytes: 2)
        + types.flatMap { bigEndian(UInt64($0), bytes: 2) }
}

func infoData(_ name: String, _ types: [UInt16] = []) -> [UInt8] {
    infoData(Array(name.utf8), types)
}

/// The client flags FIXED_NEWSTYLE, and FIXED_NEWSTYLE with NO_ZEROES.
let fixedNewstyle = hex("0000 0001")
let noZeroes = hex("0000 0003")

/// One reply to an option, as a client reads it.
struct OptionReply: Equatable {
    var option: UInt32
    var type: UInt32
    var data: [UInt8] = []

    var isError: Bool { type >= 0x8000_0000 }
}

/// Reads option replies and checks what holds for each of them (13, 14): magic, length, errors with a text.
func optionReplies(_ bytes: [UInt8], _ location: SourceLocation = #_sourceLocation) -> [OptionReply] {
    var replies: [OptionReply] = []
    var rest = bytes[...]
    while rest.count >= 20 {
        #expect(number(rest.prefix(8)) == 0x3_e889_0455_65a9, sourceLocation: location)
        let length = Int(number(rest.dropFirst(16).prefix(4)))
        let data = Array(rest.dropFirst(20).prefix(length))
        #expect(data.count == length, "the reply ends before its length", sourceLocation: location)
        let reply = OptionReply(
            option: UInt32(number(rest.dropFirst(8).prefix(4))), type: UInt32(number(rest.dropFirst(12).prefix(4))),
            data: data)
        if reply.isError {
            #expect(String(validating: data, as: UTF8.self) != nil, sourceLocation: location)
            #expect((1...4096).contains(length) && !data.contains(0), sourceLocation: location)
        }
        replies.append(reply)
        rest = rest.dropFirst(20 + length)
    }
    #expect(rest.isEmpty, "bytes are left after the last reply", sourceLocation: location)
    return replies
}

/// How a handshake went.
struct Handshake: Equatable {
    /// Everything sent before the last event.
    var replies: [UInt8] = []
    /// TLS was to begin; what came behind that is fed as if it had been inside.
    var isEncrypted = false
    /// `transmission` or `close`, or nil when the server waits for more.
    var end: Negotiation.Event?
    /// What was not consumed.
    var rest: [UInt8] = []

    /// Feeds bytes to a negotiation in pieces of a size, as a caller has to.
    init(
        _ negotiation: inout Negotiation, _ bytes: [UInt8], _ exports: [ExportInformation], pieceBytes: Int,
        _ location: SourceLocation = #_sourceLocation
    ) {
        var next = 0
        repeat {
            let end = min(next + pieceBytes, bytes.count)
            rest += bytes[next..<end]
            next = end
            advance(&negotiation, exports, location)
        } while next < bytes.count
    }

    private mutating func advance(
        _ negotiation: inout Negotiation, _ exports: [ExportInformation], _ location: SourceLocation
    ) {
        while true {
            let (consumed, event) = negotiation.advance(rest.span.bytes, exports: exports)
            #expect((0...rest.count).contains(consumed), sourceLocation: location)
            rest.removeFirst(consumed)
            switch event {
            case .reply(let bytes, _):
                #expect(end == nil, "a reply after the end of the handshake", sourceLocation: location)
                replies += bytes
            case .startTLS(let bytes):
                #expect(end == nil, "TLS after the end of the handshake", sourceLocation: location)
                #expect(!isEncrypted, "TLS began twice", sourceLocation: location)
                isEncrypted = true
                replies += bytes
            case .transmission, .close:
                #expect(end == nil, "the handshake ended twice", sourceLocation: location)
                end = event
            case .needMoreBytes:
                if end == nil {
                    #expect(rest.count <= Negotiation.maximumBufferedBytes, sourceLocation: location)
                }
                return
            }
        }
    }
}

/// Runs a handshake in one piece, byte by byte and in pieces of 7 (18, 19): where packets end must not matter.
func handshake(
    _ bytes: [UInt8], _ exports: [ExportInformation], tls: TLSPolicy = .unavailable, shuttingDown: Bool = false,
    _ location: SourceLocation = #_sourceLocation
) -> Handshake {
    let outcomes = [bytes.count, 1, 7].map { size in
        var negotiation = Negotiation(tls: tls)
        if shuttingDown {
            negotiation.beginShutdown()
        }
        return Handshake(&negotiation, bytes, exports, pieceBytes: max(size, 1), location)
    }
    #expect(outcomes[0] == outcomes[1], "byte by byte", sourceLocation: location)
    #expect(outcomes[0] == outcomes[2], "in pieces of 7", sourceLocation: location)
    return outcomes[0]
}

/// The replies to options sent after FIXED_NEWSTYLE with NO_ZEROES, to a server that has to go on waiting for more.
func replies(
    to options: [UInt8]..., exports: [ExportInformation], tls: TLSPolicy = .unavailable, shuttingDown: Bool = false,
    _ location: SourceLocation = #_sourceLocation
) -> [OptionReply] {
    let outcome = handshake(
        noZeroes + options.flatMap { $0 }, exports, tls: tls, shuttingDown: shuttingDown, location)
    #expect(outcome.end == nil && outcome.rest.isEmpty, sourceLocation: location)
    return optionReplies(outcome.replies, location)
}

/// Two exports that differ in everything: a disk with all features, and a read-only one.
let disk = try! ExportInformation(
    name: "disk", description: "QEMU HARDDISK 2.5+", sizeBytes: 3 << 30,
    flags: [
        .sendFlush, .rotational, .sendTrim, .sendWriteZeroes, .sendDF, .canMultiConn, .sendCache, .sendFastZero,
    ],
    blockSizes: BlockSizes(minimumBytes: 512, preferredBytes: 4096))
let archive = try! ExportInformation(
    name: "archive", description: "", sizeBytes: 0x0102_0304_0506_0708, flags: [.readOnly, .sendFastZero])
let exports = [disk, archive]
