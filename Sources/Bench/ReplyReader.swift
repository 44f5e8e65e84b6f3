// The server's side of the transmission phase, as a client reads it (NBD protocol, "Simple reply message", "Structured
// reply chunk message").

import NBD

/// Takes replies out of a stream of bytes. Data are passed over, not looked at.
struct ReplyReader {
    let blockBytes: UInt32
    let isStructured: Bool
    /// Payload that belongs to `current` and has not come yet.
    private var payloadLeft = 0
    private var current = SessionStep.needMoreBytes

    init(blockBytes: UInt32, isStructured: Bool) {
        self.blockBytes = blockBytes
        self.isStructured = isStructured
    }

    /// Reads on at `position`, and moves it behind what was read.
    mutating func next(_ bytes: RawSpan, at position: inout Int) -> SessionStep {
        if payloadLeft == 0 {
            let step = isStructured ? chunk(bytes, at: &position) : simple(bytes, at: &position)
            guard payloadLeft > 0 else { return step }
            current = step
        }
        let passed = min(payloadLeft, bytes.byteCount - position)
        position += passed
        payloadLeft -= passed
        return payloadLeft == 0 ? current : .needMoreBytes
    }

    private mutating func simple(_ bytes: RawSpan, at position: inout Int) -> SessionStep {
        guard bytes.byteCount - position >= SimpleReply.byteCount else { return .needMoreBytes }
        let magic = bytes.bigEndian(at: position, as: UInt32.self)
        guard magic == Magic.simpleReply else { return Self.wrongMagic(magic) }
        let error = bytes.bigEndian(at: position + 4, as: UInt32.self)
        let cookie = Cookie(rawValue: bytes.bigEndian(at: position + 8, as: UInt64.self))
        position += SimpleReply.byteCount
        if error == 0, cookie.command == UInt8(Command.read.rawValue) { payloadLeft = Int(blockBytes) }
        return .reply(cookie, error: error, isLast: true)
    }

    private mutating func chunk(_ bytes: RawSpan, at position: inout Int) -> SessionStep {
        let headerBytes = 20
        guard bytes.byteCount - position >= SimpleReply.byteCount else { return .needMoreBytes }
        let magic = bytes.bigEndian(at: position, as: UInt32.self)
        // To anything but a READ a simple reply is allowed even now.
        if magic == Magic.simpleReply {
            let step = simple(bytes, at: &position)
            return payloadLeft == 0 ? step : .violation("a READ is answered with a simple reply")
        }
        guard magic == Magic.structuredReply else { return Self.wrongMagic(magic) }
        guard bytes.byteCount - position >= headerBytes else { return .needMoreBytes }
        let flags = ReplyFlags(rawValue: bytes.bigEndian(at: position + 4, as: UInt16.self))
        let type = bytes.bigEndian(at: position + 6, as: UInt16.self)
        let cookie = Cookie(rawValue: bytes.bigEndian(at: position + 8, as: UInt64.self))
        let length = Int(bytes.bigEndian(at: position + 16, as: UInt32.self))
        // An offset and the data, or an error with a message of at most 4,096 bytes and an offset.
        guard length <= Int(blockBytes) + 8 + 4096 else { return .violation("a chunk has \(length) bytes") }
        var error: UInt32 = 0
        var used = headerBytes
        if type & 0x8000 != 0 {
            guard length >= 6 else { return .violation("an error chunk has \(length) bytes") }
            guard bytes.byteCount - position >= headerBytes + 4 else { return .needMoreBytes }
            error = bytes.bigEndian(at: position + headerBytes, as: UInt32.self)
            used += 4
        }
        position += used
        payloadLeft = headerBytes + length - used
        return .reply(cookie, error: error, isLast: flags.contains(.done))
    }

    private static func wrongMagic(_ magic: UInt32) -> SessionStep {
        .violation("0x\(String(magic, radix: 16)) stands where a reply begins")
    }
}

extension RawSpan {
    /// The integer at a byte offset, which must lie inside.
    func bigEndian<T: FixedWidthInteger & BitwiseCopyable>(at byteOffset: Int, as type: T.Type) -> T {
        // The load checks its bounds, and every pattern of bits is an integer.
        T(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: byteOffset, as: type))
    }
}
