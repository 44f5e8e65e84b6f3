// The flag fields of both phases (NBD protocol, "Values": handshake phase and transmission phase, "Flag fields").

/// The 16 bits the server sends after its magic numbers ("Handshake flags").
public struct HandshakeFlags: OptionSet, Sendable {
    /// The field as it is on the wire.
    public let rawValue: UInt16

    /// Creates the set from the field on the wire.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// NBD_FLAG_FIXED_NEWSTYLE: the server speaks the fixed newstyle handshake.
    public static let fixedNewstyle = HandshakeFlags(rawValue: 1 << 0)
    /// NBD_FLAG_NO_ZEROES: the server can leave out the 124 zeroes after EXPORT_NAME.
    public static let noZeroes = HandshakeFlags(rawValue: 1 << 1)
}

/// The 32 bits the client answers with ("Client flags").
public struct ClientFlags: OptionSet, Sendable {
    /// The field as it is on the wire.
    public let rawValue: UInt32

    /// Creates the set from the field on the wire.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// NBD_FLAG_C_FIXED_NEWSTYLE: the client speaks the fixed newstyle handshake.
    public static let fixedNewstyle = ClientFlags(rawValue: 1 << 0)
    /// NBD_FLAG_C_NO_ZEROES: the 124 zeroes after EXPORT_NAME must not be sent.
    public static let noZeroes = ClientFlags(rawValue: 1 << 1)
}

/// An export's abilities, sent at the end of the handshake ("Transmission flags").
///
/// The members are computed and inlinable because requests are checked against them.
public struct TransmissionFlags: OptionSet, Sendable {
    /// The field as it is on the wire.
    public let rawValue: UInt16

    /// Creates the set from the field on the wire.
    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// NBD_FLAG_HAS_FLAGS: always set.
    @inlinable public static var hasFlags: Self { Self(rawValue: 1 << 0) }
    /// NBD_FLAG_READ_ONLY: every command that writes is refused.
    @inlinable public static var readOnly: Self { Self(rawValue: 1 << 1) }
    /// NBD_FLAG_SEND_FLUSH: the FLUSH command.
    @inlinable public static var sendFlush: Self { Self(rawValue: 1 << 2) }
    /// NBD_FLAG_SEND_FUA: the command flag FUA.
    @inlinable public static var sendFUA: Self { Self(rawValue: 1 << 3) }
    /// NBD_FLAG_ROTATIONAL: the medium rotates.
    @inlinable public static var rotational: Self { Self(rawValue: 1 << 4) }
    /// NBD_FLAG_SEND_TRIM: the TRIM command.
    @inlinable public static var sendTrim: Self { Self(rawValue: 1 << 5) }
    /// NBD_FLAG_SEND_WRITE_ZEROES: the WRITE_ZEROES command and its flag NO_HOLE.
    @inlinable public static var sendWriteZeroes: Self { Self(rawValue: 1 << 6) }
    /// NBD_FLAG_SEND_DF: the command flag DF; only where replies come in chunks.
    @inlinable public static var sendDF: Self { Self(rawValue: 1 << 7) }
    /// NBD_FLAG_CAN_MULTI_CONN: flush and FUA hold across all connections to the export.
    @inlinable public static var canMultiConn: Self { Self(rawValue: 1 << 8) }
    /// NBD_FLAG_SEND_CACHE: the CACHE command.
    @inlinable public static var sendCache: Self { Self(rawValue: 1 << 10) }
    /// NBD_FLAG_SEND_FAST_ZERO: the command flag FAST_ZERO; only together with `sendWriteZeroes`.
    @inlinable public static var sendFastZero: Self { Self(rawValue: 1 << 11) }
    /// NBD_FLAG_BLOCK_STATUS_PAYLOAD: BLOCK_STATUS for some of the selected metadata contexts; only with extended
    /// headers.
    @inlinable public static var blockStatusPayload: Self { Self(rawValue: 1 << 12) }
}

/// A request's wishes beside its command ("Command flags").
public struct CommandFlags: OptionSet, Sendable {
    /// The field as it is on the wire.
    public let rawValue: UInt16

    /// Creates the set from the field on the wire.
    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// NBD_CMD_FLAG_FUA: reply only when the data are on stable storage.
    @inlinable public static var fua: Self { Self(rawValue: 1 << 0) }
    /// NBD_CMD_FLAG_NO_HOLE: zeroes must be allocated.
    @inlinable public static var noHole: Self { Self(rawValue: 1 << 1) }
    /// NBD_CMD_FLAG_DF: at most one content chunk in the reply.
    @inlinable public static var df: Self { Self(rawValue: 1 << 2) }
    /// NBD_CMD_FLAG_REQ_ONE: one extent per metadata context.
    @inlinable public static var reqOne: Self { Self(rawValue: 1 << 3) }
    /// NBD_CMD_FLAG_FAST_ZERO: fail rather than write zeroes as slowly as data.
    @inlinable public static var fastZero: Self { Self(rawValue: 1 << 4) }
    /// NBD_CMD_FLAG_PAYLOAD_LEN: the length is that of a payload behind the header; only with extended headers.
    @inlinable public static var payloadLength: Self { Self(rawValue: 1 << 5) }
}

/// The state of an extent in the metadata context `base:allocation` ("base:allocation metadata context").
public struct AllocationState: OptionSet, Sendable {
    /// The status flags as they are on the wire.
    public let rawValue: UInt32

    /// Creates the set from the field on the wire.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// NBD_STATE_HOLE: nothing is allocated for the extent.
    @inlinable public static var hole: Self { Self(rawValue: 1 << 0) }
    /// NBD_STATE_ZERO: the extent reads as zeroes.
    @inlinable public static var zero: Self { Self(rawValue: 1 << 1) }
}

/// The flags of a reply chunk ("Structured and extended header reply flags").
public struct ReplyFlags: OptionSet, Sendable {
    /// The field as it is on the wire.
    public let rawValue: UInt16

    /// Creates the set from the field on the wire.
    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// NBD_REPLY_FLAG_DONE: the last chunk of the reply.
    @inlinable public static var done: Self { Self(rawValue: 1 << 0) }
}
