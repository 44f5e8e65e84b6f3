// NBD's transmission phase (NBD protocol, "Transmission"): each request is one message, and so is its payload.

import NBD

/// A connection that the handshake has brought to transmission.
struct TransmissionSession: ClientSession {
    private var reader: ReplyReader

    init(blockBytes: UInt32, isStructured: Bool) {
        reader = ReplyReader(blockBytes: blockBytes, isStructured: isStructured)
    }

    var takesRequest: Bool { true }
    var hasMoreToSay: Bool { false }
    /// NBD_CMD_DISC has no reply.
    var awaitsGoodbye: Bool { false }

    mutating func begin(
        _ request: PlannedRequest, _ cookie: Cookie, payload: UnsafeRawBufferPointer, into outbox: inout Outbox
    ) {
        Self.say(request, cookie, into: &outbox)
        if request.command == .write { unsafe outbox.appendPayload(payload) }
    }

    mutating func goOn(payload: UnsafeRawBufferPointer, into outbox: inout Outbox) {}

    mutating func sayGoodbye(into outbox: inout Outbox) {
        Self.say(
            PlannedRequest(command: .disconnect, offsetBytes: 0, lengthBytes: 0), Cookie(rawValue: 0), into: &outbox)
    }

    private static func say(_ request: PlannedRequest, _ cookie: Cookie, into outbox: inout Outbox) {
        outbox.appendHeader(MessageStyle.simple.requestHeaderBytes) { header in
            header.storeBytes(of: Magic.request.bigEndian, toByteOffset: 0, as: UInt32.self)
            header.storeBytes(of: UInt32(request.command.rawValue).bigEndian, toByteOffset: 4, as: UInt32.self)
            header.storeBytes(of: cookie.rawValue.bigEndian, toByteOffset: 8, as: UInt64.self)
            header.storeBytes(of: request.offsetBytes.bigEndian, toByteOffset: 16, as: UInt64.self)
            header.storeBytes(of: request.lengthBytes.bigEndian, toByteOffset: 24, as: UInt32.self)
        }
    }

    mutating func next(_ bytes: RawSpan, at position: inout Int) -> SessionStep {
        reader.next(bytes, at: &position)
    }
}
